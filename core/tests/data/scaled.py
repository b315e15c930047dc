"""FeatureSets with chains of any registered scalers, and a scaler of a user's own."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.plugins import registry
from mml.processing import Scaler

from .samples import cells

SETTINGS = {"mml/segmented": {"boundaries": [2], "scaler": "per_sample_minmax"}}
NAMES = [one.qualified for one in registry("scalers") if one.plugin == "mml"]
CHAINS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=5)


def scaler(name):
    return Scaler(name, **SETTINGS.get(name, {}))


def divided(n_rows=23, seed=0, label="cells"):
    fs = cells(n_rows, seed, label)
    fs.split_random(ratios={"train": 0.6, "test": 0.4}, seed=0)
    return fs


def chained(fs, *names, domain="features", keys="pulse"):
    for name in names:
        fs.fit_transform(scaler(name), domain=domain, keys=keys, fit_to_split="train")
    return fs


def everything(fs):
    """Return all that can be seen of a FeatureSet, for comparing before and after."""
    return (
        fs.fingerprint,
        {name: view.rows.tolist() for name, view in fs.splits.items()},
        [id(record) for record in fs.scaler_records],
        {name: values.tobytes() for name, values in fs.get_data(fs.schema.names).items()},
    )


def reloaded(fs, path):
    fs.save(path)
    with ExperimentContext().activate():
        return FeatureSet.load(path)


class Doubling:
    """A scaler of a user's own, complete."""

    fits = 0

    def __init__(self, factor=2.0):
        self.factor = factor
        self.largest = None

    def fit(self, values):
        type(self).fits += 1
        self.largest = float(np.nanmax(values))

    def transform(self, values):
        return values * np.float32(self.factor)

    def inverse_transform(self, values):
        return values / np.float32(self.factor)

    def get_config(self):
        return {"factor": self.factor}

    @classmethod
    def from_config(cls, config):
        return cls(factor=config["factor"])

    def get_state(self):
        return {"largest": self.largest}

    def set_state(self, state):
        self.largest = state["largest"]
