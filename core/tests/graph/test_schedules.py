"""Schedules are pure functions of the step: closed formulas, whatever the block."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mml
from mml.backends import get_backend
from mml.errors import OptimizerError
from mml.graph.optimizers import CosineSchedule, OneCycleSchedule, StepSchedule, WarmupSchedule
from mml.graph.optimizers.schedules import as_schedule

TOTAL = 40


def one_cycle(t, *, rise=0.3, div=25.0, last=1e4):
    done = t / (TOTAL - 1)
    if done < rise:
        return 1 / div + (1 - 1 / div) * (1 - math.cos(math.pi * done / rise)) / 2
    low = 1 / div / last
    return low + (1 - low) * (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2


FORMULAS = [
    (None, lambda t: 1.0),
    ("constant", lambda t: 1.0),
    ({"schedule": "step", "step_size": 7, "gamma": 0.5}, lambda t: 0.5 ** (t // 7)),
    ("step", lambda t: 1.0),
    ("cosine", lambda t: (1 + math.cos(math.pi * t / TOTAL)) / 2),
    (CosineSchedule(minimum=0.2), lambda t: 0.2 + 0.8 * (1 + math.cos(math.pi * t / TOTAL)) / 2),
    (WarmupSchedule(steps=8), lambda t: min(1.0, (t + 1) / 8)),
    ("one_cycle", one_cycle),
    (
        OneCycleSchedule(rise=0.5, div_factor=10.0, final_div_factor=2.0),
        lambda t: one_cycle(t, rise=0.5, div=10, last=2),
    ),
]


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS, ids=range(len(FORMULAS)))
def test_factors_follow_the_formula(schedule, formula):
    found = as_schedule(schedule).factors(0, TOTAL, total=TOTAL)
    assert found.dtype == np.float64
    assert found.shape == (TOTAL,)
    np.testing.assert_allclose(found, [formula(t) for t in range(TOTAL)], rtol=1e-12, atol=1e-15)


@given(
    schedule=st.sampled_from([one for one, _ in FORMULAS]),
    start=st.integers(0, 60),
    count=st.integers(0, 30),
    total=st.integers(1, 50),
)
def test_any_range_is_a_part_of_the_whole(schedule, start, count, total):
    made = as_schedule(schedule)
    whole = made.factors(0, start + count, total=total)
    part = made.factors(start, count, total=total)
    assert part.tobytes() == whole[start:].tobytes()
    assert np.isfinite(part).all()
    assert ((part >= 0) & (part <= 1)).all()


def test_one_cycle_peaks_once_and_ends_at_its_floor():
    factors = OneCycleSchedule().factors(0, 101, total=101)
    assert factors[0] == pytest.approx(1 / 25)
    assert factors.max() == pytest.approx(1.0)
    assert factors.argmax() == 30
    assert factors[-1] == pytest.approx(1 / 25e4)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: StepSchedule(step_size=0), "step_size"),
        (lambda: StepSchedule(step_size=1.5), "step_size"),
        (lambda: StepSchedule(gamma=-1), "gamma"),
        (lambda: CosineSchedule(minimum=2.0), "minimum"),
        (lambda: CosineSchedule(minimum="low"), "minimum"),
        (lambda: WarmupSchedule(steps=0), "steps"),
        (lambda: OneCycleSchedule(rise=0.0), "rise"),
        (lambda: OneCycleSchedule(rise=1.0), "rise"),
        (lambda: OneCycleSchedule(div_factor=0), "div_factor"),
        (lambda: OneCycleSchedule(final_div_factor=float("inf")), "final_div_factor"),
    ],
)
def test_settings_are_checked_at_once(make, setting):
    with pytest.raises(OptimizerError, match=setting):
        make()


def test_rates_are_the_base_rate_times_the_factors():
    rule = mml.Optimizer("sgd").resolve(get_backend("reference"))
    own = mml.Optimizer("sgd", lr=0.5, schedule=WarmupSchedule(steps=4))
    np.testing.assert_allclose(own.rates(rule, start=1, count=4, total=9), [0.25, 0.375, 0.5, 0.5])
    default = mml.Optimizer("sgd", schedule=WarmupSchedule(steps=4))
    np.testing.assert_allclose(default.rates(rule, start=0, count=1, total=9), [rule.default_rate / 4])
