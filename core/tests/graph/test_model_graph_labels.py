"""Labels of graphs: given ones are unique, the default one is nobody's claim."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import RegistrationError


def _node(label, data):
    return mml.ModelNode(label, mml.Model("reference/mlp", output_shape=1), data)


def test_two_graphs_without_labels_stand_side_by_side():
    data = mml.FeatureSet.from_dict("rows", {"x": np.zeros((3, 2), np.float32)}, feature_keys="x")
    first, second = mml.ModelGraph([_node("a", data)]), mml.ModelGraph([_node("b", data)])
    assert first.label == second.label == "model-graph"
    assert mml.ExperimentContext.active().get("model-graph") is first


def test_two_graphs_of_one_given_label_clash():
    data = mml.FeatureSet.from_dict("rows", {"x": np.zeros((3, 2), np.float32)}, feature_keys="x")
    mml.ModelGraph([_node("a", data)], label="mine")
    with pytest.raises(RegistrationError, match="mine"):
        mml.ModelGraph([_node("b", data)], label="mine")
