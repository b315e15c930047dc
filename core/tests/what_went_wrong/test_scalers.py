"""What went wrong with scalers in the nearest system: checks that MML passes and a faulty double does not.

A double is a small FeatureSet of one column with the defect built in; it answers the few calls that a check
makes.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import mml
from mml.errors import ConfigError, LeakageWarning, MMLError
from mml.plugins import registry


def values():
    """Return a column with outliers and signs, which lossy scalers lose."""
    made = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    made[::7] *= 100
    return made


class Data:
    """MML behind the calls that the checks make."""

    def __init__(self, column):
        with mml.ExperimentContext().activate():
            self.featureset = mml.FeatureSet.from_numpy("data", column)
        self.featureset.split_random(ratios={"train": 0.75, "test": 0.25}, seed=0)

    def fit(self, scaler, split="train"):
        self.featureset.fit_transform(scaler, domain="features", fit_to_split=split)

    def undo(self):
        self.featureset.undo_last_transform()

    def column(self):
        return self.featureset.get_features("x")

    def save(self, path):
        self.featureset.save(path)

    @staticmethod
    def load(path):
        with mml.ExperimentContext().activate():
            made = Data.__new__(Data)
            made.featureset = mml.FeatureSet.load(path)
        return made


class Double:
    """The same calls on plain arrays; subclasses bring one fault each."""

    def __init__(self, column):
        self.raw = self.values = column
        self.train = np.arange(len(column)) < 30
        self.chain = []

    def fit(self, scaler, split="train"):
        made = mml.Scaler(scaler)
        made.fit(self.values if split is None else self.values[self.train])
        self.chain.append((made, self.values))
        self.values = made.transform(self.values)

    def undo(self):
        self.values = self.chain.pop()[1]

    def column(self):
        return self.values


# Undo


class UndoByInverse(Double):
    """Undo inverts the last scaler on the transformed values."""

    def undo(self):
        scaler, _ = self.chain.pop()
        try:
            self.values = scaler.inverse_transform(self.values)
        except MMLError:
            # The nearest system took the identity where there is no inverse.
            self.values = self.values.copy()


def check_undo(kind):
    data = kind(values())
    data.fit("standard")
    scaled = data.column().copy()
    for scaler in ("absolute", "minmax", "robust"):
        data.fit(scaler)
        data.undo()
        off = np.abs(data.column() - scaled).max()
        assert off == 0, f"off by {off:.2f} standardised units after undoing {scaler}"
        assert data.column().tobytes() == scaled.tobytes()


def test_undo_recomputes_and_does_not_invert():
    """'Undo inverts instead of recomputing: off by up to 2.46 standardised units for lossy scalers.'"""
    check_undo(Data)
    with pytest.raises(AssertionError, match="standardised units"):
        check_undo(UndoByInverse)


# Leaks


class SilentLeak(Double):
    """Fits on every row unless told otherwise, and says nothing."""


def check_leak(kind):
    data = kind(values())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        data.fit("standard", split=None)
    leaks = [one for one in said if issubclass(one.category, LeakageWarning)]
    assert leaks, "nothing was said"
    assert "10 of 40 rows outside the training split" in str(leaks[0].message)
    assert "test" in str(leaks[0].message)


def test_a_scaler_that_sees_test_rows_is_not_fitted_without_a_word():
    """'Scalers in cross-validation see every row, test included, by default and without a word.'"""
    check_leak(Data)
    with pytest.raises(AssertionError, match="nothing was said"):
        check_leak(SilentLeak)


# Files


class Refitting(Double):
    """Keeps the names of its scalers in the file and fits them again on all rows."""

    files: dict = {}  # noqa: RUF012 - a disk of its own, emptied with the process

    def save(self, path):
        self.files[path] = (self.raw, [scaler.get_config() for scaler, _ in self.chain])

    @classmethod
    def load(cls, path):
        raw, configs = cls.files[path]
        made = cls(raw)
        for config in configs:
            made.fit(mml.Scaler.from_config(config), split=None)
        return made


def check_reload(kind, path):
    data = kind(values())
    for scaler in ("standard", "robust"):
        data.fit(scaler)
    data.save(path)
    back = kind.load(path)
    assert back.column().tobytes() == data.column().tobytes(), "values changed"


def test_reloading_does_not_fit_again(tmp_path):
    """'Reloading a FeatureSet refits its scalers, so values change.'"""
    check_reload(Data, tmp_path / "data.mml")
    with pytest.raises(AssertionError, match="values changed"):
        check_reload(Refitting, tmp_path / "double")


class InNotebook(mml.MinMaxScaler):
    """A class as a notebook cell defines it: in a module that no other process can import."""

    __module__ = "__main__"


class LateRefusal(Refitting):
    """Writes the file first and finds out afterwards that the class cannot be saved; there is no way out."""

    def save(self, path):
        path.write_bytes(b"half")
        raise ConfigError("Classes from notebooks cannot be saved.")


def check_notebook_class(kind, path):
    data = kind(values())
    data.fit(InNotebook)
    with pytest.raises(ConfigError) as caught:
        data.save(path)
    assert not path.exists(), "something was written"
    assert "register" in str(caught.value)
    registry("scalers").register("in_notebook")(InNotebook)
    try:
        data.save(path)
        assert kind.load(path).column().tobytes() == data.column().tobytes()
    finally:
        registry("scalers").remove("user/in_notebook")


def test_a_class_from_a_notebook_is_saved_once_it_is_registered(tmp_path):
    """'Classes from notebooks cannot be saved.'"""
    check_notebook_class(Data, tmp_path / "data.mml")
    with pytest.raises(AssertionError, match="something was written"):
        check_notebook_class(LateRefusal, tmp_path / "double.mml")
