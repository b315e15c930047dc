"""The kinds of series that results return; each declares the reductions that its values allow."""

from __future__ import annotations

from typing import Any, ClassVar, final

from numpy.typing import NDArray

from mml.experiment.results.axis_series import AxisSeries
from mml.experiment.results.callback_result import CallbackResult


@final
class LossDataSeries(AxisSeries[float]):
    """Losses by (epoch, batch, label); means weigh by unmasked rows, entries of zero rows drop out."""

    supported_reducers: ClassVar[tuple[str, ...]] = ("mean", "sum", "first", "last")


@final
class TensorDataSeries(AxisSeries[NDArray[Any]]):
    """Recorded arrays by (epoch, batch); ``concat`` joins them along their rows."""

    supported_reducers: ClassVar[tuple[str, ...]] = ("first", "last", "concat")


@final
class MetricDataSeries(AxisSeries[float]):
    """Named scalars by (name, epoch), or (name, epoch, batch)."""

    supported_reducers: ClassVar[tuple[str, ...]] = ("mean", "min", "max", "first", "last")


@final
class BatchDataSeries(AxisSeries[NDArray[Any]]):
    """Row numbers of executed batches, int64, by (epoch, batch, role)."""

    supported_reducers: ClassVar[tuple[str, ...]] = ("first", "last", "concat")


@final
class CallbackDataSeries(AxisSeries[CallbackResult]):
    """What callbacks returned, by (epoch, batch, callback); batch is None outside batches."""

    supported_reducers: ClassVar[tuple[str, ...]] = ("first", "last")
