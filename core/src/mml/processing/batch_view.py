"""`BatchView`: which rows a batch consists of, per role, before any value is read."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

DEFAULT_ROLE = "default"
MASKED = -1


class BatchView:
    """Row numbers per role; ``-1`` is a masked row.

    Parameters
    ----------
    rows : dict of str to numpy.ndarray
        Role → absolute row numbers, int64, all of shape ``(n,)``.

    Examples
    --------
    >>> BatchView({"default": np.array([4, -1, 2])}).n_live
    2
    """

    __slots__ = ("rows",)

    def __init__(self, rows: dict[str, np.ndarray]) -> None:
        self.rows = rows

    @classmethod
    def masked(cls, n_rows: int, *, roles: Iterable[str] = (DEFAULT_ROLE,)) -> BatchView:
        """Return a view whose rows are all masked."""
        return cls({role: np.full(n_rows, MASKED, dtype=np.int64) for role in roles})

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, in the sampler's order."""
        return tuple(self.rows)

    @property
    def n_rows(self) -> int:
        """The number of rows, masked ones included."""
        return len(next(iter(self.rows.values())))

    @property
    def mask(self) -> np.ndarray:
        """Which rows are live in every role, bool ``(n,)``."""
        live = np.ones(self.n_rows, dtype=bool)
        for rows in self.rows.values():
            live &= rows >= 0
        return live

    @property
    def n_live(self) -> int:
        """The number of rows that are live in every role."""
        return int(self.mask.sum())

    def __len__(self) -> int:
        return self.n_rows

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BatchView) or self.roles != other.roles:
            return False
        return all(np.array_equal(rows, other.rows[role]) for role, rows in self.rows.items())

    __hash__ = None  # type: ignore[assignment]  # equality is by content, and nothing needs it as a key

    def __repr__(self) -> str:
        return f"BatchView({self.n_rows} rows, {self.n_live} live, roles {list(self.rows)})"
