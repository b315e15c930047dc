"""What a FeatureSet or a view holds, as text for a terminal.

Values are read in blocks, so that a mapped file passes through memory and does not stay there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mml.data.access import Window
from mml.data.arrow_columns import DecodedColumn
from mml.data.records import ScalerRecord
from mml.data.rows import Rows, as_array, count
from mml.data.schema import RAW, ColumnSpec

_BLOCK_BYTES = 4 << 20
_SHOWN_COLUMNS = 60
_NAME_WIDTH = 48
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def summarize(
    title: str, window: Window, *, splits: Mapping[str, int], records: Sequence[ScalerRecord]
) -> str:
    """Return one line per column, split and transform.

    Parameters
    ----------
    title : str
        What is summarised.
    window : Window
        Its rows and columns.
    splits : mapping of str to int
        Name → number of samples.
    records : sequence of ScalerRecord
        The fitted transforms.
    """
    n_rows = count(window.rows)
    specs = list(window.schema)
    lines = [f"{title}: {describe_size(window)}"]
    rows = [("column", "type", "values")]
    rows += [
        (shortened(str(spec.name)), spec.describe(), _values(window, spec)) for spec in specs[:_SHOWN_COLUMNS]
    ]
    lines += _aligned(rows)
    rest = specs[_SHOWN_COLUMNS:]
    if rest:
        lines.append(f"  ... and {len(rest)} more columns{_bad_among(window, rest)}")
    lines += [
        f"  split {name!r}: {_amount(size, 'sample')} ({size / max(n_rows, 1):.1%})"
        for name, size in splits.items()
    ]
    return "\n".join(lines + [f"  transform {describe_record(record)}" for record in records])


def describe_size(window: Window) -> str:
    """Return the number of samples and columns, and what the stored columns take in memory or on disk."""
    collection = window.source.collection
    stored = [name for name in window.schema.names if name in collection.schema]
    size = collection.table.select(stored).nbytes
    share = size * count(window.rows) / max(window.source.n_rows, 1)
    return (
        f"{_amount(count(window.rows), 'sample')}, {_amount(len(window.schema), 'column')}, {_bytes(share)}"
    )


def describe_record(record: ScalerRecord) -> str:
    """Return one fitted transform in a line."""
    name = "unnamed scaler" if record.config is None else record.config["scaler"]
    keys = ", ".join(map(shortened, record.keys[:8]))
    keys += f" and {len(record.keys) - 8} more" if len(record.keys) > 8 else ""
    return f"{name} on {record.domain} {keys}, fitted on {shortened(record.fit_to_split or 'all samples')}"


def shortened(name: str) -> str:
    """Return a name that fits a column of text: its middle left out where it is too long, and none of the
    characters in it that a terminal obeys.
    """
    name = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name)
    if len(name) <= _NAME_WIDTH:
        return name
    kept = (_NAME_WIDTH - 3) // 2
    return f"{name[: _NAME_WIDTH - 3 - kept]}...{name[-kept:]}"


def _values(window: Window, spec: ColumnSpec) -> str:
    """Return what is worth knowing of a column's values: what is missing, not finite, or how many differ."""
    if spec.dtype is not None and spec.dtype.kind == "f":
        found = [*_bad(*_non_finite(window, spec)), *_missing_of(_n_missing(window, spec))]
        return ", ".join(found) or "all finite"
    column = window.source.collection.column(str(spec.name)) if spec.name.representation == RAW else None
    if isinstance(column, DecodedColumn) and column.categories is not None:
        # In blocks: NumPy counts in 64 bits, whatever the codes have.
        codes = np.zeros(len(column.categories), dtype=np.int64)
        for block in _blocks(window.rows, spec):
            codes += np.bincount(column.values[block], minlength=len(codes))
        words = set(column.categories[np.flatnonzero(codes)].tolist()) - {None}
        n_missing = int(codes[-1])
        return ", ".join([_amount(len(words), "category", "categories"), *_missing_of(n_missing)])
    return ", ".join(_missing_of(_n_missing(window, spec)))


def _n_missing(window: Window, spec: ColumnSpec) -> int:
    """Return the number of nulls of a tag."""
    if window.source.chain(str(spec.name)):
        return 0
    stored = window.source.collection.table.column(str(spec.name))
    if not stored.null_count:
        return 0
    valid = np.asarray(stored.is_valid().to_numpy())
    return count(window.rows) - int(valid[window.rows].sum())


def _bad(n_nan: int, n_infinite: int) -> list[str]:
    return [f"{n_nan:,} NaN"] * bool(n_nan) + [f"{n_infinite:,} infinite"] * bool(n_infinite)


def _missing_of(n_missing: int) -> list[str]:
    return [f"{n_missing:,} missing"] if n_missing else []


def _non_finite(window: Window, spec: ColumnSpec) -> tuple[int, int]:
    # NumPy sees a null as NaN.
    n_nan, n_infinite = -_n_missing(window, spec), 0
    for block in _blocks(window.rows, spec):
        values = window.source.take(str(spec.name), block)
        finite = np.isfinite(values)
        if not finite.all():
            n_nan_here = int(np.isnan(values).sum())
            n_nan += n_nan_here
            n_infinite += int(finite.size - finite.sum()) - n_nan_here
    return n_nan, n_infinite


def _bad_among(window: Window, specs: list[ColumnSpec]) -> str:
    counts = [
        _non_finite(window, spec) for spec in specs if spec.dtype is not None and spec.dtype.kind == "f"
    ]
    found = _bad(sum(one[0] for one in counts), sum(one[1] for one in counts))
    return f" ({', '.join(found)} in them)" if found else ""


def _blocks(rows: Rows, spec: ColumnSpec) -> list[Rows]:
    itemsize = 8 if spec.dtype is None else spec.dtype.itemsize
    step = max(1, _BLOCK_BYTES // max(1, itemsize * int(np.prod(spec.shape))))
    if isinstance(rows, slice):
        return [slice(start, min(start + step, rows.stop)) for start in range(rows.start, rows.stop, step)]
    indices = as_array(rows)
    return [indices[start : start + step] for start in range(0, len(indices), step)]


def _amount(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _bytes(number: float) -> str:
    for unit in _UNITS:
        if number < 1000 or unit == _UNITS[-1]:
            return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return ""


def _aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
