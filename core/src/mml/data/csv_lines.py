"""A CSV file as lines: its names, which row stands in which line, its encoding, and lines of any length.

What the cells mean, and what is wrong with them, is the business of `csv_files`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from mml.errors import DataError

T = TypeVar("T")

_MISSING = ["", "NA", "N/A", "null", "NULL"]
# A line has to fit into a block. The first size is Arrow's own; the others are tried where it is too small.
_BLOCK_BYTES = (1 << 20, 1 << 24, 1 << 28)
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class CsvFile:
    """An existing file with one line of names.

    ``header`` are the names; ``skipped`` is the number of empty lines above them. Where there is one column,
    an empty line is an empty cell; elsewhere it is nothing.
    """

    path: Path
    delimiter: str
    header: tuple[str, ...] = ()
    skipped: int = 0

    @classmethod
    def of(cls, path: Path, delimiter: str) -> CsvFile:
        """Look into a file.

        Raises
        ------
        DataError
            If the delimiter is none, or the file not in UTF-8.
        """
        if (
            not isinstance(delimiter, str)
            or len(delimiter) != 1
            or not delimiter.isascii()
            or delimiter in "\r\n"
        ):
            raise DataError(
                "Cells are separated by one ASCII character.",
                expected="',', ';', '\\t', ...",
                found=repr(delimiter),
            )
        file = cls(path, delimiter)
        with file._bytes() as stream:
            if stream.read(2) in _UTF16_MARKS:
                raise no_utf8()
        file = replace(file, header=file._names())
        # Empty lines count from here on, those above the names too.
        while len(file.header) == 1 and file._names() != file.header:
            file = replace(file, skipped=file.skipped + 1)
        return file

    def read(self, types: Mapping[str, pa.DataType | None], *, one_thread: bool = False) -> pa.Table:
        """Return columns; None infers their type from all of their rows.

        Parameters
        ----------
        types : mapping of str to pyarrow.DataType or None
        one_thread : bool
            Whether errors shall name their line, which only a single thread knows.
        """
        from pyarrow import csv

        convert = csv.ConvertOptions(
            include_columns=list(types),
            column_types={key: kind for key, kind in types.items() if kind is not None},
            null_values=_MISSING,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        )

        def read(block_bytes: int) -> pa.Table:
            options = self._options(block_bytes, use_threads=not one_thread)
            return csv.read_csv(
                self.path, read_options=options, parse_options=self._parsing(), convert_options=convert
            )

        return _in_blocks(read)

    def line_of(self, row: int) -> int | None:
        """Return the line, counted from 1, in which a row of values begins; None where nobody can tell."""
        from csv import Error, reader

        with self._bytes() as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
            records = reader(text, delimiter=self.delimiter)
            seen, begins = -1, 1
            try:
                for number, record in enumerate(records):
                    if record or (self._keeps_empty_lines and number >= self.skipped):
                        if seen == row:
                            return begins
                        seen += 1
                    begins = records.line_num + 1
            except Error:  # a cell longer than Python's reader takes
                return None
        return None

    @property
    def _keeps_empty_lines(self) -> bool:
        return len(self.header) == 1

    def _names(self) -> tuple[str, ...]:
        """Return the names in the first line; broken lines below it are for the reader of the values."""
        from pyarrow import csv

        parsing = self._parsing(invalid_row_handler=lambda _: "skip")

        def names(block_bytes: int) -> tuple[str, ...]:
            options = self._options(block_bytes)
            with csv.open_csv(self.path, read_options=options, parse_options=parsing) as start:
                return tuple(start.schema.names)

        return _in_blocks(names)

    def _options(self, block_bytes: int, **options: Any) -> Any:
        from pyarrow import csv

        return csv.ReadOptions(block_size=block_bytes, skip_rows=self.skipped, **options)

    def _parsing(self, **options: Any) -> Any:
        from pyarrow import csv

        return csv.ParseOptions(
            delimiter=self.delimiter, ignore_empty_lines=not self._keeps_empty_lines, **options
        )

    def _bytes(self) -> Any:
        return pa.input_stream(str(self.path), compression="detect")


def no_utf8(column: str | None = None) -> DataError:
    """Return the error of a file in another encoding."""
    return DataError(
        "The file is not written in UTF-8.",
        where=None if column is None else {"column": column},
        hint="Write it again: path.write_text(path.read_text(encoding='latin-1'), encoding='utf-8'), "
        "with the encoding that it has.",
    )


def _in_blocks(read: Callable[[int], T]) -> T:
    for block_bytes in _BLOCK_BYTES[:-1]:
        try:
            return read(block_bytes)
        except pa.ArrowInvalid as cause:
            if "block" not in str(cause):
                raise
    return read(_BLOCK_BYTES[-1])
