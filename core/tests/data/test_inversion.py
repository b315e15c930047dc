"""Predictions in raw units: by column, and by sample where a scaler works per sample."""

from __future__ import annotations

import numpy as np
import pytest

from mml.errors import ColumnError, DataError, ScalerError

from .samples import single
from .scaled import chained, divided


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
