"""Transforms that cannot be made or undone: each says why and leaves the FeatureSet as it was."""

from __future__ import annotations

import numpy as np
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError, ConfigError, MMLError, ScalerError
from mml.processing import Scaler

from .samples import single
from .scaled import NAMES, Doubling, chained, divided, everything

KEYS = ("voltage", "pulse", "soh")


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
    "a fit that fails": ({"scaler": broken(fit=raises)}, ScalerError, "failed in fit: inside"),
    "a transform that fails": (
        {"scaler": broken(transform=raises)},
        ScalerError,
        "failed in transform: inside",
    ),
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
    "rows that depend on those before": (
        {"scaler": broken(transform=lambda self, values: np.cumsum(values, axis=0))},
        ScalerError,
        "beside it",
    ),
    "rows that are smoothed with the one before": (
        {"scaler": broken(transform=lambda self, values: (values + np.r_[values[:1], values[:-1]]) / 2)},
        ScalerError,
        "beside it",
    ),
    "rows that are numbered": (
        {"scaler": broken(transform=lambda self, values: values + np.indices(values.shape)[0])},
        ScalerError,
        "beside it",
    ),
    "numbers wider than a column": (
        {"scaler": broken(transform=lambda self, values: values.astype(np.longdouble))},
        ScalerError,
        "no numbers that a column holds",
    ),
    "numbers in another byte order": (
        {"scaler": broken(transform=lambda self, values: values.astype(">f4"))},
        ScalerError,
        "no numbers that a column holds",
    ),
    "complex numbers": (
        {"scaler": broken(transform=lambda self, values: values + 1j)},
        ScalerError,
        "no numbers that a column holds",
    ),
    "samples without values": (
        {"scaler": broken(transform=lambda self, values: np.zeros((len(values), 0), np.float32))},
        ScalerError,
        "without values",
    ),
    "rows of different lengths": (
        {"scaler": broken(transform=lambda self, values: [[1.0], [1.0, 2.0]][: len(values)])},
        ScalerError,
        "failed in transform|row by row",
    ),
    "a constructor that fails": ({"scaler": broken(__init__=raises)}, ScalerError, "'Broken' cannot be made"),
    "a state that fails": ({"scaler": broken(get_state=raises)}, ScalerError, "failed in get_state: inside"),
    "a state that is no mapping": (
        {"scaler": broken(get_state=lambda self: np.ones(3))},
        ScalerError,
        "state that is no mapping",
    ),
    "no state at all": (
        {"scaler": broken(get_state=lambda self: None)},
        ScalerError,
        "state that is no mapping",
    ),
    "an instance whose config fails": (
        {"scaler": broken(get_config=raises)()},
        ConfigError,
        "cannot be copied: .*get_config failed: inside",
    ),
    "an instance whose config is no mapping": (
        {"scaler": broken(get_config=lambda self: [1])()},
        ConfigError,
        "cannot be copied: .*no mapping",
    ),
    "per sample without a state of samples": (
        {"scaler": broken(per_sample=True)},
        ScalerError,
        "no sample_state",
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
    if "Broken" in str(caught.value):
        assert "pulse" in caught.value.where
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
        ((None, "image"), "no transform to undo for 'image'"),
        ((None, ["pulse", "soh"]), "no transform to undo for 'soh'"),
        ((None, "puls"), "Did you mean"),
        ((None, "im*"), "no transform to undo"),
        ((None, []), "no transform to undo"),
        ((None, 3), "by name"),
    ],
)
def test_an_undo_of_what_was_not_done_changes_nothing(arguments, words):
    fs = chained(divided(), "standard")
    before = everything(fs)
    with pytest.raises(MMLError, match=words):
        fs.undo_last_transform(*arguments)

    assert everything(fs) == before


@pytest.mark.parametrize(
    ("given", "gone"),
    [
        ({"keys": "pulse"}, {"pulse": 1}),
        ({"keys": "features.pulse.transformed"}, {"pulse": 1}),
        ({"keys": "features.pulse"}, {"pulse": 1}),
        ({"keys": ["voltage", "soh"]}, {"voltage": 1, "soh": 1}),
        ({"keys": np.array(["voltage", "pulse"])}, {"voltage": 1, "pulse": 1}),
        ({"keys": iter(["voltage", "pulse"])}, {"voltage": 1, "pulse": 1}),
        ({"keys": "features.*"}, {"voltage": 1, "pulse": 1}),
        ({"keys": "*uls*"}, {"pulse": 1}),
        ({}, {"pulse": 1}),
        ({"keys": ["*"]}, {"pulse": 1}),
        ({"domain": "features"}, {"voltage": 1, "pulse": 1}),
        ({"domain": "features", "keys": ["*"]}, {"voltage": 1, "pulse": 1}),
        ({"domain": "features", "keys": np.array(["voltage", "pulse"])}, {"voltage": 1, "pulse": 1}),
        ({"domain": "targets", "keys": "s*"}, {"soh": 1}),
    ],
)
def test_an_undo_takes_back_the_columns_that_are_meant(given, gone):
    fs = chained(divided(), "standard", keys=["voltage", "pulse"])
    chained(fs, "minmax", domain="targets", keys="soh")
    chained(fs, "minmax", keys="pulse")
    before = {key: [record for record in fs.scaler_records if key in record.keys] for key in KEYS}
    fs.undo_last_transform(**given)

    for key in KEYS:
        left = [record.config["scaler"] for record in fs.scaler_records if key in record.keys]
        expected = before[key][: len(before[key]) - gone.get(key, 0)]
        assert left == [record.config["scaler"] for record in expected]


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


# Values that came as transformed


def exported(*, drop=()):
    """Return a scaled FeatureSet's table, read again as data, and the FeatureSet."""
    fs = chained(divided(), "standard", keys=["pulse", "voltage"])
    table = fs.to_arrow().drop_columns(list(drop))
    with ExperimentContext().activate():
        return FeatureSet.from_pyarrow_table("again", table), fs


def test_values_that_came_as_transformed_are_read_as_they_came():
    again, fs = exported()

    assert again.get_features("pulse").tobytes() == fs.get_features("pulse").tobytes()
    assert again.get_features("pulse", rep="raw").tobytes() == fs.get_features("pulse", rep="raw").tobytes()


@pytest.mark.parametrize("drop", [(), ("features.pulse.raw", "features.voltage.raw")])
@pytest.mark.parametrize(
    "transform",
    [
        lambda again, _: again.fit_transform("minmax", domain="features", keys=["image", "pulse"]),
        lambda again, fs: again.transform_like(fs, keys="pulse"),
    ],
)
def test_values_that_came_as_transformed_are_not_scaled_again_from_raw(drop, transform):
    again, fs = exported(drop=drop)
    before = everything(again)
    with pytest.raises(ScalerError, match=r"'features\.pulse\.transformed' came with the data") as caught:
        transform(again, fs)

    assert "'again'" in str(caught.value)
    assert "drop_columns" in caught.value.hint
    assert everything(again) == before


def test_other_columns_than_those_that_came_as_transformed_are_scaled():
    again, fs = exported(drop=["features.voltage.transformed"])
    again.fit_transform("standard", domain="features", keys="image")
    again.transform_like(fs, keys="voltage")

    assert again.get_features("voltage").tobytes() == fs.get_features("voltage").tobytes()
    assert again.get_features("pulse").tobytes() == fs.get_features("pulse").tobytes()
