"""Predictions in raw units: by column, and by sample where a scaler works per sample."""

from __future__ import annotations

import numpy as np
import pytest

from mml.errors import ColumnError, DataError, ScalerError

from .samples import single
from .scaled import Doubling, chained, divided


def test_predictions_are_inverted_by_the_uuid_of_their_sample():
    fs = chained(divided(), "standard", "per_sample_minmax", "maxabs")
    test = fs["test"]
    order = np.random.default_rng(0).permutation(len(test))
    predictions, uuids = test.get_features("pulse")[order], test.sample_uuids[order]

    back = fs.inverse_transform(predictions, "pulse", sample_uuids=uuids)
    np.testing.assert_allclose(back, test.get_features("pulse", "raw")[order], rtol=1e-5, atol=1e-6)
    per_view = test.inverse_transform(test.get_features("pulse"), "pulse")
    assert per_view[order].tobytes() == back.tobytes()
    # One sample may have several predictions, and no two are told apart by their place.
    twice = fs.inverse_transform(
        np.concatenate([predictions] * 2), "pulse", sample_uuids=np.concatenate([uuids] * 2)
    )
    assert twice.tobytes() == back.tobytes() * 2


def test_without_knowing_the_samples_per_sample_scalers_are_not_inverted():
    fs = chained(divided(), "per_sample_zero")
    predictions = fs["test"].get_features("pulse")
    with pytest.raises(ScalerError, match="work per sample") as caught:
        fs.inverse_transform(predictions, "pulse")
    assert "sample_uuids" in caught.value.hint
    assert "fs['test'].inverse_transform" in caught.value.hint
    with pytest.raises(DataError, match="one value for each sample"):
        fs["train"].inverse_transform(predictions, "pulse")
    with pytest.raises(DataError, match="one value for each sample"):
        fs.inverse_transform(predictions, "pulse", sample_uuids=fs["train"].sample_uuids)


@pytest.mark.parametrize("uuids", [np.zeros((2, 16), np.uint8), ["nothing"], 3, np.zeros((2, 15))])
def test_unknown_uuids_are_named(uuids):
    fs = chained(divided(), "per_sample_zero")
    with pytest.raises(DataError):
        fs.inverse_transform(fs.get_features("pulse")[:2], "pulse", sample_uuids=uuids)


def test_inversion_reads_blocks_of_rows(monkeypatch):
    fs = chained(divided(n_rows=300), "per_sample_minmax", "standard")
    scaled = fs.get_features("pulse")
    expected = fs.inverse_transform(scaled, "pulse")
    monkeypatch.setattr("mml.data.inversion._BLOCK_BYTES", 500)

    assert fs.inverse_transform(scaled, "pulse").tobytes() == expected.tobytes()
    assert fs["test"].inverse_transform(fs["test"].get_features("pulse"), "pulse").tobytes() == (
        expected[fs["test"].rows].tobytes()
    )


@pytest.mark.parametrize("values", [[[0.0], [1.0]], [0, 1], np.zeros((2, 1), np.float16), np.zeros(0)])
def test_predictions_of_a_scalar_come_in_either_shape(values):
    fs = single(np.arange(5, dtype=np.float32), domain="targets")
    fs.fit_transform("minmax", domain="targets")

    back = fs.inverse_transform(values, "x")
    assert back.shape == np.shape(values)
    np.testing.assert_allclose(back, np.multiply(values, 4))


def seconds(n_rows=400):
    """Return times around 2023 in seconds, which float32 holds to some 64 s."""
    return np.random.default_rng(0).uniform(1.6e9, 1.7e9, n_rows).round()


@pytest.mark.parametrize(
    ("raw", "given", "out", "error"),
    [
        (seconds(), "f8", "f8", 1e-6),
        # What remains is the rounding of the predictions themselves: float32's 24 bits of a span of 1e8.
        (seconds(), "f4", "f8", 8.0),
        (seconds(), "f2", "f8", 1e5),
        (seconds().astype("i8"), "f4", "f8", 8.0),
        (seconds().astype("i8"), "f8", "f8", 1e-6),
        (seconds().astype("f4"), "f2", "f4", 1e5),
        (seconds().astype("f4"), "f4", "f4", 256.0),
        (seconds().astype("f4"), "f8", "f8", 256.0),
        (np.arange(200, dtype="u1"), "f2", "f2", 0.5),
        (np.arange(200, dtype="i2"), "f4", "f4", 1e-4),
        (np.arange(200).astype("f2"), "f2", "f2", 0.5),
    ],
)
@pytest.mark.parametrize("scaler", ["standard", "minmax"])
def test_inversion_neither_overflows_nor_loses_digits(scaler, raw, given, out, error):
    fs = single(raw, domain="targets").fit_transform(scaler, domain="targets")
    for one in (fs, fs.view()):
        back = one.inverse_transform(fs.get_targets("x").astype(given), "x")
        assert back.dtype == np.dtype(out)
        np.testing.assert_allclose(back, raw.astype("f8"), rtol=0, atol=error)
    assert fs.inverse_transform(np.zeros(0, given), "x").dtype == np.dtype(out)


@pytest.mark.parametrize(("given", "out"), [("?", "f4"), ("i1", "f4"), ("i8", "f8")])
def test_whole_numbers_come_back_as_floats(given, out):
    fs = single(np.array([-5, 7, 100], "i2"), domain="targets").fit_transform("minmax", domain="targets")
    back = fs.inverse_transform(np.array([0, 1, 1], given), "x")

    assert back.dtype == np.dtype(out)
    np.testing.assert_allclose(back, [-5, 100, 100], rtol=1e-6)


@pytest.mark.parametrize("names", [("standard", "per_sample_minmax"), ("minmax", "negate", "robust")])
def test_chains_invert_in_the_wider_dtype(names):
    fs = chained(divided(), *names)
    scaled = fs.get_features("pulse")
    back = fs.inverse_transform(scaled.astype(np.float64), "pulse")

    assert back.dtype == np.float64
    np.testing.assert_allclose(back, fs.get_features("pulse", "raw"), rtol=1e-5, atol=1e-6)


def broken(**methods):
    return type("Broken", (Doubling,), methods)


class Shifting(Doubling):
    """Per sample: the first value becomes 0."""

    per_sample = True

    def transform(self, values):
        return values - values[:, :1]

    def sample_state(self, values):
        return {"first": values[:, :1]}

    def inverse_transform(self, values, state):
        return values + state["first"]


def raises(*_):
    raise ZeroDivisionError("inside")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (broken(inverse_transform=raises), "failed in inverse_transform: inside"),
        (broken(inverse_transform=lambda self, values: values[:1]), "does not invert row by row"),
        (broken(inverse_transform=lambda self, values: values[:, :1]), "does not invert row by row"),
        (broken(inverse_transform=lambda self, values: None), "does not invert row by row"),
        (broken(inverse_transform=lambda self, values: values.astype(str)), "does not invert row by row"),
        (broken(inverse_transform=lambda self, values: values + 1j), "does not invert row by row"),
        (type("Broken", (Shifting,), {"sample_state": raises}), "failed in sample_state: inside"),
        (
            type("Broken", (Shifting,), {"sample_state": lambda self, values: 3}),
            "sample_state that is no map",
        ),
        (
            type("Broken", (Shifting,), {"inverse_transform": lambda self, values: values}),
            "failed in inverse_transform",
        ),
    ],
)
def test_a_scaler_of_ones_own_that_cannot_invert_is_named(kind, words):
    fs = chained(divided(), "standard")
    fs.fit_transform(kind, domain="features", keys="pulse", fit_to_split="train")
    with pytest.raises(ScalerError, match=words) as caught:
        fs.inverse_transform(fs.get_features("pulse"), "pulse")
    assert "Broken" in str(caught.value)
    assert "features.pulse.transformed" in caught.value.where
    if "inside" in words:
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_per_sample_scaler_of_ones_own_inverts():
    fs = chained(divided(), "standard")
    fs.fit_transform(Shifting, domain="features", keys="pulse", fit_to_split="train")
    back = fs["test"].inverse_transform(fs["test"].get_features("pulse"), "pulse")

    np.testing.assert_allclose(back, fs["test"].get_features("pulse", "raw"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("values", [np.zeros((2, 3)), ["a", "b"], 3.0, [[1], [2, 3]], None, object()])
def test_what_does_not_fit_the_column_is_refused(values):
    fs = single(np.arange(5, dtype=np.float32), domain="targets")
    fs.fit_transform("minmax", domain="targets")
    with pytest.raises(DataError):
        fs.inverse_transform(values, "x")


def test_one_transformed_column_is_inverted_at_a_time():
    fs = chained(divided(), "absolute")
    with pytest.raises(ScalerError, match="cannot be inverted") as caught:
        fs.inverse_transform(fs.get_features("pulse"), "pulse")
    assert "features.pulse.transformed" in str(caught.value)
    with pytest.raises(ColumnError, match="One column"):
        fs.inverse_transform(fs.get_features("pulse"), "features.*")
    with pytest.raises(ScalerError, match="no transform to invert"):
        fs["test"].inverse_transform(fs["test"].get_features("voltage"), "voltage")
