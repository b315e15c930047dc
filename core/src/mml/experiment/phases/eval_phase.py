"""`EvalPhase`: one pass over a split in inference mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from mml.backends.segment import Mode
from mml.configuration import several
from mml.errors import PhaseError, listed
from mml.experiment.callbacks.evaluation_metric import as_evaluation_metrics, evaluation_metric_from_config
from mml.experiment.phases.bound_inputs import BoundInputs
from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.phases.input_binding import InputBinding
from mml.experiment.phases.phase import ExperimentPhase, every_head
from mml.experiment.phases.scheduling import BatchSchedulingPolicy, scheduled
from mml.experiment.results import EvalResults, PhaseResults
from mml.graph import AppliedLoss
from mml.protocols import Config

_CHUNK = 1024


class EvalPhase(ExperimentPhase):
    """Run the graph over every row of a split, learning nothing.

    Parameters
    ----------
    label, input_sources, losses, active_nodes, callbacks, on_nonfinite, device
        See `ExperimentPhase`.
    batch_size : int, optional
        Rows a chunk; 1024 where left out. Losses and metrics do not depend on it, to rounding.
    metrics : sequence of str, Metric or EvaluationMetric
        Computed over the whole split: ``"accuracy"``, ``"auroc"``, ...; logged as ``eval_<metric>``.
    result_recording : {"none", "last", "all"}
        Outputs are kept by default.
    """

    kind: ClassVar[str] = "eval"
    own_settings: ClassVar[tuple[str, ...]] = ("batch_size", "metrics")
    mode: ClassVar[Mode] = "eval"
    results_class: ClassVar[type[PhaseResults]] = EvalResults

    def __init__(
        self,
        label: str,
        *,
        input_sources: Sequence[InputBinding],
        losses: Sequence[AppliedLoss] = (),
        batch_size: int | None = None,
        metrics: Sequence[Any] = (),
        result_recording: str = "all",
        **common: Any,
    ) -> None:
        super().__init__(
            label, input_sources=input_sources, losses=losses, result_recording=result_recording, **common
        )
        number = isinstance(batch_size, int) and not isinstance(batch_size, bool)
        if batch_size is not None and not (number and batch_size > 0):
            raise PhaseError(
                "`batch_size` is a number of at least 1.", where={"phase": label}, found=repr(batch_size)
            )
        self.batch_size = batch_size
        self.metrics = as_evaluation_metrics(metrics)

    @classmethod
    def from_split(
        cls,
        label: str,
        *,
        split: str | None,
        sampler: Any = None,
        losses: Sequence[AppliedLoss] = (),
        **settings: Any,
    ) -> Self:
        """Evaluate one split, which every head node reads.

        Parameters
        ----------
        split : str or None
            The whole FeatureSet where None.
        sampler : sampler, optional
            Makes the batches; chunks of rows in order where left out. An `AlignedSampler` lets heads read
            several FeatureSets, one with roles gives every row its partners.
        losses, **settings
            As for the constructor.
        """
        return cls(label, input_sources=[every_head(split, sampler)], losses=losses, **settings)

    @property
    def default_batch_size(self) -> int | None:
        """Rows a chunk."""
        return self.batch_size or _CHUNK

    def n_steps(self, inputs: BoundInputs) -> int:
        """Return the number of chunks."""
        self._check_single_source(inputs)
        lengths = {int(sampler.n_batches(0)) for sampler in inputs.samplers}
        if len(lengths) > 1:
            raise PhaseError(
                "The bindings of an EvalPhase cut its rows into different numbers of batches.",
                where={"phase": self.label},
                found=listed(sorted(lengths)),
                hint="Give all of them the same sampler, or none.",
            )
        return lengths.pop()

    def iter_execution(self, inputs: BoundInputs) -> Iterator[ExecutionContext]:
        """Yield one context a chunk."""
        n_steps = self.n_steps(inputs)
        batches = [sampler.epoch(0) for sampler in inputs.samplers]
        steps = scheduled(BatchSchedulingPolicy.ZIP_STRICT, batches)
        yield from self._contexts(inputs, 0, steps, n_steps)

    def _check_single_source(self, inputs: BoundInputs) -> None:
        """Refuse rows of different FeatureSets or splits in one evaluation."""
        sources = {view.label for view in inputs.views.values()}
        if len(sources) > 1 and len(inputs.samplers) > 1:
            raise PhaseError(
                "An EvalPhase reads one FeatureSet and split.",
                where={"phase": self.label},
                found=", ".join(sorted(sources)),
                hint="Make an EvalPhase for each of them, or align them: sampler=AlignedSampler(...).",
            )

    def get_config(self) -> Config:
        """Return everything that the phase declares."""
        return {
            **super().get_config(),
            "batch_size": self.batch_size,
            "metrics": [one.get_config() for one in self.metrics],
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal phase."""
        if not isinstance(config, dict) or "metrics" not in config:
            return super().from_config(config)
        metrics = several(config, "metrics", f"the phase {config.get('label')!r}")
        return super().from_config(
            {**config, "metrics": [evaluation_metric_from_config(one) for one in metrics]}
        )
