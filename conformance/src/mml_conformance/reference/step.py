"""One step of a segment: forward over its calls, losses, and backward over the calls in reverse.

Arrays hold live rows only. A value's slope is the sum over all that use it; a call that no slope reaches
gives no gradients, which is not the same as gradients of zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from mml.backends import Call, NumpyOps, Segment, SegmentLoss, StepGradients
from mml_conformance.reference.layers import Run
from mml_conformance.reference.losses import ReferenceLoss
from mml_conformance.reference.merges import linear_part
from mml_conformance.reference.models import ReferenceModel

_ARGUMENTS = ("outputs", "targets")


class Step:
    """The values of one step on the way forward, and the slopes on the way back.

    Parameters
    ----------
    segment : Segment
    values : mapping of str to ndarray
        Inputs' live rows by name.
    rows : ndarray of int64, shape (n_rows,)
    seed : int
    """

    def __init__(
        self, segment: Segment, values: Mapping[str, np.ndarray], rows: np.ndarray, *, seed: int
    ) -> None:
        self.segment = segment
        self.known: dict[str, np.ndarray] = dict(values)
        self.rows = rows
        self.seed = seed
        self.caches: dict[str, Any] = {}

    def forward(self, *, training: bool) -> None:
        """Run every call that has live rows; learning calls in training mode where `training`."""
        for call in self.segment.calls:
            count = self.rows[call.rows]
            if not count:
                continue
            arrays = [self.known[name][:count] for name in call.sources]
            if call.model is None:
                self.known[call.key] = np.asarray(call.merge.merge(NumpyOps(), arrays))  # type: ignore[union-attr]
                continue
            run = Run(training=training and call.learns, seed=self.seed, stream=call.key)
            given = dict(zip(call.keys, arrays, strict=True)) if call.keys else arrays[0]
            outputs, self.caches[call.key] = _network(call).forward(given, run)
            self.known[call.key] = outputs

    def losses(self) -> list[Any]:
        """Return one scalar a loss, None without live rows."""
        return [self._value(loss) if self.rows[loss.rows] else None for loss in self.segment.losses]

    def _value(self, loss: SegmentLoss) -> np.ndarray:
        named, count = self._arguments(loss), self.rows[loss.rows]
        positional = [] if loss.keywords else list(named.values())
        keywords = named if loss.keywords else {}
        if loss.sample_weight is None:
            return np.asarray(loss.function(*positional, **keywords))
        per_row = loss.function(*positional, reduction="none", **keywords)
        return np.asarray((per_row * self._row_weights(loss)).sum() / count)

    def _arguments(self, loss: SegmentLoss) -> dict[str, np.ndarray]:
        names = loss.keywords or _ARGUMENTS
        count = self.rows[loss.rows]
        arrays = [self.known[name][:count] for name in loss.arguments]
        return dict(zip(names, arrays, strict=False)) if len(arrays) <= len(names) else _numbered(arrays)

    def _row_weights(self, loss: SegmentLoss) -> np.ndarray:
        return self.known[str(loss.sample_weight)][: self.rows[loss.rows]].reshape(-1)

    def backward(self, scales: list[float]) -> dict[str, np.ndarray]:
        """Return the gradients of the total by ``<node>/<parameter>``."""
        slopes = self._loss_slopes(scales)
        gradients: dict[str, np.ndarray] = {}
        for call in reversed(self.segment.calls):
            slope = slopes.pop(call.key, None)
            if slope is None:
                continue
            if call.model is None:
                self._through_merge(call, slope, slopes)
                continue
            inner, found = _network(call).backward(self.caches[call.key], slope)
            if not call.keys:
                self._add(slopes, call.sources[0], inner)
            if call.learns:
                for name, gradient in found.items():
                    _sum_into(gradients, f"{call.node}/{name}", gradient)
        return gradients

    def _loss_slopes(self, scales: list[float]) -> dict[str, np.ndarray]:
        slopes: dict[str, np.ndarray] = {}
        for loss, scale in zip(self.segment.losses, scales, strict=True):
            count = self.rows[loss.rows]
            if not count:
                continue
            factors = np.full(count, scale / count)
            if loss.sample_weight is not None:
                factors = factors * self._row_weights(loss)
            found = cast(ReferenceLoss, loss.function).slopes(**self._arguments(loss), factors=factors)
            for keyword, name in zip(loss.keywords or _ARGUMENTS, loss.arguments, strict=False):
                if keyword in found:
                    self._add(slopes, name, found[keyword])
        return slopes

    def _through_merge(self, call: Call, slope: np.ndarray, slopes: dict[str, np.ndarray]) -> None:
        shapes = tuple(self.known[name].shape[1:] for name in call.sources)
        parts = linear_part(call.merge, shapes, node=call.node).pull(slope)
        for name, part in zip(call.sources, parts, strict=True):
            self._add(slopes, name, part)

    def _add(self, slopes: dict[str, np.ndarray], name: str, slope: np.ndarray) -> None:
        """Add the slope of a value's first rows; the others had no part in what was computed from it."""
        value = self.known[name]
        if value.dtype.kind != "f":
            return
        whole = np.zeros(value.shape, value.dtype)
        whole[: len(slope)] = slope
        _sum_into(slopes, name, whole)

    def result(self, losses: list[Any], gradients: dict[str, np.ndarray]) -> StepGradients:
        """Return what the program asked for."""
        outputs = {key: self.known[key] for key in self.segment.outputs if key in self.known}
        return StepGradients(losses=losses, gradients=dict(gradients), outputs=outputs)


def _network(call: Call) -> Any:
    return cast(ReferenceModel, call.model).native


def _sum_into(sums: dict[str, np.ndarray], name: str, value: np.ndarray) -> None:
    sums[name] = sums[name] + value if name in sums else value


def _numbered(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {str(position): array for position, array in enumerate(arrays)}
