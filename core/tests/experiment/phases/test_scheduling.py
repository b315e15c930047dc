"""Scheduling: which batch of which sampler stands in which step, as tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml import BatchSchedulingPolicy
from mml.errors import PhaseError
from mml.experiment.phases.scheduling import scheduled
from mml.processing import BatchView

ZIP_STRICT, ZIP_CYCLE, ALTERNATE_STRICT, ALTERNATE_CYCLE = BatchSchedulingPolicy


def epoch(sampler, *sizes, roles=("default",)):
    """Return batches whose rows tell sampler, batch and place: 100 * sampler + 10 * batch + place."""
    return [
        BatchView({role: 100 * sampler + 10 * number + np.arange(size) for role in roles})
        for number, size in enumerate(sizes)
    ]


def table(policy, *epochs):
    """Return the steps as text: ``b1`` is the second batch of the second sampler, ``-`` a masked one."""

    def cell(number, view):
        first = int(view.rows["default"][0])
        assert (view.n_live == 0) == (first < 0)
        if first < 0:
            return "-"
        assert first // 100 == number
        return f"{'abc'[number]}{first % 100 // 10}"

    return [
        " ".join(cell(number, view) for number, view in enumerate(step)) for step in scheduled(policy, epochs)
    ]


TABLES = [
    (ZIP_STRICT, (2,), ["a0", "a1"]),
    (ZIP_CYCLE, (2,), ["a0", "a1"]),
    (ALTERNATE_STRICT, (2,), ["a0", "a1"]),
    (ALTERNATE_CYCLE, (2,), ["a0", "a1"]),
    (ZIP_STRICT, (3, 2), ["a0 b0", "a1 b1"]),
    (ZIP_CYCLE, (3, 2), ["a0 b0", "a1 b1", "a2 b0"]),
    (ALTERNATE_STRICT, (3, 2), ["a0 -", "- b0", "a1 -", "- b1"]),
    (ALTERNATE_CYCLE, (3, 2), ["a0 -", "- b0", "a1 -", "- b1", "a2 -", "- b0"]),
    (ZIP_STRICT, (1, 4), ["a0 b0"]),
    (ZIP_CYCLE, (1, 4), ["a0 b0", "a0 b1", "a0 b2", "a0 b3"]),
    (ALTERNATE_STRICT, (1, 4), ["a0 -", "- b0"]),
    (ZIP_STRICT, (3, 1, 2), ["a0 b0 c0"]),
    (ZIP_CYCLE, (3, 1, 2), ["a0 b0 c0", "a1 b0 c1", "a2 b0 c0"]),
    (ALTERNATE_STRICT, (3, 1, 2), ["a0 - -", "- b0 -", "- - c0"]),
    (
        ALTERNATE_CYCLE,
        (3, 1, 2),
        ["a0 - -", "- b0 -", "- - c0", "a1 - -", "- b0 -", "- - c1", "a2 - -", "- b0 -", "- - c0"],
    ),
]


@pytest.mark.parametrize(("policy", "lengths", "expected"), TABLES)
def test_steps_are_as_the_table_says(policy, lengths, expected):
    epochs = [epoch(number, *[2] * length) for number, length in enumerate(lengths)]
    assert table(policy, *epochs) == expected
    assert policy.n_steps(lengths) == len(expected)


def test_a_masked_view_has_the_shape_and_roles_of_the_batch_in_its_place():
    roles = ("anchor", "other")
    first, second = epoch(0, 3, 2), epoch(1, 5, 4, 1)
    second = [BatchView(dict.fromkeys(roles, view.rows["default"])) for view in second]
    steps = list(scheduled(ALTERNATE_CYCLE, [first, second]))
    assert [[view.n_rows for view in step] for step in steps] == [[3, 5]] * 2 + [[2, 4]] * 2 + [[3, 1]] * 2
    masked = steps[0][1]
    assert masked.roles == roles
    assert all((rows == -1).all() and rows.dtype == np.int64 for rows in masked.rows.values())


@given(
    policy=st.sampled_from(list(BatchSchedulingPolicy)),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
def test_rounds_are_whole_and_batches_come_in_order(policy, lengths):
    epochs = [[BatchView({"default": np.array([batch])}) for batch in range(length)] for length in lengths]
    steps = [[int(view.rows["default"][0]) for view in step] for step in scheduled(policy, epochs)]
    rounds = min(lengths) if policy.value.endswith("strict") else max(lengths)
    for number, length in enumerate(lengths):
        seen = [step[number] for step in steps if step[number] >= 0]
        assert seen == [turn % length for turn in range(rounds)]
    live = {sum(value >= 0 for value in step) for step in steps}
    assert live == ({1} if policy.alternates else {len(lengths)})


@given(
    policy=st.sampled_from(list(BatchSchedulingPolicy)),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    start=st.integers(0, 20),
)
def test_starting_late_leaves_out_the_first_steps(policy, lengths, start):
    epochs = [epoch(number, *[1] * length) for number, length in enumerate(lengths)]
    assert list(scheduled(policy, epochs, start=start)) == list(scheduled(policy, epochs))[start:]


@pytest.mark.parametrize("name", ["zip_strict", "zip_cycle", "alternate_strict", "alternate_cycle"])
def test_a_policy_is_its_name(name):
    assert BatchSchedulingPolicy.of(name) == name
    assert BatchSchedulingPolicy.of(BatchSchedulingPolicy.of(name)).value == name


def test_an_unknown_policy_is_refused_with_the_nearest():
    with pytest.raises(PhaseError, match="zip_strct") as caught:
        BatchSchedulingPolicy.of("zip_strct")
    assert "'zip_strict'" in caught.value.hint
