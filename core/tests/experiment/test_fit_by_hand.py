"""Fitting on arrays given by hand comes to what a FitPhase comes to."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import MMLError
from mml.files import state_digest
from mml.plugins import get_manager

from . import fitting
from .toy import in_own_context, mse, rows


@pytest.fixture(autouse=True)
def _fitting_plugin():
    get_manager().register_module(fitting)
    yield
    get_manager().unregister(fitting.NAME)


def made():
    data = rows()
    first = mml.ModelNode("first", mml.Model("fitting/varying"), data.reference(features="x", targets="y"))
    head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), first)
    return data, mml.ModelGraph([first, head], optimizer="sgd").build()


def test_it_is_the_fit_of_a_phase_and_builds_what_waits_for_it():
    data, graph = in_own_context(made)
    x, y = (np.asarray(one(fmt="numpy")) for one in (data["train"].get_features, data["train"].get_targets))
    assert not graph["head"].is_built
    outcome = graph.fit_step(x, y)
    assert outcome.losses == outcome.outputs == {}
    assert graph["head"].is_built
    assert np.isfinite(graph.train_step(x, y, losses=mse()).total)
    _, other = in_own_context(made)
    mml.Experiment("fit", other).run_phase(mml.FitPhase.from_split("fit", split="train"))
    one, same = (each["first"].get_state()["model"] for each in (graph, other))
    assert state_digest(one) == state_digest(same)


def test_what_cannot_be_fitted_is_refused():
    _, graph = in_own_context(made)
    with pytest.raises(MMLError, match="cannot be fitted") as caught:
        graph.fit_step(np.ones((3, 5), np.float32), active_nodes="head")
    assert "graph 'model-graph'" in str(caught.value)
