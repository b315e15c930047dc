"""The bundled data sets, held against scikit-learn's own loaders."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.datasets

from mml.errors import DataError
from mml.plugins import registry
from mml_sklearn.datasets import load

SHAPES = {
    "iris": ((150, 4), np.int64),
    "wine": ((178, 13), np.int64),
    "breast_cancer": ((569, 30), np.float32),
    "diabetes": ((442, 10), np.float32),
    "digits": ((1797, 64), np.int64),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_component_gives_the_arguments_of_from_dict(name: str) -> None:
    found = registry("datasets").load(f"sklearn/{name}")()
    shape, dtype = SHAPES[name]
    x, y = found["data"]["x"], found["data"]["y"]
    original = getattr(sklearn.datasets, f"load_{name}")()
    assert (x.shape, x.dtype) == (shape, np.float32)
    assert (y.shape, y.dtype) == ((shape[0], 1), dtype)
    np.testing.assert_array_equal(x, original.data.astype(np.float32))
    np.testing.assert_array_equal(y[:, 0], original.target.astype(dtype))
    assert {key: found[key] for key in found if key != "data"} == {
        "feature_keys": ("x",),
        "target_keys": ("y",),
        "tag_keys": (),
    }


def test_an_unknown_data_set_lists_the_near_ones() -> None:
    with pytest.raises(DataError, match="'iris'"):
        load("irises")
