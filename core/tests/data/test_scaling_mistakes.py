"""Transforms that cannot be made or undone: each says why and leaves the FeatureSet as it was."""

from __future__ import annotations

import numpy as np
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError, MMLError, ScalerError
from mml.processing import Scaler

from .samples import single
from .scaled import NAMES, Doubling, chained, divided, everything


def broken(**methods):
    """Return a class of scalers with some methods replaced."""
    return type("Broken", (Doubling,), methods)


def raises(*_):
    raise ZeroDivisionError("inside")


BAD = {
    "an unknown domain": ({"domain": "feature"}, ScalerError, "Did you mean 'features'"),
    "tags": ({"domain": "tags"}, ScalerError, "not on 'tags'"),
    "an unknown key": ({"keys": "puls"}, ColumnError, "Did you mean 'pulse'"),
    "one unknown key among known ones": ({"keys": ["pulse", "imag"]}, ColumnError, "Did you mean 'image'"),
    "keys that are no names": ({"keys": 3}, ColumnError, "by name"),
    "no keys": ({"keys": []}, ScalerError, "no column"),
    "an unknown split": ({"fit_to_split": "trian"}, MMLError, "Did you mean 'train'"),
    "an unknown scaler": ({"scaler": "standrd"}, MMLError, "'standard'"),
    "a scaler that is none": ({"scaler": dict}, ScalerError, "no scaler"),
    "a number": ({"scaler": 3}, ScalerError, "no scaler"),
    "a scaler that needs settings": ({"scaler": "segmented"}, ScalerError, "needs settings"),
    "a boundary outside": (
        {"scaler": Scaler("segmented", boundaries=[9], scaler="minmax"), "keys": "pulse"},
        ScalerError,
        "outside of the samples: 9",
    ),
    "per sample on scalars": ({"scaler": "per_sample_minmax", "keys": "voltage"}, ScalerError, "one value"),
    "a fit that fails": ({"scaler": broken(fit=raises)}, ScalerError, "failed: inside"),
    "a transform that fails": ({"scaler": broken(transform=raises)}, ScalerError, "failed: inside"),
    "another number of rows": (
        {"scaler": broken(transform=lambda self, values: values[:-1])},
        ScalerError,
        "row by row",
    ),
    "fewer rows than went in": (
        {"scaler": broken(transform=lambda self, values: np.unique(values, axis=0)[:2])},
        ScalerError,
        "row by row",
    ),
    "rows that depend on each other": (
        {"scaler": broken(transform=lambda self, values: values - values.mean(axis=0))},
        ScalerError,
        "beside it",
    ),
    "results that are not finite": (
        {"scaler": broken(transform=lambda self, values: values * np.inf)},
        ScalerError,
        "infinite or NaN",
    ),
    "results that are no numbers": (
        {"scaler": broken(transform=lambda self, values: values.astype(str))},
        ScalerError,
        "numbers",
    ),
    "nothing at all": ({"scaler": broken(transform=lambda self, values: None)}, ScalerError, "row by row"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("transformed", [False, True])
def test_a_transform_that_cannot_be_made_changes_nothing(case, transformed):
    given, error, words = BAD[case]
    fs = chained(divided(), *["minmax"] * transformed, keys=["pulse", "voltage"])
    before = everything(fs)
    settings = {"scaler": "standard", "domain": "features", "keys": ["pulse", "voltage"], **given}
    with np.errstate(all="ignore"), pytest.raises(error, match=words) as caught:
        fs.fit_transform(settings.pop("scaler"), **{"fit_to_split": "train", **settings})

    assert "'cells'" in str(caught.value)
    assert everything(fs) == before


def test_strings_and_a_structure_without_rows_teach_nothing():
    with ExperimentContext().activate():
        empty = FeatureSet.from_config(divided().get_config())
    for bad, words in ((empty, "no rows"), (single(["a", "b"]), "does not hold numbers")):
        before = bad.snapshot()
        with pytest.raises(ScalerError, match=words):
            bad.fit_transform("standard", domain="features", fit_to_split="train" if bad is empty else None)
        assert bad.snapshot() is before


@pytest.mark.parametrize("name", [one for one in NAMES if "per_sample" not in one and "segmented" not in one])
def test_booleans_are_numbers(name):
    fs = single(np.array([True, False, True]))
    fs.fit_transform(name, domain="features")

    assert fs.get_features("x").dtype == np.float32
    assert np.isfinite(fs.get_features("x")).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("features", "image"), "nothing|no transform to undo for 'image'"),
        (("features", ["pulse", "image"]), "no transform to undo for 'image'"),
        (("targets",), "no transform to undo for targets"),
        (("tags",), "has no transforms"),
        (("features", "puls"), "Did you mean"),
    ],
)
def test_an_undo_of_what_was_not_done_changes_nothing(arguments, words):
    fs = chained(divided(), "standard")
    before = everything(fs)
    with pytest.raises(MMLError, match=words):
        fs.undo_last_transform(*arguments)

    assert everything(fs) == before


def test_undoing_everything_of_nothing_is_nothing():
    fs = divided()
    with pytest.raises(ScalerError, match="no transform to undo"):
        fs.undo_last_transform()

    assert fs.undo_all_transforms().scaler_records == ()


def test_a_scaler_that_fails_on_later_rows_names_the_column():
    class Shy(Doubling):
        def transform(self, values):
            if np.any(values > 2.5):
                raise ValueError("too large for me")
            return values

    fs = single(np.array([1.0, 2.0, 3.0], np.float32))
    fs.split_by_condition({"train": {"row": {0, 1}}}, rest="test")
    fs.fit_transform(Shy, domain="features", fit_to_split="train")
    with pytest.raises(ScalerError, match="too large for me") as caught:
        fs.get_features("x")
    assert "features.x.transformed" in str(caught.value)
