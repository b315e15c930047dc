"""What holds for every registered scaler, so that a new one is covered the day it comes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mml.data.protocols import is_per_sample
from mml.errors import ConfigError, MMLError, ScalerError, StateError
from mml.plugins import registry
from mml.processing import Scaler, SegmentedScaler

from .registered import INVERTIBLE, LOSSY, NAMES, column, scaler

REASONABLE = st.floats(-1e6, 1e6, width=32)
ROWS = hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.just(6)), elements=REASONABLE)


def inverted(one, mapped, inputs):
    return one.inverse_transform(mapped, inputs=inputs if is_per_sample(one.wrapped) else None)


def test_the_built_in_set_is_complete():
    assert {name.partition("/")[2] for name in NAMES} == {
        *("standard", "minmax", "maxabs", "robust", "per_sample_minmax", "per_sample_zero"),
        *("negate", "absolute", "segmented"),
    }


@settings(max_examples=40)
@given(st.sampled_from(INVERTIBLE), ROWS)
def test_the_inverse_of_a_transform_is_close_to_the_identity(name, values):
    one = scaler(name).fit(values)
    back = inverted(one, one.transform(values), values)

    assert back.dtype == np.float32
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=float(np.abs(values).max()) * 1e-5 + 1e-30)


@settings(max_examples=40)
@given(st.sampled_from(NAMES), st.integers(1, 2600), st.lists(st.integers(0, 2600), max_size=4))
def test_neither_fit_nor_transform_depends_on_blocks(name, n_rows, cuts):
    values = column(n_rows)
    blocks = np.split(values, sorted(min(cut, n_rows) for cut in cuts))
    whole, pieces = scaler(name).fit(values), scaler(name)
    pieces.wrapped.fit_blocks(blocks)

    expected = whole.transform(values)
    assert pieces.transform(values).tobytes() == expected.tobytes()
    assert np.concatenate([whole.transform(block) for block in blocks]).tobytes() == expected.tobytes()


@settings(max_examples=30)
@given(st.sampled_from(NAMES), st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_a_row_is_mapped_the_same_whichever_rows_are_taken_together(name, rows):
    values = column(31)
    one = scaler(name).fit(values)

    assert one.transform(values[rows]).tobytes() == one.transform(values)[rows].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_many_rows_are_mapped_as_few(name):
    values = column(70_001, shape=(6,))
    one = scaler(name).fit(values)
    whole = one.transform(values)

    for rows in (slice(0, 1), slice(65_530, 65_541), slice(69_999, 70_001)):
        assert one.transform(values[rows]).tobytes() == whole[rows].tobytes()
    if name not in LOSSY:
        np.testing.assert_allclose(inverted(one, whole, values), values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_config_and_state_round_trip(name):
    values = column()
    one = scaler(name).fit(values)
    again = Scaler.from_config(json.loads(json.dumps(one.get_config())))

    assert again == one
    assert registry("scalers").load(one.get_config()["scaler"]) is type(one.wrapped)
    again.set_state(one.get_state())
    assert again.transform(values).tobytes() == one.transform(values).tobytes()
    assert again.wrapped == one.wrapped
    assert hash(again) == hash(one)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_a_copy_and_an_empty_one_forgets(name):
    values = column()
    one = scaler(name).fit(values)
    before, state = one.transform(values), one.get_state()
    _spoil(state)

    assert one.transform(values).tobytes() == before.tobytes()
    if state:
        one.set_state({})
        with pytest.raises(ScalerError, match="not fitted"):
            one.transform(values)


def _spoil(state):
    for value in state.values() if isinstance(state, dict) else state:
        if isinstance(value, np.ndarray):
            value[...] = 99
        elif isinstance(value, dict | list):
            _spoil(value)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(name):
    values = column()
    one = scaler(name).fit(values)
    before = one.transform(values)
    for bad in ({"what": 1}, {"scale": np.ones(3), "what": np.ones(2)}, {"width": 6, "segments": []}):
        with pytest.raises(StateError):
            one.set_state(bad)

    assert one.transform(values).tobytes() == before.tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("dtype", "out"),
    [
        ("i1", "f4"),
        ("u2", "f4"),
        ("i4", "f8"),
        ("i8", "f8"),
        ("?", "f4"),
        ("f2", "f2"),
        ("f4", "f4"),
        ("f8", "f8"),
    ],
)
def test_a_float_keeps_its_dtype_and_integers_get_one_that_holds_them(name, dtype, out):
    values = column(50, dtype=dtype)
    one = scaler(name).fit(values)
    mapped = one.transform(values)

    assert mapped.dtype == np.dtype(out)
    assert mapped.shape == values.shape
    assert one.transform(values[:0]).shape == (0, 6)
    if name not in LOSSY:
        back = inverted(one, mapped, values)
        np.testing.assert_allclose(back, values.astype(out), rtol=1e-2 if dtype == "f2" else 1e-5, atol=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_values_that_came_in_stay_as_they_are(name):
    values = column(300)
    before = values.tobytes()
    one = scaler(name).fit(values)
    mapped = one.transform(values)
    kept = mapped.tobytes()
    if name not in LOSSY:
        inverted(one, mapped, values)

    assert (values.tobytes(), mapped.tobytes()) == (before, kept)


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_kept_and_left_out_of_what_is_learnt(name):
    values = column(500)
    holes = values.copy()
    holes[::7, 3] = np.nan
    holes[5] = np.nan
    one = scaler(name).fit(holes)
    mapped = one.transform(holes)

    np.testing.assert_array_equal(np.isnan(mapped), np.isnan(holes))
    rest = np.delete(values, np.flatnonzero(np.isnan(holes).any(axis=1)), axis=0)
    assert np.isfinite(one.transform(rest)).all()


@pytest.mark.parametrize("name", NAMES)
def test_extremes_of_float32_stay_finite(name):
    largest, smallest = np.finfo(np.float32).max, np.float32(1e-45)
    for extreme in (largest, smallest):
        values = np.resize(np.array([-extreme, 0, extreme, -extreme, extreme], np.float32), (10, 6))
        if name == "mml/per_sample_zero":
            # From one extreme to the other is further than float32 reaches.
            values = np.abs(values)
        one = scaler(name).fit(values)
        mapped = one.transform(values)
        assert np.isfinite(mapped).all()
        if name not in LOSSY:
            back = inverted(one, mapped, values)
            # Beside an offset the smallest number is lost, as it is in any sum.
            lost = 1e-8 if name == "mml/per_sample_zero" else 0.0
            np.testing.assert_allclose(back, values, rtol=1e-6, atol=float(extreme) * 1e-6 + lost)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e30, 1e-30, 1e-45])
def test_constant_columns_and_single_rows_are_finite(name, value):
    for n_rows in (1, 301):
        values = np.full((n_rows, 6), value, dtype=np.float64)
        one = scaler(name).fit(values)
        mapped = one.transform(values)
        assert np.isfinite(mapped).all()
        if name not in LOSSY:
            np.testing.assert_allclose(
                inverted(one, mapped, values), values, rtol=1e-14, atol=abs(value) * 1e-14
            )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_array_of_numbers_is_refused(name):
    one = scaler(name)
    dates = np.zeros((3, 6), dtype="datetime64[s]")
    for bad in (np.array([["a", "b", "c"] * 2]), np.array(3.0), dates, [[1, 2], [3]], None):
        with pytest.raises(ScalerError):
            one.fit(bad)
    with pytest.raises(ScalerError, match="no rows"):
        one.fit(np.zeros((0, 6)))
    one.fit(column())
    with pytest.raises(ScalerError):
        one.transform(np.array([["a"] * 6]))


@pytest.mark.parametrize("name", [one for one in NAMES if scaler(one).fit(column()).get_state()])
def test_other_shapes_than_learnt_from_are_refused(name):
    one = scaler(name).fit(column())
    for other in (column(shape=()), column(shape=(5,))):
        with pytest.raises(ScalerError, match="not shaped"):
            one.transform(other)
        with pytest.raises(ScalerError, match="shaped"):
            one.inverse_transform(other)


@pytest.mark.parametrize("name", sorted(LOSSY))
def test_a_lossy_scaler_refuses_to_invert_and_points_to_undo(name):
    with pytest.raises(ScalerError, match="cannot be inverted") as caught:
        scaler(name).inverse_transform(column())
    assert "undo_last_transform" in caught.value.hint


def test_a_config_with_something_else_in_it_is_refused():
    for name in NAMES:
        with pytest.raises(ConfigError, match="'colour'"):
            Scaler.from_config({**scaler(name).get_config(), "colour": "red"})
    with pytest.raises(MMLError):
        SegmentedScaler.from_config({"boundaries": [2], "inner": {"scaler": "mml/random"}})
