"""CSV files: types inferred from all rows, and a cell that does not fit named with its line.

An empty cell, NA, N/A, null and NULL are missing values; NaN and inf are numbers. A quoted empty cell is an
empty text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.columns_given import refuse_repeated, require_known
from mml.data.table_files import FilePath, existing, reading
from mml.errors import DataError

_MISSING = ["", "NA", "N/A", "null", "NULL"]


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
    from pyarrow import csv

    file = existing(path)
    wanted = list(dict.fromkeys(names))
    with reading(file, "CSV"):
        if len(delimiter) != 1:
            raise DataError("Cells are separated by one character.", found=repr(delimiter))
        parse = csv.ParseOptions(delimiter=delimiter)
        header = _names(file, delimiter)
        refuse_repeated(header)
        require_known([*wanted, *dtypes], header)
        convert = _conversion(wanted, {key: _arrow_type(key, dtype) for key, dtype in dtypes.items()})
        try:
            table = csv.read_csv(file, parse_options=parse, convert_options=convert)
        except pa.ArrowInvalid:
            _name_the_cell(file, parse, dtypes)
            # One thread knows the numbers of the lines that it reads, and names them in its error.
            one_thread = csv.ReadOptions(use_threads=False)
            table = csv.read_csv(file, read_options=one_thread, parse_options=parse, convert_options=convert)
        for key in numeric:
            if key not in dtypes and pa.types.is_string(table.schema.field(key).type):
                _refuse_text_among_numbers(key, table.column(key))
        return table


def _names(file: Path, delimiter: str) -> list[str]:
    """Return the names in the first line; broken lines below it are for the reader of the values."""
    from pyarrow import csv

    parse = csv.ParseOptions(delimiter=delimiter, invalid_row_handler=lambda _: "skip")
    with csv.open_csv(file, parse_options=parse) as start:
        return list(start.schema.names)


def _conversion(names: list[str], types: Mapping[str, pa.DataType]) -> Any:
    from pyarrow import csv

    return csv.ConvertOptions(
        include_columns=names,
        column_types=dict(types),
        null_values=_MISSING,
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )


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


def _name_the_cell(file: Path, parse: Any, dtypes: Mapping[str, Any]) -> None:
    """Raise DataError for the first cell that is not of the type asked for."""
    from pyarrow import csv

    if not dtypes:
        return
    as_text = _conversion(list(dtypes), dict.fromkeys(dtypes, pa.string()))
    try:
        table = csv.read_csv(file, parse_options=parse, convert_options=as_text)
    except pa.ArrowInvalid:
        return  # the lines themselves are broken; the caller's reader says which
    for key, dtype in dtypes.items():
        kind = _arrow_type(key, dtype)
        row = _first_misfit(table.column(key), kind)
        if row is not None:
            raise _misfit(key, table.column(key)[row].as_py(), row, expected=str(kind))


def _refuse_text_among_numbers(key: str, column: pa.ChunkedArray) -> None:
    filled = column.drop_null()
    if len(filled) and _first_misfit(filled.slice(0, 1), pa.float64()) is None:
        row = _first_misfit(column, pa.float64())
        if row is not None:
            raise _misfit(key, column[row].as_py(), row, expected="a number, as in the rows before")


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


def _misfit(key: str, value: str, row: int, *, expected: str) -> DataError:
    return DataError(
        f"{key!r} holds {value!r} in row {row}.",
        # Row 0 stands in line 2, below the names; a quoted cell with line breaks moves what follows.
        where={"column": key, "row": row, "line": row + 2},
        expected=expected,
        found=repr(value),
        hint=f"Mend the cell, or read the column as it is: dtypes={{{key!r}: 'string'}}.",
    )
