"""What is wrong with a column that comes in: errors with the key, the row and what was expected."""

from __future__ import annotations

from mml.data.schema import TAGS, ColumnName
from mml.errors import DataError

_NUMERIC = "booleans, integers, floats of 16 to 64 bits"
SUPPORTED = f"{_NUMERIC}, strings, timestamps, durations, and tensors of numbers with one shape for all"


def null_error(name: ColumnName, row: int) -> DataError:
    """Return the error of a missing value."""
    allowed = " (tags may have some)" if name.domain != TAGS else ", or a column with a type"
    return DataError(
        f"{name.key!r} has a missing value in row {row}.",
        where={"column": str(name), "row": row},
        expected=f"no nulls in {name.domain}{allowed}",
        hint="Drop or fill the row, or use NaN for a float that is not known.",
    )


def unsupported(name: ColumnName, found: str) -> DataError:
    """Return the error of a type that MML does not store."""
    return DataError(
        f"MML does not store the type of {name.key!r}.",
        where={"column": str(name), "row": 0},
        expected=SUPPORTED,
        found=found,
    )


def ragged(
    name: ColumnName, row: int, expected: tuple[int, ...] | None, found: tuple[int, ...] | None
) -> DataError:
    """Return the error of samples that differ in shape; None is a sample without one."""
    return DataError(
        f"The samples of {name.key!r} differ in shape: row {row} is the first that does.",
        where={"column": str(name), "row": row},
        expected="one rectangular shape for all samples" if expected is None else f"shape {expected}",
        found="a ragged sample" if found is None else f"shape {found}",
        hint="Pad or cut the samples to one length.",
    )
