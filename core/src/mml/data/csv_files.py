"""CSV files: types inferred from all rows, and a cell that does not fit named with its line.

An empty cell, NA, N/A, null and NULL are missing values; NaN and inf are numbers. A quoted empty cell is an
empty text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.columns_given import refuse_repeated, require_known
from mml.data.csv_lines import CsvFile, no_utf8
from mml.data.table_files import FilePath, existing, reading
from mml.errors import DataError


def read_csv(
    path: FilePath, names: Iterable[str], *, numeric: Iterable[str], dtypes: Mapping[str, Any], delimiter: str
) -> pa.Table:
    """Read columns of a CSV file with one line of names.

    Parameters
    ----------
    path : path
        Plain or compressed, as its suffix says (``.csv.gz``).
    names : iterable of str
        The columns; others are not converted.
    numeric : iterable of str
        Which of them hold numbers if their first value is one: a later text is then an error.
    dtypes : mapping of str to dtype
        The types of columns that are not to be inferred.
    delimiter : str
        What separates cells.
    """
    where = existing(path)
    wanted = list(dict.fromkeys(names))
    with reading(where, "CSV"):
        try:
            file = CsvFile.of(where, delimiter)
            refuse_repeated(file.header)
            require_known([*wanted, *dtypes], file.header)
            types = {key: _arrow_type(key, dtype) for key, dtype in dtypes.items()}
            table = _with_large_integers(file, _read(file, wanted, types), inferred=set(wanted) - set(types))
        except UnicodeDecodeError as cause:
            raise no_utf8() from cause
        for key in numeric:
            if key not in dtypes and pa.types.is_string(table.schema.field(key).type):
                _refuse_text_among_numbers(file, key, table.column(key))
        return table


def _read(file: CsvFile, wanted: list[str], types: Mapping[str, pa.DataType]) -> pa.Table:
    halves = [key for key in wanted if types.get(key) == pa.float16()]
    # Arrow's reader makes no half floats; rounding a double once more gives what rounding the text gives.
    asked = {key: pa.float64() if key in halves else types.get(key) for key in wanted}
    try:
        table = file.read(asked)
    except pa.ArrowInvalid as cause:
        if "UTF8" in str(cause):
            raise no_utf8() from cause
        _name_the_cell(file, {key: kind for key, kind in asked.items() if kind is not None})
        table = file.read(asked, one_thread=True)
    for field in table.schema:
        # What Arrow infers for text in another encoding.
        if pa.types.is_binary(field.type) and field.name not in types:
            raise no_utf8(field.name)
    for key in halves:
        table = table.set_column(wanted.index(key), key, _halves(file, key, table.column(key)))
    return table


def _arrow_type(key: str, dtype: Any) -> pa.DataType:
    if isinstance(dtype, pa.DataType):
        return dtype
    try:
        if dtype in ("string", str):
            return pa.string()
        return pa.from_numpy_dtype(np.dtype(dtype))
    except (TypeError, pa.ArrowException) as cause:
        raise DataError(
            f"There is no type {dtype!r} for {key!r}.", expected="a NumPy dtype, 'string', or an Arrow type"
        ) from cause


def _halves(file: CsvFile, key: str, column: pa.ChunkedArray) -> pa.Array:
    doubles = column.to_numpy()
    with np.errstate(over="ignore"):
        halves = doubles.astype(np.float16)
    too_large = np.isinf(halves) & np.isfinite(doubles)
    if too_large.any():
        row = int(np.argmax(too_large))
        cell = file.read({key: pa.string()}).column(key)[row].as_py()
        raise _misfit(file, key, cell, row, expected="float16, which ends at 65504")
    return pa.array(halves, mask=column.is_null().to_numpy())


def _with_large_integers(file: CsvFile, table: pa.Table, *, inferred: set[str]) -> pa.Table:
    """Return a table in which columns of integers that Arrow took for floats are uint64."""
    floats = [
        field.name for field in table.schema if field.name in inferred and pa.types.is_float64(field.type)
    ]
    large = [key for key in floats if (np.abs(table.column(key).to_numpy()) >= 2.0**63).any()]
    if not large:
        return table
    import pyarrow.compute as pc

    texts = file.read(dict.fromkeys(large, pa.string()))
    for key in large:
        cells = pc.utf8_trim_whitespace(texts.column(key))
        if not pc.all(pc.match_substring_regex(cells, r"^[-+]?[0-9]+$")).as_py():
            continue
        row = _first_misfit(cells, pa.uint64())
        if row is not None:
            if cells[row].as_py().startswith("-"):
                # Below zero are some, so those beyond int64 are the ones that no type holds beside them.
                row = _first_misfit(cells, pa.int64()) or 0
            raise _misfit(file, key, cells[row].as_py(), row, expected="integers of 64 bits", other="float64")
        table = table.set_column(table.schema.get_field_index(key), key, cells.cast(pa.uint64()))
    return table


def _name_the_cell(file: CsvFile, types: Mapping[str, pa.DataType]) -> None:
    """Raise DataError for the first cell that is not of the type asked for."""
    if not types:
        return
    try:
        table = file.read(dict.fromkeys(types, pa.string()))
    except pa.ArrowInvalid:
        return  # the lines themselves are broken; the caller's reader says which
    for key, kind in types.items():
        row = _first_misfit(table.column(key), kind)
        if row is not None:
            raise _misfit(file, key, table.column(key)[row].as_py(), row, expected=str(kind))


def _refuse_text_among_numbers(file: CsvFile, key: str, column: pa.ChunkedArray) -> None:
    filled = column.drop_null()
    if len(filled) and _first_misfit(filled.slice(0, 1), pa.float64()) is None:
        row = _first_misfit(column, pa.float64())
        if row is not None:
            raise _misfit(file, key, column[row].as_py(), row, expected="a number, as in the rows before")


def _first_misfit(column: pa.ChunkedArray, kind: pa.DataType) -> int | None:
    """Return the first row that does not convert, found by halving."""
    if _converts(column, kind):
        return None
    start, stop = 0, len(column)
    while stop - start > 1:
        middle = (start + stop) // 2
        if _converts(column.slice(start, middle - start), kind):
            start = middle
        else:
            stop = middle
    return start


def _converts(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _misfit(
    file: CsvFile, key: str, value: str, row: int, *, expected: str, other: str = "string"
) -> DataError:
    return DataError(
        f"{key!r} holds {value!r} in row {row}.",
        where={"column": key, "row": row, "line": file.line_of(row)},
        expected=expected,
        found=repr(value),
        hint=f"Mend the cell, or read the column as it is: dtypes={{{key!r}: {other!r}}}.",
    )
