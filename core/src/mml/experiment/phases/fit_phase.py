"""`FitPhase`: models that are fitted in one pass over all rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from mml.backends.segment import Mode
from mml.errors import PhaseError
from mml.experiment.phases.bound_inputs import BoundInputs
from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.phases.input_binding import InputBinding
from mml.experiment.phases.phase import ExperimentPhase, every_head
from mml.experiment.results import FitResults, PhaseResults
from mml.protocols import Config


class FitPhase(ExperimentPhase):
    """Fit every active node that can be fitted, in order, each on the output of its fitted upstream.

    Parameters
    ----------
    label, input_sources, active_nodes, callbacks, result_recording, device
        See `ExperimentPhase`.
    freeze_after_fit : bool
        Keep the fitted nodes as they are in the phases that follow; another FitPhase may fit them again.
    """

    kind: ClassVar[str] = "fit"
    own_settings: ClassVar[tuple[str, ...]] = ("freeze_after_fit",)
    mode: ClassVar[Mode] = "fit"
    results_class: ClassVar[type[PhaseResults]] = FitResults

    def __init__(
        self,
        label: str,
        *,
        input_sources: Sequence[InputBinding],
        freeze_after_fit: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(label, input_sources=input_sources, **common)
        if not isinstance(freeze_after_fit, bool):
            raise PhaseError(
                "`freeze_after_fit` is True or False.", where={"phase": label}, found=repr(freeze_after_fit)
            )
        self.freeze_after_fit = freeze_after_fit

    @classmethod
    def from_split(cls, label: str, *, split: str | None, sampler: Any = None, **settings: Any) -> Self:
        """Fit on one split, which every head node reads; all rows in order where there is no sampler."""
        return cls(label, input_sources=[every_head(split, sampler)], **settings)

    @property
    def default_batch_size(self) -> int | None:
        """None: all rows at once."""
        return None

    def n_steps(self, inputs: BoundInputs) -> int:  # noqa: ARG002 -- always one
        """Return 1."""
        return 1

    def iter_execution(self, inputs: BoundInputs) -> Iterator[ExecutionContext]:
        """Yield one context with the whole data, in the order of a binding's sampler where it has one."""
        epochs = [sampler.epoch(0) for sampler in inputs.samplers]
        whole = tuple(epoch.view(0, len(epoch)) for epoch in epochs)
        yield from self._contexts(inputs, 0, [whole], 1)

    def get_config(self) -> Config:
        """Return everything that the phase declares."""
        return {**super().get_config(), "freeze_after_fit": self.freeze_after_fit}
