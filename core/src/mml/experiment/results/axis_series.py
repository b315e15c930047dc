"""AxisSeries: values keyed by named coordinates, filtered, reduced and exported by column.

It owns the query language of all results. It does not know what its values mean; the subclasses say which
reductions make sense for theirs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mml.errors import ResultError, did_you_mean, listed
from mml.experiment.results import series_export
from mml.experiment.results.axis import Axis
from mml.experiment.results.reducers import group_entries, reducer

T = TypeVar("T")
_Entries = NDArray[np.int64] | slice


class AxisSeries(Generic[T]):
    """Values keyed by coordinates on named axes; immutable.

    Parameters
    ----------
    axes : mapping of str to array-like, shape (n_entries,)
        Coordinates of each entry, per axis: integers, strings or None. The order of the mapping is the
        order of the axes.
    values : array-like, shape (n_entries,)
        One value per entry. Numbers are kept as one NumPy array, anything else as objects.
    rows : array-like of int, shape (n_entries,), optional
        How many unmasked rows each value was computed from. Means weigh by them, and entries of zero rows
        drop out of every reduction.

    Raises
    ------
    ResultError
        If the lengths differ.

    Examples
    --------
    >>> from mml.experiment.results import LossDataSeries
    >>> series = LossDataSeries(
    ...     {"epoch": [0, 0, 1], "batch": [0, 1, 0]}, [1.0, 4.0, 3.0], rows=[2, 1, 3]
    ... )
    >>> series.at(epoch=0, batch=1)
    4.0
    >>> series.collapse("batch", "mean").select()
    [2.0, 3.0]
    """

    supported_reducers: ClassVar[tuple[str, ...]] = ("first", "last")
    """Names that :meth:`collapse` accepts."""

    def __init__(
        self,
        axes: Mapping[str, Axis | Iterable[Any]],
        values: ArrayLike | Sequence[Any],
        *,
        rows: ArrayLike | None = None,
    ) -> None:
        self._axes = {
            name: axis if isinstance(axis, Axis) else Axis.encode(axis) for name, axis in axes.items()
        }
        self._values = _as_column(values)
        self._rows = None if rows is None else np.asarray(rows, dtype=np.int64)
        lengths = {name: len(axis) for name, axis in self._axes.items()} | {"values": len(self._values)}
        if self._rows is not None:
            lengths["rows"] = len(self._rows)
        if len(set(lengths.values())) > 1:
            raise ResultError(
                "The columns of a series differ in length.",
                found=", ".join(f"{name}: {length}" for name, length in lengths.items()),
            )

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes, in order."""
        return tuple(self._axes)

    @property
    def values(self) -> NDArray[Any]:
        """The values in entry order, shape (n_entries,), read-only."""
        return _read_only(self._values)

    @property
    def rows(self) -> NDArray[np.int64] | None:
        """Unmasked rows behind each value, int64 of shape (n_entries,), read-only, or None."""
        return None if self._rows is None else _read_only(self._rows)

    def axes_values(self) -> dict[str, list[Any]]:
        """Return the distinct coordinates on each axis: integers ascending, names as first recorded."""
        return {name: axis.present() for name, axis in self._axes.items()}

    def coordinates(self, axis: str) -> NDArray[Any]:
        """Return the coordinate of each entry on one axis, shape (n_entries,)."""
        return self._axis(axis).decode()

    def where(self, **coordinates: Any) -> Self:
        """Keep the entries at these coordinates; the axes stay, pinned to what was asked for.

        Parameters
        ----------
        **coordinates
            Per axis one value, or a list, tuple, set, range or array of allowed values. A value that has
            no entry matches nothing.

        Raises
        ------
        ResultError
            If there is no such axis, or no coordinate can be what is asked for: a slice, a function.
        """
        return self._take(self._matching(coordinates))

    def at(self, **coordinates: Any) -> T:
        """Return the one value at these coordinates.

        Axes on which the series has a single value need not be named.

        Raises
        ------
        ResultError
            If nothing is there, or several entries; the message lists what exists.
        """
        found = self.where(**coordinates)
        if len(found) == 1:
            return found.select()[0]
        given = ", ".join(f"{name}={value!r}" for name, value in coordinates.items())
        if not len(found):
            raise ResultError(f"There is no entry at ({given}).", expected=self._describe_axes())
        open_axes = {name: axis for name, axis in found._axes.items() if len(axis.present()) > 1}
        raise ResultError(
            f"{len(found)} entries are at ({given}), and at() returns one.",
            expected=f"a value for {_described(open_axes)}" if open_axes else None,
            hint="Use select() for all of them, or collapse() to combine them.",
        )

    def select(self, **coordinates: Any) -> list[T]:
        """Return the values at these coordinates as a flat list, in entry order."""
        selected: list[T] = self._values[self._matching(coordinates)].tolist()
        return selected

    def collapse(self, axis: str | Sequence[str], reducer: str = "mean") -> Self:
        """Combine entries along one axis or several, which disappear.

        Parameters
        ----------
        axis : str or sequence of str
            What to reduce along.
        reducer : str
            One of ``supported_reducers``. ``first`` and ``last`` follow the order of the axis.

        Returns
        -------
        AxisSeries
            One entry per combination of the other axes, ordered by them. Rows are added up.

        Raises
        ------
        ResultError
            If there is no such axis, or the reducer is not supported.
        """
        names = (axis,) if isinstance(axis, str) else tuple(axis)
        for name in names:
            self._axis(name)
        if reducer not in self.supported_reducers:
            raise ResultError(
                f"{type(self).__name__} cannot be reduced by {reducer!r}.",
                expected=f"one of {listed(self.supported_reducers)}",
            )
        if self._rows is not None and len(self) and self._rows.min() <= 0:
            return self._take(np.flatnonzero(self._rows > 0))._reduced(names, reducer)
        return self._reduced(names, reducer)

    def with_axis(self, name: str, value: Any) -> Self:
        """Put a new axis in front, on which all entries have one value."""
        if name in self._axes:
            raise ResultError(f"The series already has an axis {name!r}.", expected="a new name")
        axes = {name: Axis.constant(value, len(self))} | self._axes
        return type(self)(axes, self._values, rows=self._rows)

    @classmethod
    def concatenate(cls, series: Sequence[Self]) -> Self:
        """Join series with the same axes into one, entry after entry."""
        if not series:
            raise ResultError("There is nothing to concatenate.", expected="at least one series")
        if len({one.axes for one in series}) > 1:
            raise ResultError(
                "Only series with the same axes can be concatenated.",
                found=", ".join(str(one.axes) for one in series),
            )
        axes = {
            name: Axis.encode([value for one in series for value in one.coordinates(name).tolist()])
            for name in series[0].axes
        }
        rows = [one._rows for one in series if one._rows is not None]
        return cls(
            axes,
            np.concatenate([one._values for one in series]),
            rows=np.concatenate(rows) if len(rows) == len(series) else None,
        )

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame: one column per axis, ``value``, and ``rows`` where they are known."""
        return series_export.to_pandas(self._axes, self._values, self._rows)

    def to_arrow(self) -> Any:
        """Return a pyarrow Table with the columns of :meth:`to_pandas`.

        Array values become flat lists with their ``shape`` beside them.
        """
        return series_export.to_arrow(self._axes, self._values, self._rows)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], T]]:
        """Yield ``(coordinates, value)`` in entry order."""
        columns = [axis.decode().tolist() for axis in self._axes.values()]
        for position, value in enumerate(self._values.tolist()):
            yield dict(zip(self._axes, (column[position] for column in columns), strict=True)), value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AxisSeries) or type(self) is not type(other) or self.axes != other.axes:
            return NotImplemented if not isinstance(other, AxisSeries) else False
        if self._rows is None or other._rows is None:
            if self._rows is not other._rows:
                return False
        elif not np.array_equal(self._rows, other._rows):
            return False
        return all(
            axis.same_coordinates(other._axes[name]) for name, axis in self._axes.items()
        ) and _same_values(self._values, other._values)

    __hash__ = None  # type: ignore[assignment]  # it holds arrays and compares by value

    def __repr__(self) -> str:
        plural = "entry" if len(self) == 1 else "entries"
        return f"{type(self).__name__}({len(self)} {plural}; {self._describe_axes()})"

    def _axis(self, name: str) -> Axis:
        if name not in self._axes:
            raise ResultError(
                f"{type(self).__name__} has no axis {name!r}.",
                expected=f"one of {listed(self._axes)}",
                hint=did_you_mean(name, self._axes),
            )
        return self._axes[name]

    def _matching(self, coordinates: Mapping[str, Any]) -> _Entries:
        mask: NDArray[np.bool_] | None = None
        for name, wanted in coordinates.items():
            hits = _hits(name, self._axis(name), wanted)
            mask = hits if mask is None else mask & hits
        if mask is None:
            return slice(None)
        entries = np.flatnonzero(mask)
        if len(entries) and entries[-1] - entries[0] + 1 == len(entries):
            return slice(int(entries[0]), int(entries[-1]) + 1)  # a run of entries needs no copy
        return entries

    def _take(self, entries: _Entries) -> Self:
        axes = {name: axis.take(entries) for name, axis in self._axes.items()}
        return type(self)(
            axes, self._values[entries], rows=None if self._rows is None else self._rows[entries]
        )

    def _reduced(self, names: tuple[str, ...], how: str) -> Self:
        kept = {name: axis for name, axis in self._axes.items() if name not in names}
        collapsed = [self._axes[name] for name in names]
        if not len(self):
            return type(self)({name: Axis.encode([]) for name in kept}, self._values, rows=self._rows)
        groups = group_entries(list(kept.values()), collapsed, n_entries=len(self))
        reduced = reducer(how)(self._values, self._rows, groups)
        axes = {
            name: Axis(codes, axis.vocabulary)
            for (name, axis), codes in zip(kept.items(), groups.codes, strict=True)
        }
        return type(self)(axes, reduced.values, rows=reduced.rows)

    def _describe_axes(self) -> str:
        return _described(self._axes)


def _hits(name: str, axis: Axis, wanted: Any) -> NDArray[np.bool_]:
    if isinstance(wanted, (list, tuple, set, frozenset, range, np.ndarray)):
        codes = [code for code in map(axis.code_of, wanted) if code is not None]
        allowed = np.zeros(len(axis.vocabulary), dtype=bool)
        allowed[codes] = True
        return allowed[axis.codes]
    if isinstance(wanted, slice) or callable(wanted) or not isinstance(wanted, Hashable):
        raise ResultError(
            "Entries are chosen by the values of their coordinates.",
            where={"axis": name},
            expected="one value, or a list, set, range or array of values",
            found=f"{type(wanted).__name__}: {wanted!r}",
        )
    code = axis.code_of(wanted)
    return np.zeros(len(axis), dtype=bool) if code is None else axis.codes == code


def _as_column(values: Any) -> NDArray[Any]:
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values
    entries = list(values)
    if entries and all(isinstance(one, Number) for one in entries):
        return np.asarray(entries)
    column = np.empty(len(entries), dtype=object)
    for position, one in enumerate(entries):
        column[position] = one
    return column


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _same_values(left: NDArray[Any], right: NDArray[Any]) -> bool:
    if object not in (left.dtype, right.dtype):
        floating = left.dtype.kind in "fc" and right.dtype.kind in "fc"
        return bool(np.array_equal(left, right, equal_nan=floating))
    return len(left) == len(right) and all(map(_same_object, left.tolist(), right.tolist()))


def _same_object(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        if left.dtype != right.dtype:
            return False
        return bool(np.array_equal(left, right, equal_nan=left.dtype.kind in "fc"))
    return bool(left == right)


def _described(axes: Mapping[str, Axis]) -> str:
    return "; ".join(f"{name}: {_range(axis.present())}" for name, axis in axes.items()) or "no axes"


def _range(values: list[Any]) -> str:
    """Render coordinates for a message: runs of integers by their ends."""
    whole = len(values) > 2 and all(type(one) is int for one in values)
    if whole and values[-1] - values[0] + 1 == len(values):
        return f"{values[0]} to {values[-1]}"
    return listed(values) or "none"
