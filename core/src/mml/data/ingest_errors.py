"""What is wrong with values that come in: errors with the key, the row and what was expected."""

from __future__ import annotations

from mml.data.schema import TAGS, ColumnName
from mml.errors import DataError


def null_error(name: ColumnName, row: int) -> DataError:
    """Return the error of a missing value where none may be: in features, in targets, in any tensor."""
    allowed = "(tags may have some)" if name.domain != TAGS else "that are tensors (others may have some)"
    return DataError(
        f"{name.key!r} has a missing value in row {row}.",
        where={"column": str(name), "row": row},
        expected=f"no nulls in {name.domain} {allowed}",
        hint="Drop or fill the row, or use NaN for a float that is not known.",
    )


def nothing_known(name: ColumnName) -> DataError:
    """Return the error of a column that has nothing but missing values, and so no type."""
    if name.domain != TAGS:
        return null_error(name, 0)
    return DataError(
        f"{name.key!r} holds nothing but missing values.",
        where={"column": str(name), "row": 0},
        expected="at least one value, which says what type the column has",
        hint="Leave it out, or hand over an Arrow array that has a type.",
    )


def no_samples(name: ColumnName) -> DataError:
    """Return the error of a column without rows."""
    return DataError(f"{name.key!r} holds no samples.", where={"column": str(name)})


def no_elements(name: ColumnName, found: str | None = None) -> DataError:
    """Return the error of samples with an axis of length 0."""
    return DataError(
        f"The samples of {name.key!r} hold no elements.", where={"column": str(name)}, found=found
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


def mixed(name: ColumnName, row: int, expected: str, found: str, *, hint: str | None = None) -> DataError:
    """Return the error of a value of another kind than those before it."""
    return DataError(
        f"{name.key!r} mixes types that no column holds together.",
        where={"column": str(name), "row": row},
        expected=f"{expected} in every row",
        found=found,
        hint=hint,
    )


def unreadable(name: ColumnName, cause: Exception, found: str) -> DataError:
    """Return the error of values that their own library does not hand over."""
    first_line = str(cause).partition("\n")[0] or type(cause).__name__
    return DataError(
        f"The values of {name.key!r} cannot be read: {first_line}",
        where={"column": str(name)},
        found=found,
        hint="Hand over a NumPy array of them.",
    )
