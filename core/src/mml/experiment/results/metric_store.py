"""MetricStore: named scalars by epoch, and optionally by batch, wherever they come from.

It is what callbacks query by name. It does not know who logged a value. Values are kept in growing typed
arrays, 24 bytes each, because a learning rate may be logged every batch.
"""

from __future__ import annotations

from array import array
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from mml.errors import ResultError, did_you_mean
from mml.experiment.results.axis import Axis
from mml.experiment.results.data_series import MetricDataSeries
from mml.experiment.results.state_fields import array_field, codes_field, field, names_field
from mml.protocols import State

Level = Literal["epoch", "batch"]
_LEVELS: tuple[Level, ...] = ("epoch", "batch")


class _Column:
    """The values of one metric at one level, in the order of logging."""

    __slots__ = ("batches", "epochs", "values")

    def __init__(self) -> None:
        self.epochs = array("q")
        self.batches = array("q")
        self.values = array("d")

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Return epochs, batches and values; of values logged twice at one place, the later."""
        epochs = np.array(self.epochs, dtype=np.int64)
        batches = np.array(self.batches, dtype=np.int64)
        values = np.array(self.values, dtype=np.float64)
        ascending = (np.diff(epochs) > 0) | ((np.diff(epochs) == 0) & (np.diff(batches) > 0))
        if ascending.all():
            return epochs, batches, values
        latest = {
            place: position for position, place in enumerate(zip(self.epochs, self.batches, strict=True))
        }
        order = [latest[place] for place in sorted(latest)]
        return epochs[order], batches[order], values[order]


@final
class MetricStore:
    """A flat namespace of named scalars, each with an epoch and an optional batch.

    A name logged again at the same place replaces the earlier value.

    Examples
    --------
    >>> store = MetricStore()
    >>> store.log("val_loss", 0.5, epoch=0)
    >>> store.log("val_loss", 0.25, epoch=1)
    >>> store.latest("val_loss")
    0.25
    """

    def __init__(self) -> None:
        self._columns: dict[Level, dict[str, _Column]] = {level: {} for level in _LEVELS}
        self._latest: dict[str, float] = {}
        self._series: dict[Level, MetricDataSeries] = {}

    def log(self, name: str, value: float, *, epoch: int, batch: int | None = None) -> None:
        """Log one value.

        Parameters
        ----------
        name : str
            Name of the metric.
        value : float
            Any real scalar, zero-dimensional arrays included. NaN and infinities are kept.
        epoch : int
            Epoch that it belongs to.
        batch : int, optional
            Batch that it belongs to; None makes it a value of the whole epoch.
        """
        level: Level = "epoch" if batch is None else "batch"
        number = _number(name, value)
        column = self._column(level, name)
        column.epochs.append(epoch)
        column.batches.append(0 if batch is None else batch)
        column.values.append(number)
        self._latest[name] = number

    def latest(self, name: str) -> float:
        """Return the value of `name` that was logged last, at whichever level.

        Raises
        ------
        ResultError
            If nothing was logged under that name.
        """
        if name not in self._latest:
            raise ResultError(f"No metric {name!r} has been logged.", hint=did_you_mean(name, self._latest))
        return self._latest[name]

    def names(self) -> list[str]:
        """List the names in the order in which they first appeared."""
        return list(self._latest)

    def __contains__(self, name: object) -> bool:
        return name in self._latest

    def series(self, level: Level = "epoch") -> MetricDataSeries:
        """Return all values of one level; cached until something is logged.

        Parameters
        ----------
        level : {"epoch", "batch"}
            ``epoch``: axes (name, epoch), what was logged without a batch. ``batch``: axes (name, epoch,
            batch), what was logged with one.
        """
        if level not in _LEVELS:
            raise ResultError(f"There is no level {level!r}.", expected="'epoch' or 'batch'")
        if level not in self._series:
            self._series[level] = self._build(level)
        return self._series[level]

    def get_state(self) -> State:
        """Return all values: arrays, and the names as lists."""
        return {
            "latest_names": list(self._latest),
            "latest_values": np.array(list(self._latest.values()), dtype=np.float64),
        } | {level: _level_state(self._columns[level]) for level in _LEVELS}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; a state that does not fit changes nothing."""
        names = names_field(state, "latest_names")
        values = array_field(state, "latest_values", dtype=np.float64, length=len(names))
        columns: dict[Level, dict[str, _Column]] = {
            level: _level_columns(field(state, level, kind=dict)) for level in _LEVELS
        }
        self._latest = dict(zip(names, values.tolist(), strict=True))
        self._columns = columns
        self._series = {}

    def __repr__(self) -> str:
        return f"MetricStore({', '.join(self._latest) or 'empty'})"

    def _column(self, level: Level, name: str) -> _Column:
        self._series.pop(level, None)
        columns = self._columns[level]
        if name not in columns:
            columns[name] = _Column()
        return columns[name]

    def _build(self, level: Level) -> MetricDataSeries:
        state = _level_state(self._columns[level])
        axes = {"name": Axis(state["name"], tuple(state["names"])), "epoch": Axis.encode(state["epoch"])}
        if level == "batch":
            axes["batch"] = Axis.encode(state["batch"])
        return MetricDataSeries(axes, state["value"])


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as cause:
        raise ResultError(
            f"Metric {name!r} is not a real scalar.", expected="a number", found=type(value).__name__
        ) from cause


def _level_state(columns: dict[str, _Column]) -> State:
    parts = [column.arrays() for column in columns.values()]
    return {
        "names": list(columns),
        "name": np.repeat(np.arange(len(parts), dtype=np.int32), [len(part[0]) for part in parts]),
        "epoch": np.concatenate([np.zeros(0, dtype=np.int64), *(part[0] for part in parts)]),
        "batch": np.concatenate([np.zeros(0, dtype=np.int64), *(part[1] for part in parts)]),
        "value": np.concatenate([np.zeros(0), *(part[2] for part in parts)]),
    }


def _level_columns(state: State) -> dict[str, _Column]:
    names = names_field(state, "names")
    epochs = array_field(state, "epoch", dtype=np.int64)
    batches = array_field(state, "batch", dtype=np.int64, length=len(epochs))
    values = array_field(state, "value", dtype=np.float64, length=len(epochs))
    codes = codes_field(state, "name", n_names=len(names), length=len(epochs))
    columns = {name: _Column() for name in names}
    for code, name in enumerate(names):
        mine = codes == code
        columns[name].epochs.frombytes(epochs[mine].tobytes())
        columns[name].batches.frombytes(batches[mine].tobytes())
        columns[name].values.frombytes(values[mine].tobytes())
    return columns
