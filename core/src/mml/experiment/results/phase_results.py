"""PhaseResults: everything that one execution of one phase leaves behind.

Recording methods are called by whoever runs the phase and only append. Reading methods build series on
demand and keep them until more is recorded. Nothing here knows how a phase is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mml.errors import ResultError, did_you_mean
from mml.experiment.results.batch_log import BatchLog
from mml.experiment.results.batch_losses import with_batch_losses
from mml.experiment.results.callback_log import CallbackLog
from mml.experiment.results.callback_result import CallbackResult, MetricResult
from mml.experiment.results.data_series import (
    BatchDataSeries,
    CallbackDataSeries,
    LossDataSeries,
    MetricDataSeries,
    TensorDataSeries,
)
from mml.experiment.results.execution_meta import PhaseExecutionMeta
from mml.experiment.results.execution_record import ExecutionRecord
from mml.experiment.results.loss_log import LossBlock, LossLog, LossValues
from mml.experiment.results.metric_store import Level, MetricStore
from mml.experiment.results.state_fields import field
from mml.experiment.results.summary import phase_line, phase_summary
from mml.experiment.results.tensor_log import Content, ResultRecording, TensorLog, TensorRecord
from mml.protocols import State


class PhaseResults(ExecutionRecord):
    """Losses, tensors, metrics and callback results of one phase; base of the kinds of results.

    Parameters
    ----------
    label : str
        Label of the phase.
    result_recording : {"none", "last", "all"}
        Which tensors to keep: none, those of the latest epoch, or all.

    Attributes
    ----------
    in_sample : bool
        Whether an evaluation scored a split by parts that were fitted on that very split.
    """

    loss_metric: ClassVar[str] = "train_loss"
    """Name under which the weighted total of the losses is logged."""

    def __init__(self, label: str, *, result_recording: ResultRecording = "all") -> None:
        super().__init__(label)
        self.metric_store = MetricStore()
        self.in_sample = False
        self._loss_metric = self.loss_metric
        self._losses = LossLog()
        self._tensors = TensorLog(result_recording)
        self._batches = BatchLog()
        self._callbacks = CallbackLog()

    # Recording

    def record_losses(
        self,
        *,
        epoch: int,
        batches: NDArray[np.int64],
        labels: tuple[str, ...],
        nodes: tuple[str, ...],
        values: LossValues,
        rows: NDArray[np.int64],
        weights: NDArray[np.float64],
    ) -> None:
        """Record the losses of a block of batches; the arrays are kept, not copied.

        Parameters
        ----------
        epoch : int
            Epoch of the block.
        batches : ndarray of int64, shape (k,)
            Batch numbers within the epoch.
        labels, nodes : tuple of str, length n_losses
            Label of each loss, and label of the node that it applies to.
        values : ndarray of shape (k, n_losses), or callable returning it
            Mean loss over the unmasked rows of each batch. A callable is called once, on first read.
        rows : ndarray of int64, shape (k, n_losses)
            Unmasked rows behind each value; the value of an entry of zero rows is never used.
        weights : ndarray of float64, shape (n_losses,)
            Weight of each loss in the total.
        """
        block = LossBlock(batches, labels, values, rows)
        self._losses.add(block, epoch=epoch, nodes=nodes, weights=weights)

    def record_batches(
        self,
        *,
        epoch: int,
        batches: NDArray[np.int64],
        node: str,
        rows: Sequence[NDArray[np.int64]],
        role: str = "default",
    ) -> None:
        """Record which rows a block of batches held; the arrays are kept, not copied.

        Parameters
        ----------
        epoch : int
            Epoch of the block.
        batches : ndarray of int64, shape (k,)
            Batch numbers within the epoch.
        node : str
            Label of the head node that received them.
        rows : sequence of ndarray of int64, length k
            Absolute row numbers of each batch; -1 is a masked row.
        role : str
            Role of the rows.
        """
        self._batches.add(epoch=epoch, batches=batches, node=node, role=role, rows=rows)

    def record_outputs(
        self,
        *,
        epoch: int,
        batch: int,
        node: str,
        role: str,
        outputs: NDArray[Any],
        targets: NDArray[Any] | None,
        sample_uuids: NDArray[np.uint8],
    ) -> None:
        """Record what a node returned for one role of one batch, as far as ``result_recording`` asks for it.

        Parameters
        ----------
        epoch, batch : int
            Where it belongs.
        node, role : str
            Label of the node, and role of the rows.
        outputs : ndarray, shape (n_rows, ...)
            Its output; masked rows left out. Kept, not copied.
        targets : ndarray of shape (n_rows, ...), or None
            Targets of the same rows.
        sample_uuids : ndarray of uint8, shape (n_rows, 16)
            Identities of the same rows.
        """
        self._tensors.add(TensorRecord(epoch, batch, node, role, outputs, targets, sample_uuids))

    def record_callback(self, result: CallbackResult, *, epoch: int, batch: int | None = None) -> None:
        """Keep what a callback returned; a `MetricResult` is logged to the metric store too.

        Parameters
        ----------
        result : CallbackResult
            With the callback's name filled in.
        epoch : int
            Epoch in which it was returned.
        batch : int, optional
            Batch in which it was returned; None outside batches.
        """
        if not isinstance(result, CallbackResult):
            raise ResultError(
                "A callback must return a CallbackResult or nothing.",
                where={"phase": self.label, "epoch": epoch, "batch": batch},
                found=type(result).__name__,
            )
        if isinstance(result, MetricResult):
            self.metric_store.log(result.name, result.value, epoch=epoch, batch=batch)
        self._callbacks.add(result, epoch=epoch, batch=batch)

    def close_epoch(self, epoch: int, *, metric: str | None = None) -> float:
        """Combine the losses of an epoch by rows, log them, and return their weighted total.

        Parameters
        ----------
        epoch : int
            Epoch to close; this fetches losses that are still on a device.
        metric : str, optional
            Name of the total; ``<metric>/<loss label>`` are the means of the losses. By default
            ``train_loss``, for an evaluation ``eval_loss``.

        Returns
        -------
        float
            Σ weight · mean over the losses with unmasked rows; NaN, and nothing is logged, if none had any.
        """
        self._loss_metric = metric or self._loss_metric
        means = self._losses.means([epoch])
        if not means.by_label:
            return means.total
        self.metric_store.log(self._loss_metric, means.total, epoch=epoch)
        for label, mean in means.by_label.items():
            self.metric_store.log(f"{self._loss_metric}/{label}", mean, epoch=epoch)
        return means.total

    def drop_tensors(self) -> None:
        """Forget recorded tensors, to free their memory; everything else stays."""
        self._tensors.drop()

    # Reading

    @property
    def result_recording(self) -> ResultRecording:
        """Which tensors are kept."""
        return self._tensors.recording

    @property
    def epoch_indices(self) -> list[int]:
        """Epochs with recorded losses or batches, ascending."""
        return sorted({*self._losses.epochs, *self._batches.epochs})

    def losses(self, node: Any = None) -> LossDataSeries:
        """Return losses with axes (epoch, batch, label).

        Parameters
        ----------
        node : str or node, optional
            Only the losses applied to that node.
        """
        series = self._losses.series()
        if node is None:
            return series
        name = str(self._node_label(node))
        labels = [label for label, owner in self._losses.nodes.items() if owner == name]
        if not labels:
            raise ResultError(
                f"No losses were recorded for node {name!r}.",
                where={"phase": self.label},
                hint=did_you_mean(name, self._losses.nodes.values()),
            )
        return series.where(label=labels)

    def tensors(
        self, node: Any = None, *, role: str = "default", content: Content = "outputs"
    ) -> TensorDataSeries:
        """Return recorded arrays of one node with axes (epoch, batch).

        Parameters
        ----------
        node : str or node, optional
            Needed where several nodes were recorded.
        role : str
            Role of the rows.
        content : {"outputs", "targets", "sample_uuids"}
            Which arrays.

        Raises
        ------
        ResultError
            If they were not recorded; the message names ``result_recording``.
        """
        return self._tensors.series(self._node_label(node), role=role, content=content, phase=self.label)

    def batches(self, node: Any = None) -> BatchDataSeries:
        """Return the row numbers of executed batches with axes (epoch, batch, role).

        Parameters
        ----------
        node : str or node, optional
            Head node that received them; needed where there are several.
        """
        return self._batches.series(self._node_label(node), phase=self.label)

    def metrics(self, level: Level = "epoch") -> MetricDataSeries:
        """Return all metrics.

        Parameters
        ----------
        level : {"epoch", "batch"}
            ``epoch``: axes (name, epoch). ``batch``: axes (name, epoch, batch), what was logged batch by
            batch and the losses, with the rows that each came from, so that means over batches weigh by rows.
        """
        logged = self.metric_store.series(level)
        if level == "epoch" or not self._losses.epochs:
            return logged
        return with_batch_losses(logged, self._losses, metric=self._loss_metric)

    def callbacks(self) -> CallbackDataSeries:
        """Return callback results with axes (epoch, batch, callback)."""
        return self._callbacks.series()

    @property
    def meta(self) -> PhaseExecutionMeta:
        """Timing and status, without the results."""
        return PhaseExecutionMeta(
            label=self.label,
            kind=type(self).__name__,
            status=self.status,
            started_at=self.started_at,
            ended_at=self.ended_at,
            failure=self.failure,
        )

    def summary(self) -> str:
        """Describe the phase and its metrics as plain text."""
        return phase_summary(self)

    def __repr__(self) -> str:
        return f"<{phase_line(self)}>"

    # State

    def get_state(self) -> State:
        """Return everything that was recorded: arrays and JSON only."""
        return self._record_state() | {
            "loss_metric": self._loss_metric,
            "in_sample": self.in_sample,
            "losses": self._losses.get_state(),
            "metrics": self.metric_store.get_state(),
            "tensors": self._tensors.get_state(),
            "batches": self._batches.get_state(),
            "callbacks": self._callbacks.get_state(),
        }

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; a state that does not fit changes nothing.

        Raises
        ------
        StateError
            If it belongs to another phase or kind of results, or a field is missing or misshapen.
        """
        # The kinds of results are subclasses of this class, so that their table can only be read late.
        from mml.experiment.results.result_kinds import phase_results_from_state

        # Everything is read before anything is assigned.
        parts = self._checked_record(state)
        store = MetricStore()
        store.set_state(field(state, "metrics", kind=dict))
        parts |= {
            "metric_store": store,
            "_loss_metric": field(state, "loss_metric", kind=str),
            "in_sample": field(state, "in_sample", kind=bool),
            "_losses": LossLog.from_state(field(state, "losses", kind=dict)),
            "_tensors": TensorLog.from_state(field(state, "tensors", kind=dict)),
            "_batches": BatchLog.from_state(field(state, "batches", kind=dict)),
            "_callbacks": CallbackLog.from_state(
                field(state, "callbacks", kind=dict), results=phase_results_from_state
            ),
        }
        for name, part in parts.items():
            setattr(self, name, part)

    @staticmethod
    def _node_label(node: Any) -> str | None:
        return node if node is None or isinstance(node, str) else str(getattr(node, "label", node))
