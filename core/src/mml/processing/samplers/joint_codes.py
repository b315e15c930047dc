"""Codes of two columns that agree where their values are equal, exactly, whatever their dtypes.

NumPy compares whole numbers of different kinds through floats, which cannot tell large ones apart, and wraps
times that another unit cannot hold. Here every value becomes 64 bits of its own kind before it is compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mml.errors import SamplerError

_COMPARABLE = {**dict.fromkeys("iuf", "numbers"), "b": "truth values", "M": "times", "m": "durations"}
_NANOSECONDS = {"D": 86_400 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# What the bits of a number are: a whole number that int64 holds, one that only uint64 holds, or a float.
_SIGNED, _UNSIGNED, _FLOATING = 0, 1, 2


def joint_codes(column: str, values: tuple[Any, Any], labels: tuple[str, str]) -> np.ndarray:
    """Return codes of the values of two columns, one behind the other: int64 ``(n + m,)``.

    Parameters
    ----------
    column : str
        What both are called, for messages.
    values : tuple of numpy.ndarray or pyarrow.Array
        Numbers, truth values, times and durations as NumPy arrays, strings as Arrow arrays; none missing.
    labels : tuple of str
        Where they are from, for messages.

    Raises
    ------
    SamplerError
        If they are of different kinds, such as strings and numbers.
    """
    kinds = [_COMPARABLE.get(one.dtype.kind) if isinstance(one, np.ndarray) else "strings" for one in values]
    if kinds[0] != kinds[1] or None in kinds:
        raise SamplerError(
            f"{column!r} cannot be compared.",
            found=" and ".join(
                f"{kind or 'others'} in {label}" for kind, label in zip(kinds, labels, strict=True)
            ),
        )
    first, second = values
    if not isinstance(first, np.ndarray):
        import pyarrow.compute as pc  # here: it takes longer to import than all of MML

        encoded = pc.dictionary_encode(pa.chunked_array([first, second])).unify_dictionaries()
        return np.concatenate([np.asarray(chunk.indices, dtype=np.int64) for chunk in encoded.chunks])
    if first.dtype == second.dtype or (first.dtype.kind == second.dtype.kind and kinds[0] == "numbers"):
        return _numbered(np.concatenate([first, second]))
    parts = [_number_bits(one) for one in values] if kinds[0] == "numbers" else _time_bits(first, second)
    bits, of_kind = (np.concatenate(one) for one in zip(*parts, strict=True))
    return _numbered(_numbered(bits) * 3 + of_kind)


def _numbered(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _number_bits(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return 64 bits of each number, and what they are: equal in both only where the numbers are equal."""
    if values.dtype.kind == "i":
        return values.astype(np.int64), np.full(len(values), _SIGNED)
    if values.dtype.kind == "u":
        wide = values.astype(np.uint64)
        return wide.view(np.int64), np.where(wide < np.uint64(1 << 63), _SIGNED, _UNSIGNED)
    values = values.astype(np.float64)
    whole = values == np.floor(values)
    signed = whole & (values >= -(2.0**63)) & (values < 2.0**63)
    unsigned = whole & (values >= 2.0**63) & (values < 2.0**64)
    bits = values.view(np.int64).copy()
    bits[signed] = values[signed].astype(np.int64)
    bits[unsigned] = values[unsigned].astype(np.uint64).view(np.int64)
    return bits, np.select([signed, unsigned], [_SIGNED, _UNSIGNED], _FLOATING)


def _time_bits(*values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each time in the finer unit of the two; beside it, whether it does not fit in there."""
    units = [_NANOSECONDS[np.datetime_data(one.dtype)[0]] for one in values]
    parts = []
    for one, unit in zip(values, units, strict=True):
        factor, counted = unit // min(units), one.view(np.int64)
        beyond = np.abs(counted) > np.iinfo(np.int64).max // factor
        parts.append((np.where(beyond, counted, np.where(beyond, 0, counted) * factor), beyond.astype(int)))
    return parts
