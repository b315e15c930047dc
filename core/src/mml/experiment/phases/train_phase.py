"""`TrainPhase`: epochs of batches in which nodes learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from mml.backends.segment import Mode
from mml.errors import PhaseError
from mml.experiment.phases.bound_inputs import BoundInputs
from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.phases.input_binding import InputBinding
from mml.experiment.phases.phase import ExperimentPhase, every_head
from mml.experiment.phases.scheduling import BatchSchedulingPolicy, scheduled
from mml.experiment.results import PhaseResults, TrainResults
from mml.graph import AppliedLoss
from mml.protocols import Config


class TrainPhase(ExperimentPhase):
    """Train the learning nodes for a number of epochs.

    Parameters
    ----------
    label, input_sources, losses, active_nodes, callbacks, result_recording, on_nonfinite, device
        See `ExperimentPhase`. Every binding needs a sampler.
    n_epochs : int
        At least 1.
    batch_schedule : BatchSchedulingPolicy or str
        How batches of several samplers become steps.
    """

    kind: ClassVar[str] = "train"
    own_settings: ClassVar[tuple[str, ...]] = ("n_epochs", "batch_schedule")
    mode: ClassVar[Mode] = "train"
    results_class: ClassVar[type[PhaseResults]] = TrainResults

    def __init__(
        self,
        label: str,
        *,
        input_sources: Sequence[InputBinding],
        losses: Sequence[AppliedLoss] = (),
        n_epochs: int = 1,
        batch_schedule: BatchSchedulingPolicy | str = BatchSchedulingPolicy.ZIP_STRICT,
        **common: Any,
    ) -> None:
        super().__init__(label, input_sources=input_sources, losses=losses, **common)
        if isinstance(n_epochs, bool) or not isinstance(n_epochs, int) or n_epochs < 1:
            raise PhaseError(
                "`n_epochs` is a number of at least 1.", where={"phase": label}, found=repr(n_epochs)
            )
        for binding in self.input_sources:
            if binding.sampler is None:
                raise PhaseError(
                    "A TrainPhase needs a sampler.",
                    where={"phase": label, "node": binding.node},
                    hint="Pass sampler=SimpleSampler(batch_size=32, shuffle=True).",
                )
        self.n_epochs = n_epochs
        self.batch_schedule = BatchSchedulingPolicy.of(batch_schedule)

    @classmethod
    def from_split(
        cls,
        label: str,
        *,
        split: str | None,
        sampler: Any,
        losses: Sequence[AppliedLoss] = (),
        n_epochs: int = 1,
        **settings: Any,
    ) -> Self:
        """Train on one split, which every head node reads.

        Parameters
        ----------
        split : str or None
            The whole FeatureSet where None.
        sampler : sampler
        losses, n_epochs, **settings
            As for the constructor.
        """
        return cls(
            label, input_sources=[every_head(split, sampler)], losses=losses, n_epochs=n_epochs, **settings
        )

    @property
    def default_batch_size(self) -> int | None:
        """None: a sampler is required."""
        return None

    def n_steps(self, inputs: BoundInputs) -> int:
        """Return the steps of all epochs."""
        return sum(self._epoch_steps(inputs, epoch) for epoch in range(self.n_epochs))

    def epoch_steps(self, inputs: BoundInputs) -> list[int]:
        """Return the steps of each epoch."""
        return [self._epoch_steps(inputs, epoch) for epoch in range(self.n_epochs)]

    def _epoch_steps(self, inputs: BoundInputs, epoch: int) -> int:
        lengths = [sampler.n_batches(epoch) for sampler in inputs.samplers]
        if min(lengths) == 0:
            empty = [name for name, number in inputs.sampler_of.items() if lengths[number] == 0]
            raise PhaseError(
                "A sampler makes no batch.",
                where={"phase": self.label, "node": ", ".join(empty), "epoch": epoch},
                hint="Use a smaller batch_size, or drop_last=False.",
            )
        return self.batch_schedule.n_steps(lengths)

    def iter_execution(self, inputs: BoundInputs) -> Iterator[ExecutionContext]:
        """Yield one context a step, epoch after epoch."""
        for epoch in range(self.n_epochs):
            n_steps = self._epoch_steps(inputs, epoch)
            batches = [sampler.epoch(epoch) for sampler in inputs.samplers]
            yield from self._contexts(inputs, epoch, scheduled(self.batch_schedule, batches), n_steps)
            if self.stop_requested:
                return

    def get_config(self) -> Config:
        """Return everything that the phase declares."""
        return {
            **super().get_config(),
            "n_epochs": self.n_epochs,
            "batch_schedule": self.batch_schedule.value,
        }
