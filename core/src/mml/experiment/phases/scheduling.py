"""Batch scheduling: how the batches of several samplers are put together into the steps of an epoch.

Pure functions over lengths and sequences of batch views; an inactive sampler's place is taken by a fully
masked view of the same shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from mml.errors import PhaseError, did_you_mean
from mml.processing import BatchView

Views = Mapping[str, BatchView]


class BatchSchedulingPolicy(StrEnum):
    """How batches of several samplers become steps.

    ``ZIP_*`` pairs them in lockstep, ``ALTERNATE_*`` takes turns. ``*_STRICT`` ends with the shortest
    sampler, ``*_CYCLE`` repeats the shorter ones' batches until the longest ends.
    """

    ZIP_STRICT = "zip_strict"
    ZIP_CYCLE = "zip_cycle"
    ALTERNATE_STRICT = "alternate_strict"
    ALTERNATE_CYCLE = "alternate_cycle"

    @classmethod
    def of(cls, value: BatchSchedulingPolicy | str) -> BatchSchedulingPolicy:
        """Accept a policy or its name."""
        try:
            return cls(value)
        except ValueError as cause:
            names = [one.value for one in cls]
            raise PhaseError(
                f"Unknown batch_schedule {value!r}.", hint=did_you_mean(str(value), names)
            ) from cause

    @property
    def alternates(self) -> bool:
        """Whether one sampler is active at a time."""
        return self in (BatchSchedulingPolicy.ALTERNATE_STRICT, BatchSchedulingPolicy.ALTERNATE_CYCLE)

    def n_steps(self, lengths: Sequence[int]) -> int:
        """Return the number of steps for samplers with these numbers of batches.

        Whole rounds only: alternating runs as many rounds as the shortest or the longest has batches.
        """
        strict = self in (BatchSchedulingPolicy.ZIP_STRICT, BatchSchedulingPolicy.ALTERNATE_STRICT)
        rounds = min(lengths) if strict else max(lengths)
        return rounds * len(lengths) if self.alternates else rounds


def scheduled(
    policy: BatchSchedulingPolicy, epochs: Sequence[Sequence[BatchView]], *, start: int = 0
) -> Iterator[tuple[BatchView, ...]]:
    """Yield, for each step of an epoch, one view a sampler.

    Parameters
    ----------
    policy : BatchSchedulingPolicy
    epochs : sequence of sequences of BatchView
        The batches of each sampler in this epoch, none of them empty.
    start : int
        The first step to yield.
    """
    for step in range(start, policy.n_steps([len(one) for one in epochs])):
        if not policy.alternates:
            yield tuple(views[step % len(views)] for views in epochs)
            continue
        turn, active = divmod(step, len(epochs))
        yield tuple(
            views[turn % len(views)] if number == active else views[turn % len(views)].masked_like()
            for number, views in enumerate(epochs)
        )
