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

_INTEGERS = (int, np.integer)
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
    per_sample = max(1, stacked[0].size)
    if all(issubclass(kind, _INTEGERS) for kind in set(map(type, flat))):
        return np.array(unsigned(flat, name, per_sample), dtype=np.uint64).reshape(stacked.shape)
    exact_floats(flat, name, per_sample)
    return stacked


def are_mixed(kinds: set[type]) -> bool:
    """Return whether these are the types of integers and of floats, and of nothing else."""
    integers = {kind for kind in kinds if issubclass(kind, _INTEGERS) and kind is not bool}
    floats = {kind for kind in kinds if issubclass(kind, (float, np.floating))}
    return bool(integers and floats) and integers | floats == kinds


def exact_floats(numbers: list[Any], name: ColumnName, per_sample: int = 1) -> list[float | None]:
    """Return integers and floats, None for missing ones, as floats.

    Raises
    ------
    DataError
        For the first integer that float64 does not hold.
    """
    for place, one in enumerate(numbers):
        if isinstance(one, _INTEGERS) and not _is_exact(int(one)):
            raise mixed(
                name,
                place // per_sample,
                "floats, or integers that float64 holds,",
                f"{_shown(int(one))} among floats",
                hint="Hand over integers only, or make floats of them yourself.",
            )
    return [None if one is None else float(one) for one in numbers]


def unsigned(integers: list[Any], name: ColumnName, per_sample: int = 1) -> list[int | None]:
    """Return integers, None for missing ones, all of which uint64 holds.

    Raises
    ------
    DataError
        For the first that neither int64 nor, where none is below zero, uint64 holds.
    """
    plain = [None if one is None else int(one) for one in integers]
    present = [(row, one) for row, one in enumerate(plain) if one is not None]
    if all(0 <= one < 2**64 for _, one in present):
        return plain
    row, beyond = next((row, one) for row, one in present if not -(2**63) <= one < 2**63)
    raise unsupported(
        name,
        _shown(beyond),
        row=row // per_sample,
        hint="Integers have 64 bits, for values below zero or beyond 2**63 but not both; "
        "larger ones go in as floats, or as strings.",
    )


def _shown(integer: int) -> str:
    # Python itself refuses to write down integers of thousands of digits.
    return f"the integer {integer}" if integer.bit_length() < 200 else "an integer of many digits"


def _is_exact(integer: int) -> bool:
    try:
        return int(float(integer)) == integer
    except OverflowError:
        return False


def _may_be_rounded(stacked: np.ndarray, items: list[Any], kinds: set[type]) -> bool:
    if all(issubclass(kind, (float, np.floating)) for kind in kinds):
        return False
    if all(issubclass(kind, np.ndarray) for kind in kinds) and all(one.dtype.kind == "f" for one in items):
        return False
    return bool((np.abs(stacked) >= _EXACT).any())
