"""SegmentedScaler: each segment of the last axis as if it were a column of its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.errors import ConfigError, MMLError, ScalerError
from mml.processing import MinMaxScaler, PerSampleMinMaxScaler, Scaler, SegmentedScaler, StandardScaler

from .registered import column

INNER = st.sampled_from(["standard", "minmax", "robust", "per_sample_minmax", "per_sample_zero"])


class FitOnly:
    """A scaler without fit_blocks."""

    def fit(self, values):
        self.largest = values.max()
        return self

    def transform(self, values):
        return values / self.largest

    def inverse_transform(self, values):
        return values * self.largest

    def get_config(self):
        return {}

    def get_state(self):
        return {"largest": float(self.largest)}

    def set_state(self, state):
        self.largest = state["largest"]


class Halving(StandardScaler):
    """A scaler that returns half of each sample."""

    def transform(self, values):
        return values[..., ::2]


@settings(max_examples=40)
@given(st.sets(st.sampled_from([2, 4, 6, 9]), min_size=1), INNER, st.sampled_from([(12,), (2, 12)]))
def test_each_segment_is_scaled_by_itself(places, inner, shape):
    values = column(53, shape=shape)
    boundaries = sorted(places)
    one = SegmentedScaler(boundaries, inner).fit(values)
    parts = np.split(values, boundaries, axis=-1)
    expected = np.concatenate([Scaler(inner).fit_transform(part) for part in parts], axis=-1)

    assert one.transform(values).tobytes() == expected.tobytes()


@pytest.mark.parametrize("boundaries", [[4], [0, 4], [4, 12], [0, 4, 12], (4,), np.array([4])])
def test_the_ends_may_be_left_out(boundaries):
    values = column(shape=(12,))

    expected = SegmentedScaler([4], "standard").fit(values).transform(values)
    assert (
        SegmentedScaler(boundaries, "standard").fit(values).transform(values).tobytes() == expected.tobytes()
    )


@pytest.mark.parametrize("bad", [[], [4, 4], [5, 3], [-1, 3], [1.5], [True, 2], "ab", 3, None])
def test_boundaries_that_do_not_increase_are_refused(bad):
    with pytest.raises(ConfigError, match="Boundaries"):
        SegmentedScaler(bad, "standard")


def test_a_boundary_outside_of_the_samples_is_refused_when_it_is_fitted():
    with pytest.raises(ScalerError, match="outside of the samples: 13") as caught:
        SegmentedScaler([4, 13], "standard").fit(column(shape=(12,)))
    assert "12" in str(caught.value)
    with pytest.raises(ScalerError, match="no axis"):
        SegmentedScaler([4], "standard").fit(column(shape=()))
    with pytest.raises(ScalerError, match="one value"):
        SegmentedScaler([1], "per_sample_minmax").fit(column(shape=(12,)))


@pytest.mark.parametrize(
    "inner",
    [
        "minmax",
        MinMaxScaler,
        MinMaxScaler(),
        Scaler("minmax"),
        {"scaler": "mml/minmax", "feature_range": [0, 1]},
    ],
)
def test_the_inner_scaler_is_given_by_name_class_instance_declaration_or_config(inner):
    values = column(shape=(12,))
    expected = SegmentedScaler([4], "minmax").fit(values)
    one = SegmentedScaler([4], inner).fit(values)

    assert one == expected
    assert one.transform(values).tobytes() == expected.transform(values).tobytes()


def test_its_config_holds_that_of_the_inner_scaler():
    one = SegmentedScaler([4, 8], MinMaxScaler(feature_range=(-1, 1)))
    config = one.get_config()

    assert config == {
        "scaler": "mml/segmented",
        "boundaries": [4, 8],
        "inner": {"scaler": "mml/minmax", "feature_range": [-1.0, 1.0]},
    }
    assert SegmentedScaler.from_config(json.loads(json.dumps(config))) == one
    nested = SegmentedScaler([6], one)
    assert SegmentedScaler.from_config(nested.get_config()) == nested != one


def test_per_sample_segments_invert_with_the_state_of_the_samples():
    values = column(shape=(12,))
    one = SegmentedScaler([4], PerSampleMinMaxScaler()).fit(values)
    mapped = one.transform(values)

    back = one.inverse_transform(mapped, one.sample_state(values))
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=1e-5)
    with pytest.raises(ScalerError, match="per sample"):
        one.inverse_transform(mapped)


def test_a_scaler_without_blocks_is_fitted_on_each_segment():
    values = column(shape=(12,))
    one = SegmentedScaler([4], FitOnly).fit_blocks(np.array_split(values, 3))

    np.testing.assert_allclose(one.transform(values)[:, :4].max(), 1)
    np.testing.assert_allclose(one.transform(values)[:, 4:].max(), 1)
    again = SegmentedScaler([4], FitOnly)
    again.set_state(one.get_state())
    assert again.transform(values).tobytes() == one.transform(values).tobytes()


def test_a_scaler_that_changes_a_segments_shape_is_refused():
    values = column(shape=(12,))
    one = SegmentedScaler([4], Halving).fit(values)
    with pytest.raises(ScalerError, match="shape of a segment"):
        one.transform(values)


@pytest.mark.parametrize("inner", ["standrd", dict, 3, {"scaler": "mml/random"}, None])
def test_what_is_no_scaler_is_refused(inner):
    with pytest.raises(MMLError):
        SegmentedScaler([4], inner)
