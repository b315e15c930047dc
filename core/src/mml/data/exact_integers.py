"""Integers that NumPy would silently turn into floats: kept as uint64 where that holds them, else refused.

An integer beyond 2**63 beside a smaller one, and any beside a float, becomes a float64, which rounds integers
beyond 2**53. Two identifiers may then be one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mml.data.ingest_errors import mixed
from mml.data.schema import ColumnName
from mml.data.unsupported_types import unsupported

_EXACT = 2.0**53  # float64 holds every integer up to here


def exact_numbers(stacked: np.ndarray, items: list[Any], kinds: set[type], name: ColumnName) -> np.ndarray:
    """Return what NumPy made of items as floats ``(n, *shape)``, or integers where it rounded such.

    Raises
    ------
    DataError
        For an integer that stands among floats and would be rounded, and for ranges that no type holds.
    """
    if not _may_be_rounded(stacked, items, kinds):
        return stacked
    flat = np.asarray(items, dtype=object).reshape(-1).tolist()
    integers = {place: int(one) for place, one in enumerate(flat) if isinstance(one, (int, np.integer))}
    per_sample = max(1, stacked[0].size)
    if len(integers) == len(flat):
        return np.array(unsigned(flat, name, per_sample), dtype=np.uint64).reshape(stacked.shape)
    for place, one in integers.items():
        if int(float(one)) != one:
            raise mixed(
                name,
                place // per_sample,
                "floats, or integers that float64 holds,",
                f"{one} among floats",
                hint="Hand over integers only, or make floats of them yourself.",
            )
    return stacked


def unsigned(integers: list[Any], name: ColumnName, per_sample: int = 1) -> list[int | None]:
    """Return integers, None for missing ones, all of which uint64 holds.

    Raises
    ------
    DataError
        For the first that neither int64 nor, where none is below zero, uint64 holds.
    """
    plain = [None if one is None else int(one) for one in integers]
    present = [one for one in plain if one is not None]
    if min(present) >= 0 and max(present) < 2**64:
        return plain
    row = next(row for row, one in enumerate(plain) if one is not None and not -(2**63) <= one < 2**63)
    raise unsupported(
        name,
        f"the integer {plain[row]}"[:80],
        row=row // per_sample,
        hint="Integers have 64 bits, for values below zero or beyond 2**63 but not both; "
        "larger ones go in as floats, or as strings.",
    )


def _may_be_rounded(stacked: np.ndarray, items: list[Any], kinds: set[type]) -> bool:
    if all(issubclass(kind, (float, np.floating)) for kind in kinds):
        return False
    if all(issubclass(kind, np.ndarray) for kind in kinds) and all(one.dtype.kind == "f" for one in items):
        return False
    return bool((np.abs(stacked) >= _EXACT).any())
