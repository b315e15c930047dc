"""Strings seen as the numbers under which Arrow stores them.

Grouping and filtering by a column of strings look at its categories once, not at each sample: no Python
object is made per row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import DecodedColumn
from mml.data.rows import Rows
from mml.data.source import ColumnSource


@dataclass(frozen=True, slots=True)
class CodedStrings:
    """Strings as codes.

    Parameters
    ----------
    codes : numpy.ndarray
        Integers of shape ``(n,)``.
    categories : numpy.ndarray
        What the codes stand for: objects of shape ``(k,)``; the last is None, for missing values. Two
        categories may be equal.
    """

    codes: np.ndarray
    categories: np.ndarray

    @property
    def missing(self) -> int:
        """The code of a missing value."""
        return len(self.categories) - 1

    def where(self, allowed: np.ndarray) -> np.ndarray:
        """Return which rows hold a category that is allowed, bool ``(n,)``, given bool ``(k,)``."""
        return allowed.take(self.codes)


def coded_strings(source: ColumnSource, column: str, rows: Rows) -> CodedStrings | None:
    """Return rows of a column of strings, or None where it holds something else.

    Parameters
    ----------
    source : ColumnSource
    column : str
        Full name.
    rows : slice or numpy.ndarray
        Absolute row numbers.
    """
    if source.chain(column):
        return None
    decoded = source.collection.column(column)
    if not isinstance(decoded, DecodedColumn) or decoded.categories is None:
        return None
    codes = decoded.values[rows] if isinstance(rows, slice) else decoded.values.take(rows)
    return CodedStrings(codes, decoded.categories)


def plain_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a stored column of strings without its dictionary, as Arrow's functions and frames take it."""
    decoded = [chunk.dictionary_decode() for chunk in column.chunks]
    return pa.chunked_array(decoded, type=column.type.value_type)
