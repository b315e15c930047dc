"""What a FeatureSet holds, as a table of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mml.data.schema import ColumnSpec
from mml.data.source import ColumnSource

if TYPE_CHECKING:
    from mml.data.featureset import FeatureSet

_BLOCK_ROWS = 1 << 14


def summarize(featureset: FeatureSet) -> str:
    """Return one line per column with its dtype, shape and non-finite values, then splits and transforms."""
    source = featureset.snapshot()
    lines = [f"FeatureSet {featureset.label!r}: {source.n_rows} samples"]
    rows = [("column", "type", "not finite")]
    rows += [(str(spec.name), spec.describe(), _non_finite(source, spec)) for spec in source.schema]
    lines += _aligned(rows)
    for name, view in featureset.splits.items():
        share = view.n_samples / source.n_rows
        lines.append(f"  split {name!r}: {view.n_samples} samples ({share:.1%})")
    for record in featureset.scaler_records:
        name = "unnamed scaler" if record.config is None else record.config["scaler"]
        where = record.fit_to_split or "all samples"
        lines.append(f"  transform {name} on {record.domain} {', '.join(record.keys)}, fitted on {where}")
    return "\n".join(lines)


def _non_finite(source: ColumnSource, spec: ColumnSpec) -> str:
    if spec.dtype is None or spec.dtype.kind != "f":
        return ""
    n_nan = n_infinite = 0
    for start in range(0, source.n_rows, _BLOCK_ROWS):
        values = source.take(str(spec.name), slice(start, min(start + _BLOCK_ROWS, source.n_rows)))
        n_nan += int(np.isnan(values).sum())
        n_infinite += int(np.isinf(values).sum())
    counts = [f"{n_nan} NaN"] * bool(n_nan) + [f"{n_infinite} infinite"] * bool(n_infinite)
    return ", ".join(counts) or "0"


def _aligned(rows: list[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
