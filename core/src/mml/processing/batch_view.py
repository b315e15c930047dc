"""`BatchView`: which rows a batch consists of, per stream and role, before any value is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np

from mml.errors import SamplerError, did_you_mean, listed

DEFAULT_ROLE = "default"
DEFAULT_STREAM = "default"
MASKED = -1

Streams: TypeAlias = Mapping[str, Mapping[str, np.ndarray]]
Value = TypeVar("Value")


class BatchView:
    """Row numbers per role; ``-1`` is a masked row.

    A view has one stream unless its sampler draws from several FeatureSets; each of those is a stream.

    Parameters
    ----------
    rows : mapping of str to numpy.ndarray
        Role → absolute row numbers, integers, all of shape ``(n,)``; at least one role.

    Raises
    ------
    SamplerError
        If they are something else.

    Examples
    --------
    >>> BatchView({"default": np.array([4, -1, 2])}).n_live
    2
    """

    __slots__ = ("_streams",)

    def __init__(self, rows: Mapping[str, np.ndarray]) -> None:
        self._streams: Streams = checked_streams({DEFAULT_STREAM: rows})

    @classmethod
    def of_streams(cls, streams: Streams) -> Self:
        """Return a view of several streams: stream → role → rows, all of shape ``(n,)``."""
        return cls.of_checked(checked_streams(streams))

    @classmethod
    def of_checked(cls, streams: Streams) -> Self:
        """Return a view of streams whose rows are known to be right: it is made for every batch."""
        made = cls.__new__(cls)
        made._streams = streams
        return made

    @classmethod
    def masked(
        cls,
        n_rows: int,
        *,
        roles: Iterable[str] = (DEFAULT_ROLE,),
        streams: Iterable[str] = (DEFAULT_STREAM,),
    ) -> Self:
        """Return a view whose rows are all masked."""
        named = tuple(roles)
        return cls.of_streams(
            {stream: {role: np.full(n_rows, MASKED, dtype=np.int64) for role in named} for stream in streams}
        )

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams, in the sampler's order; ``("default",)`` where there is one without a name."""
        return tuple(self._streams)

    def stream(self, name: str | None = None) -> BatchView:
        """Return one stream as a view of its own.

        Parameters
        ----------
        name : str, optional
            May be left out, or ``"default"``, where there is only one.

        Raises
        ------
        SamplerError
            If there is no such stream, or several and none is named.
        """
        if self.streams == (DEFAULT_STREAM,) and name in (None, DEFAULT_STREAM):
            return self
        return BatchView.of_checked({DEFAULT_STREAM: one_stream(self._streams, name, what="batch view")})

    @property
    def rows(self) -> Mapping[str, np.ndarray]:
        """Role → absolute row numbers of the only stream, int64 ``(n,)``."""
        if len(self._streams) == 1:
            # Asked for every batch of an epoch.
            return next(iter(self._streams.values()))
        return one_stream(self._streams, None, what="batch view")

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, in the sampler's order."""
        return tuple(dict.fromkeys(role for rows in self._streams.values() for role in rows))

    @property
    def n_rows(self) -> int:
        """The number of rows, masked ones included; the same in every role and stream."""
        return len(next(iter(next(iter(self._streams.values())).values())))

    @property
    def mask(self) -> np.ndarray:
        """Which rows are live in every role and stream, bool ``(n,)``."""
        live = np.ones(self.n_rows, dtype=bool)
        for roles in self._streams.values():
            for rows in roles.values():
                live &= rows >= 0
        return live

    @property
    def n_live(self) -> int:
        """The number of rows that are live in every role and stream."""
        return int(self.mask.sum())

    def masked_like(self) -> BatchView:
        """Return a view of the same roles, streams and size whose rows are all masked."""
        return BatchView.of_checked(
            {
                stream: {role: np.full(len(rows), MASKED, dtype=np.int64) for role, rows in roles.items()}
                for stream, roles in self._streams.items()
            }
        )

    def __len__(self) -> int:
        return self.n_rows

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BatchView) or self.streams != other.streams:
            return False
        for mine, theirs in zip(self._streams.values(), other._streams.values(), strict=True):
            if tuple(mine) != tuple(theirs):
                return False
            if not all(np.array_equal(rows, theirs[role]) for role, rows in mine.items()):
                return False
        return True

    __hash__ = None  # type: ignore[assignment]  # equality is by content, and nothing needs it as a key

    def __repr__(self) -> str:
        streams = "" if self.streams == (DEFAULT_STREAM,) else f", streams {list(self._streams)}"
        return f"BatchView({self.n_rows} rows, {self.n_live} live, roles {list(self.roles)}{streams})"


def checked_streams(streams: Any) -> dict[str, dict[str, np.ndarray]]:
    """Return stream → role → rows as int64, if there is at least one of each and all are as many.

    Raises
    ------
    SamplerError
        If they are something else.
    """
    require_named(streams, "Rows of a batch are given by stream.")
    made: dict[str, dict[str, np.ndarray]] = {}
    for stream, roles in streams.items():
        require_named(roles, "Rows of a batch are given by role.")
        made[stream] = {role: _row_numbers(role, rows) for role, rows in roles.items()}
    require_equal_lengths(made)
    return made


def require_equal_lengths(streams: Mapping[str, Mapping[str, Sized]]) -> None:
    """Refuse roles or streams of different lengths.

    Raises
    ------
    SamplerError
        If there are any.
    """
    if len({len(rows) for roles in streams.values() for rows in roles.values()}) > 1:
        lengths = [
            f"{len(rows)} in {role!r}"
            if stream == DEFAULT_STREAM
            else f"{len(rows)} in {role!r} of {stream!r}"
            for stream, roles in streams.items()
            for role, rows in roles.items()
        ]
        raise SamplerError(
            "Rows of a batch belong together, so there are as many in every role and stream.",
            found=", ".join(lengths),
        )


def require_named(given: Any, what: str) -> None:
    """Refuse what is no mapping from names to at least one thing.

    Raises
    ------
    SamplerError
        With the sentence that says what is given by name.
    """
    if not isinstance(given, Mapping) or not given or not all(isinstance(name, str) for name in given):
        raise SamplerError(
            what, expected="a mapping with at least one name", found=f"{type(given).__name__}: {given!r}"[:80]
        )


def _row_numbers(role: str, rows: Any) -> np.ndarray:
    try:
        array = np.asarray(rows)
    except (TypeError, ValueError):
        array = np.empty((), dtype=object)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise SamplerError(
            "Rows of a batch are numbered by a flat array of integers.",
            where={"role": role},
            found=f"{array.dtype} of shape {array.shape}: {rows!r}"[:80],
        )
    return array.astype(np.int64, copy=False)


def one_stream(streams: Mapping[str, Value], name: str | None, *, what: str) -> Value:
    """Return what stands under the name of a stream; under the only one where none is named.

    Raises
    ------
    SamplerError
        If there is no such stream, or several and none is named.
    """
    if name in streams:
        return streams[str(name)]
    if len(streams) == 1 and name in (None, DEFAULT_STREAM):
        return next(iter(streams.values()))
    if name is None:
        raise SamplerError(
            f"The {what} has several streams, and none is named.",
            expected=f"one of {listed(streams)}",
            hint=f"Name one: stream({next(iter(streams), '')!r}).",
        )
    raise SamplerError(
        f"The {what} has no stream {name!r}.", expected=listed(streams), hint=did_you_mean(str(name), streams)
    )
