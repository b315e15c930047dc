"""Scalers: float64 oracles, exact edges, dtypes, and state to the bit."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mml.errors import ConfigError, MMLError, ScalerError, StateError
from mml.plugins import registry
from mml.processing import MinMaxScaler, RobustScaler, Scaler, StandardScaler

REASONABLE = st.floats(-1e6, 1e6, width=32)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5)


def column(n_rows=1037, shape=(3,), seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n_rows, *shape)) * 3 + 5).astype(dtype)


def exact_moments(values):
    """Mean and variance in extended precision, an oracle independent of blocks and corrections."""
    wide = values.astype(np.longdouble)
    mean = wide.mean(axis=0)
    return mean, ((wide - mean) ** 2).mean(axis=0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_standard_agrees_with_extended_precision(dtype, shape):
    values = column(shape=shape, dtype=dtype)
    scaler = StandardScaler().fit(values)
    mean, variance = exact_moments(values)

    np.testing.assert_allclose(scaler.mean_, mean.astype(float), rtol=1e-15)
    np.testing.assert_allclose(scaler.scale_, np.sqrt(variance).astype(float), rtol=1e-14)
    expected = ((values.astype(np.longdouble) - mean) / np.sqrt(variance)).astype(dtype)
    np.testing.assert_allclose(scaler.transform(values), expected, rtol=2 * np.finfo(dtype).eps, atol=1e-12)
    assert scaler.transform(values).dtype == dtype


def test_standard_keeps_digits_of_a_small_spread_around_a_large_mean():
    values = 1e9 + np.random.default_rng(0).normal(size=(5000, 1))
    _, variance = exact_moments(values)

    np.testing.assert_allclose(
        StandardScaler().fit(values).scale_, np.sqrt(variance).astype(float), rtol=1e-9
    )


def test_float32_extremes_do_not_overflow():
    values = np.array([[-3.4e38], [3.4e38]], dtype=np.float32)

    assert StandardScaler().fit(values).transform(values).tolist() == [[-1], [1]]
    assert MinMaxScaler().fit(values).transform(values).tolist() == [[0], [1]]
    wide = np.array([-1.7e308, 1.7e308])
    assert MinMaxScaler().fit(wide).transform(wide).tolist() == [0, 1]


@pytest.mark.parametrize("kind", [StandardScaler, RobustScaler])
def test_statistics_that_float64_does_not_hold_are_refused(kind):
    with pytest.raises(ScalerError, match="float64"):
        kind().fit(np.array([-1.7e308, -1e308, 1e308, 1.7e308]))


def test_wide_samples_are_learnt_from_a_few_rows_at_a_time():
    values = column(40, shape=(60_000,))
    tracemalloc.start()
    try:
        scaler = StandardScaler().fit(values)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < values.nbytes * 3
    np.testing.assert_allclose(scaler.mean_, values.astype(np.float64).mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e30, 1e-30])
def test_a_constant_column_is_centred_and_not_scaled(value):
    values = np.full((301, 2), value, dtype=np.float64)

    standard = StandardScaler().fit(values)
    assert standard.scale_.tolist() == [1, 1]
    np.testing.assert_allclose(standard.transform(values), 0, atol=abs(value) * 1e-15)
    minmax = MinMaxScaler(feature_range=(-1, 1)).fit(values)
    assert minmax.transform(values).tolist() == [[-1, -1]] * 301
    np.testing.assert_allclose(minmax.inverse_transform(minmax.transform(values)), values)


def test_one_row_is_enough():
    values = np.array([[3.0, -2.0]], dtype=np.float32)

    assert StandardScaler().fit(values).transform(values).tolist() == [[0, 0]]
    assert MinMaxScaler().fit(values).transform(values).tolist() == [[0, 0]]


@pytest.mark.parametrize("feature_range", [(0, 1), (-1, 1), (2, 2.5)])
def test_minmax_reaches_both_ends_exactly_and_stays_between(feature_range):
    values = column()
    scaler = MinMaxScaler(feature_range=feature_range).fit(values)
    mapped = scaler.transform(values)
    low, high = values.min(axis=0).astype(float), values.max(axis=0).astype(float)

    assert mapped.min(axis=0).tolist() == [feature_range[0]] * 3
    assert mapped.max(axis=0).tolist() == [feature_range[1]] * 3
    expected = (values - low) / (high - low) * (feature_range[1] - feature_range[0]) + feature_range[0]
    np.testing.assert_allclose(mapped, expected, rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("bad", [(1, 0), (0, 0), (0, float("inf")), 3, (1, 2, 3), ("a", "b")])
def test_a_bad_range_is_refused(bad):
    with pytest.raises(ConfigError):
        MinMaxScaler(feature_range=bad)


@pytest.mark.parametrize("kind", [StandardScaler, MinMaxScaler])
@pytest.mark.parametrize(
    ("dtype", "out"), [("i1", "f4"), ("i2", "f4"), ("i4", "f8"), ("i8", "f8"), ("?", "f4")]
)
def test_integers_become_the_smallest_float_that_holds_them(kind, dtype, out):
    values = np.array([0, 1, 1], dtype=dtype)

    assert kind().fit(values).transform(values).dtype == np.dtype(out)


@pytest.mark.parametrize("kind", [StandardScaler, MinMaxScaler])
def test_nan_is_left_out_and_kept(kind):
    values = column()
    with_nan = np.concatenate([values, np.full((5, 3), np.nan, np.float32)])
    with_nan[7, 1] = np.nan
    rest = np.delete(values[:, 1], 7)

    scaler = kind().fit(with_nan)
    assert np.isnan(scaler.transform(with_nan)[-5:]).all()
    np.testing.assert_allclose(
        scaler.transform(with_nan)[:7, 1], kind().fit(rest).transform(rest)[:7], rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("kind", [StandardScaler, MinMaxScaler])
def test_values_that_teach_nothing_are_refused(kind):
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


@settings(max_examples=60)
@given(st.sampled_from([StandardScaler, MinMaxScaler]), hnp.arrays(np.float32, SHAPES, elements=REASONABLE))
def test_the_inverse_of_a_transform_is_close_to_the_identity(kind, values):
    scaler = kind().fit(values)
    back = scaler.inverse_transform(scaler.transform(values))
    spread = np.abs(values).max()

    assert back.dtype == np.float32
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=float(spread) * 1e-6 + 1e-30)


@settings(max_examples=60)
@given(
    st.sampled_from([StandardScaler, MinMaxScaler]),
    st.integers(1, 2600),
    st.lists(st.integers(0, 2600), max_size=4),
)
def test_neither_fit_nor_transform_depends_on_blocks(kind, n_rows, cuts):
    values = column(n_rows, shape=(2,))
    blocks = np.split(values, sorted(min(cut, n_rows) for cut in cuts))
    whole, pieces = kind().fit(values), kind().fit_blocks(blocks)

    assert {k: v.tobytes() for k, v in whole.get_state().items()} == {
        k: v.tobytes() for k, v in pieces.get_state().items()
    }
    assert (
        np.concatenate([whole.transform(block) for block in blocks]).tobytes()
        == whole.transform(values).tobytes()
    )


@pytest.mark.parametrize("scaler", [StandardScaler(), StandardScaler(with_mean=False), MinMaxScaler((-1, 2))])
def test_config_and_state_round_trip(scaler):
    values = column()
    config = json.loads(json.dumps(scaler.get_config()))
    again = type(scaler).from_config(config)

    assert again == scaler
    assert registry("scalers").load(config["scaler"]) is type(scaler)
    again.set_state(scaler.fit(values).get_state())
    assert again.transform(values).tobytes() == scaler.transform(values).tobytes()
    state = again.get_state()
    next(iter(state.values()))[:] = 99
    assert again.transform(values).tobytes() == scaler.transform(values).tobytes()
    again.set_state({})
    with pytest.raises(ScalerError, match="not fitted"):
        again.transform(values)


def test_configs_and_states_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'with_mean'"):
        StandardScaler.from_config({"with_men": True})
    fitted = StandardScaler().fit(column())
    before = fitted.transform(column())
    for bad in ({"mean": 1}, {"mean": np.ones(2), "scale": np.ones(3)}, {"minimum": 1, "half_span": 1}):
        with pytest.raises(StateError):
            fitted.set_state(bad)
    assert np.array_equal(fitted.transform(column()), before)


def test_a_scaler_without_mean_or_spread():
    values = column()

    np.testing.assert_allclose(
        StandardScaler(with_mean=False).fit(values).transform(values), values / values.std(0), rtol=1e-5
    )
    np.testing.assert_allclose(
        StandardScaler(with_std=False).fit(values).transform(values), values - values.mean(0), atol=1e-5
    )


def test_the_declaration_takes_names_classes_and_instances():
    values = column()
    expected = MinMaxScaler(feature_range=(-1, 1)).fit(values).transform(values)
    declared = [
        Scaler("minmax", feature_range=(-1, 1)),
        Scaler("mml/minmax", feature_range=[-1, 1]),
        Scaler(MinMaxScaler, feature_range=(-1, 1)),
        Scaler(MinMaxScaler(feature_range=(-1, 1))),
        Scaler.from_config(Scaler("minmax", feature_range=(-1, 1)).get_config()),
    ]

    for one in declared:
        assert np.array_equal(one.fit_transform(values), expected)
        assert one == declared[0]
    assert Scaler("standard") != declared[0]
    other = Scaler("minmax", feature_range=(-1, 1))
    other.set_state(declared[0].get_state())
    np.testing.assert_allclose(other.inverse_transform(expected), values, rtol=1e-5, atol=1e-5)


def test_a_declaration_makes_fresh_scalers():
    declared = Scaler("standard").fit(column())

    assert declared.build().get_state() == {}
    assert declared.get_state() != {}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scaler("minmx"),
        lambda: Scaler("minmax", feature_rnge=(0, 1)),
        lambda: Scaler("minmax", feature_range=(1, 0)),
        lambda: Scaler(MinMaxScaler(), feature_range=(0, 1)),
        lambda: Scaler(dict),
        lambda: Scaler(3),
        lambda: Scaler.from_config({}),
        lambda: Scaler.from_config({"scaler": "mml/random"}),
    ],
)
def test_declarations_that_mean_nothing_are_refused(make):
    with pytest.raises(MMLError):
        make()


# Settings


@pytest.mark.parametrize(
    ("name", "settings", "near"),
    [
        ("minmax", {"range": (0, 1)}, "'feature_range'"),
        ("standard", {"with_means": True}, "'with_mean'"),
        ("robust", {"quantiles": (10, 90)}, "'quantile_range'"),
        ("segmented", {"boundary": [2], "scaler": "minmax"}, "'boundaries'"),
        ("maxabs", {"feature_range": (0, 1)}, ""),
    ],
)
def test_an_unknown_setting_names_the_scaler_and_the_near_misses(name, settings, near):
    with pytest.raises(ScalerError, match=f"The scaler '{name}' does not take these settings") as caught:
        Scaler(name, **settings)

    assert next(iter(settings)) in str(caught.value)
    assert near in str(caught.value.hint)


def test_a_missing_setting_is_named():
    with pytest.raises(ScalerError, match=r"'segmented' does not take these settings.*'scaler'"):
        Scaler("segmented", boundaries=[2])


class Refusing(StandardScaler):
    """A scaler that cannot be made."""

    def __init__(self, setting=1):
        raise ZeroDivisionError("inside")


def test_a_constructor_that_fails_is_named_and_chained():
    with pytest.raises(ScalerError, match=r"Refusing.*inside") as caught:
        Scaler(Refusing, setting=2)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("name", "setting", "given"),
    [
        ("standard", "with_mean", "false"),
        ("standard", "with_std", 1),
        ("robust", "with_centering", None),
        ("robust", "with_scaling", "no"),
        ("per_sample_zero", "offset", "1"),
        ("per_sample_zero", "offset", True),
        ("per_sample_zero", "offset", np.nan),
        ("per_sample_zero", "offset", np.float32("inf")),
    ],
)
def test_a_setting_of_another_kind_is_refused(name, setting, given):
    with pytest.raises(ConfigError, match=f"'{setting}'") as caught:
        Scaler(name, **{setting: given})
    assert repr(given) in caught.value.found


@pytest.mark.parametrize("given", ["01", ["0", "1"], (0, 1, 2), (False, True), {0: 1, 1: 2}, {0, 1}, 3, None])
@pytest.mark.parametrize(
    ("name", "setting"),
    [("minmax", "feature_range"), ("per_sample_minmax", "feature_range"), ("robust", "quantile_range")],
)
def test_a_range_is_two_numbers(name, setting, given):
    with pytest.raises(ConfigError, match="two ends"):
        Scaler(name, **{setting: given})


@pytest.mark.parametrize("number", [1, 1.0, np.int64(1), np.uint8(1), np.float32(1), np.float64(1)])
def test_numpys_numbers_and_flags_are_numbers_and_flags(number):
    values = np.array([[3.0, 4.0], [5.0, 9.0]])

    assert Scaler("per_sample_zero", offset=number).fit_transform(values).tolist() == [[1, 2], [1, 5]]
    assert Scaler("minmax", feature_range=(number, 2)).fit_transform(values).tolist() == [[1, 1], [2, 2]]
    config = Scaler("standard", with_mean=np.bool_(False)).get_config()
    assert config == {"scaler": "mml/standard", "with_mean": False, "with_std": True}
    assert type(Scaler("per_sample_zero", offset=number).get_config()["offset"]) is float


def test_settings_that_are_edited_later_change_no_scaler():
    ends = [0.0, 1.0]
    declared = Scaler("minmax", feature_range=ends)
    ends[1] = 5.0

    assert declared.build().feature_range == (0.0, 1.0)


def raises(*_):
    raise ZeroDivisionError("inside")


@pytest.mark.parametrize(
    ("method", "use"),
    [
        ("fit", lambda one: one.fit(column())),
        ("transform", lambda one: one.transform(column())),
        ("inverse_transform", lambda one: one.inverse_transform(column())),
        ("get_state", lambda one: one.get_state()),
    ],
)
def test_a_method_that_fails_is_named_and_chained(method, use):
    declared = Scaler(type("Failing", (StandardScaler,), {method: raises}))
    with pytest.raises(ScalerError, match=f"failed in {method}: inside") as caught:
        use(declared)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
