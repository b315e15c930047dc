"""Every scaler that core registers, with settings and values that suit it."""

from __future__ import annotations

import numpy as np

from mml.plugins import registry
from mml.processing import Scaler

SETTINGS = {
    "mml/minmax": {"feature_range": (-1, 3)},
    "mml/robust": {"quantile_range": (10, 80)},
    "mml/per_sample_minmax": {"feature_range": (-1, 1)},
    "mml/per_sample_zero": {"offset": 0.25},
    "mml/segmented": {"boundaries": [2, 4], "scaler": "standard"},
}
NAMES = [one.qualified for one in registry("scalers") if one.plugin == "mml"]
LOSSY = {"mml/absolute"}
INVERTIBLE = [name for name in NAMES if name not in LOSSY]


def scaler(name):
    """Return a declared scaler by its registered name."""
    return Scaler(name, **SETTINGS.get(name, {}))


def column(n_rows=1037, shape=(6,), seed=0, dtype=np.float32):
    """Return values ``(n_rows, *shape)`` around 5, of a spread of 3."""
    values = np.random.default_rng(seed).normal(5, 3, (n_rows, *shape))
    return (values if np.dtype(dtype).kind == "f" else np.abs(values) * 4).astype(dtype)
