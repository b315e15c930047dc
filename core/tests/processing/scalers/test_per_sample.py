"""Scalers that look at one sample at a time, and what inversion needs to know of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mml.errors import ConfigError, ScalerError
from mml.processing import PerSampleMinMaxScaler, PerSampleZeroStart, Scaler

from .registered import column

SAMPLES = hnp.arrays(
    np.float64,
    st.one_of(st.tuples(st.integers(1, 9), st.integers(2, 7)), st.just((3, 2, 4))),
    elements=st.floats(-1e9, 1e9),
)


@settings(max_examples=60)
@given(SAMPLES, st.sampled_from([(0, 1), (-1, 3)]))
def test_minmax_maps_each_sample_onto_the_range(values, feature_range):
    mapped = PerSampleMinMaxScaler(feature_range).transform(values)
    low, high = feature_range
    for sample, result in zip(values, mapped, strict=True):
        span = sample.max() - sample.min()
        expected = (sample - sample.min()) / (span or 1) * (high - low) + low
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)
        assert result.min() == low
        assert result.max() == (high if span else low)


@settings(max_examples=60)
@given(SAMPLES, st.sampled_from([0.0, 2.5]))
def test_zero_start_shifts_each_series(values, offset):
    mapped = PerSampleZeroStart(offset).transform(values)

    np.testing.assert_allclose(mapped, values - values[..., :1] + offset, rtol=1e-12, atol=1e-6)
    assert (mapped[..., 0] == offset).all()


@settings(max_examples=60)
@given(SAMPLES, st.sampled_from([PerSampleMinMaxScaler((-1, 2)), PerSampleZeroStart(3.0)]))
def test_inversion_with_the_state_of_the_samples_is_close_to_the_identity(values, one):
    back = one.inverse_transform(one.transform(values), one.sample_state(values))

    np.testing.assert_allclose(back, values, rtol=1e-9, atol=float(np.abs(values).max()) * 1e-12 + 1e-12)


def test_nan_and_infinities_are_left_out_and_kept():
    values = np.array([[np.nan, 2.0, 4.0, 3.0], [np.inf, 1.0, 1.0, -np.inf], [np.nan] * 4])

    mapped = PerSampleMinMaxScaler().transform(values)
    np.testing.assert_array_equal(mapped, [[np.nan, 0, 1, 0.5], [np.inf, 0, 0, -np.inf], [np.nan] * 4])
    shifted = PerSampleZeroStart().transform(values)
    np.testing.assert_array_equal(shifted, [[np.nan, 0, 2, 1], [np.inf, 0, 0, -np.inf], [np.nan] * 4])


@pytest.mark.parametrize("one", [PerSampleMinMaxScaler(), PerSampleZeroStart()])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_sample_of_one_value_is_refused(one, shape):
    with pytest.raises(ScalerError, match="one value"):
        one.fit(column(shape=shape))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "0", None])
def test_a_series_starts_at_a_finite_number(bad):
    with pytest.raises(ConfigError):
        PerSampleZeroStart(offset=bad)


def test_a_declaration_inverts_with_the_inputs_and_asks_for_them():
    values = column()
    declared = Scaler("per_sample_minmax").fit(values)
    mapped = declared.transform(values)

    np.testing.assert_allclose(
        declared.inverse_transform(mapped, inputs=values), values, rtol=1e-5, atol=1e-5
    )
    with pytest.raises(ScalerError, match="works per sample") as caught:
        declared.inverse_transform(mapped)
    assert "inputs=" in caught.value.hint


def test_wide_samples_have_a_state_of_few_numbers():
    state = PerSampleMinMaxScaler().sample_state(column(10, shape=(3, 500)))

    assert sum(one.nbytes for one in state.values()) == 10 * 2 * 8
