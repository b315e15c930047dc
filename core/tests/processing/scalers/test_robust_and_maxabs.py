"""MaxAbsScaler and RobustScaler against NumPy in float64, and how much of a column fitting holds."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mml.errors import ConfigError, ScalerError
from mml.processing import MaxAbsScaler, RobustScaler

from .registered import column

ANY = st.floats(-(2.0**127), 2.0**127, width=32)


@settings(max_examples=80)
@given(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=7), elements=ANY),
    st.sampled_from([(25, 75), (0, 100), (5, 60.5)]),
)
def test_robust_finds_the_quantiles_that_numpy_finds(values, quantile_range):
    one = RobustScaler(quantile_range).fit(values)
    low, center, high = np.percentile(
        values.astype(np.float64), [quantile_range[0], 50, quantile_range[1]], axis=0
    )
    spread = np.where(high == low, 1.0, high - low)

    size = float(np.abs(values).max()) * 1e-14 + 1e-300
    np.testing.assert_allclose(one.center_, center, rtol=1e-13, atol=size)
    np.testing.assert_allclose(one.scale_, spread, rtol=1e-12, atol=size)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8, np.bool_])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_robust_agrees_with_numpy_in_float64(dtype, shape):
    values = column(shape=shape, dtype=dtype)
    one = RobustScaler().fit(values)
    wide = values.astype(np.float64)
    low, center, high = np.percentile(wide, [25, 50, 75], axis=0)
    out = one.transform(values)

    expected = (wide - center) / np.where(high == low, 1, high - low)
    np.testing.assert_allclose(out, expected, rtol=2 * np.finfo(out.dtype).eps, atol=1e-12)


@pytest.mark.parametrize("held", [1, 5000, 1 << 20])
def test_robust_learns_the_same_however_few_elements_it_holds(monkeypatch, held):
    values = column(shape=(3, 5))
    expected = RobustScaler().fit(values)
    monkeypatch.setattr("mml.processing.scalers.quantiles._HELD_BYTES", held)
    one = RobustScaler().fit_blocks(np.array_split(values, 7))

    assert one.center_.tobytes() == expected.center_.tobytes()
    assert one.scale_.tobytes() == expected.scale_.tobytes()


def test_robust_holds_no_copy_of_the_column():
    values = column(100_000, shape=(40,), dtype=np.float64)
    tracemalloc.start()
    try:
        RobustScaler().fit(values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 0.8 * values.nbytes


def test_robust_without_centre_or_spread():
    values = column()
    low, center, high = np.percentile(values.astype(np.float64), [25, 50, 75], axis=0)

    centred = RobustScaler(with_scaling=False).fit(values).transform(values)
    scaled = RobustScaler(with_centering=False).fit(values).transform(values)
    np.testing.assert_allclose(centred, values - center, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaled, values / (high - low), rtol=1e-6)


def test_an_outlier_has_no_say_in_robust():
    values = column(101)
    spoiled = values.copy()
    spoiled[np.argmax(values[:, 0]), 0] = 1e30

    assert RobustScaler().fit(spoiled).scale_[0] == RobustScaler().fit(values).scale_[0]


@pytest.mark.parametrize("kind", [RobustScaler, MaxAbsScaler])
def test_infinities_and_nothing_but_nan_teach_nothing(kind):
    values = column(2000)
    values[1500, 1] = np.inf
    with pytest.raises(ScalerError, match="row 1500"):
        kind().fit(values)
    with pytest.raises(ScalerError, match="all are NaN") as caught:
        kind().fit(np.array([[1, np.nan], [2, np.nan]]))
    assert "(1,)" in str(caught.value)
    with pytest.raises(ScalerError, match="no rows"):
        kind().fit(np.zeros((0, 3)))
    with pytest.raises(ScalerError, match="not fitted"):
        kind().transform(np.ones(3))


@pytest.mark.parametrize("bad", [(75, 25), (50, 50), (-1, 50), (50, 101), 3, "ab", (0, float("nan"))])
def test_a_bad_quantile_range_is_refused(bad):
    with pytest.raises(ConfigError):
        RobustScaler(quantile_range=bad)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
def test_maxabs_agrees_with_numpy_in_float64(dtype):
    values = column(dtype=dtype)
    one = MaxAbsScaler().fit(values)
    wide = values.astype(np.float64)
    out = one.transform(values)

    np.testing.assert_allclose(out, wide / np.abs(wide).max(axis=0), rtol=2 * np.finfo(out.dtype).eps)
    assert np.abs(out).max(axis=0).tolist() == [1.0] * 6


def test_maxabs_leaves_zero_alone_and_scales_the_smallest_number():
    values = np.array([[0, 1e-45], [0, -1e-45]], dtype=np.float32)

    assert MaxAbsScaler().fit(values).transform(values).tolist() == [[0, 1], [0, -1]]
