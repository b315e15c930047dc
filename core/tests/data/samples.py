"""Small FeatureSets that the tests of the data floor share."""

from __future__ import annotations

import numpy as np

from mml.context import ExperimentContext
from mml.data import FeatureSet


def arrays(n_rows=23, seed=0):
    """Return features of rank 0 to 2, targets and tags; sizes are odd and coprime on purpose."""
    rng = np.random.default_rng(seed)
    return {
        "voltage": rng.normal(3.7, 0.2, n_rows).astype(np.float32),
        "pulse": rng.normal(size=(n_rows, 5)).astype(np.float32),
        "image": rng.normal(size=(n_rows, 2, 3)),
        "count": rng.integers(-4, 9, n_rows).astype(np.int16),
        "soh": rng.uniform(0.7, 1, (n_rows, 1)).astype(np.float32),
        "cell": [f"cell-{row % 4}" for row in range(n_rows)],
        "day": np.arange(n_rows).astype("datetime64[s]"),
        "fresh": np.arange(n_rows) % 3 == 0,
    }


def cells(n_rows=23, seed=0, label="cells"):
    """Return a FeatureSet of these arrays, in a context of its own."""
    with ExperimentContext().activate():
        return FeatureSet.from_dict(
            label,
            arrays(n_rows, seed),
            feature_keys=["voltage", "pulse", "image", "count"],
            target_keys="soh",
            tag_keys=["cell", "day", "fresh"],
        )


def single(values, domain="features", label="one"):
    """Return a FeatureSet of one column ``x`` beside row numbers, in a context of its own."""
    data = {"x": values, "row": np.arange(len(values))}
    keys = {"features": "feature_keys", "targets": "target_keys", "tags": "tag_keys"}
    settings = {"feature_keys": [], "tag_keys": ["row"]}
    settings[keys[domain]] = ["x"] if domain != "tags" else ["x", "row"]
    with ExperimentContext().activate():
        return FeatureSet.from_dict(label, data, **settings)
