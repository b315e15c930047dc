"""What a FeatureSet or a view holds, as HTML for notebooks.

No value is read: a notebook shows this without being asked, and the columns may lie in a file of any size.
Neither colours nor fonts are set, so that it looks right in light and dark themes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from mml.data.access import Window
from mml.data.records import ScalerRecord
from mml.data.rows import count
from mml.data.summary import describe_record, describe_size, shortened

_SHOWN_COLUMNS = 30


def html_summary(
    title: str, window: Window, *, splits: Mapping[str, int], records: Sequence[ScalerRecord]
) -> str:
    """Return an HTML fragment with a table of columns and, where there are any, splits and transforms.

    Parameters
    ----------
    title : str
        What is summarised; like all names, it is escaped.
    window : Window
        Its rows and columns.
    splits : mapping of str to int
        Name → number of samples.
    records : sequence of ScalerRecord
        The fitted transforms.
    """
    specs = list(window.schema)
    columns = [
        (spec.name.domain, shortened(spec.name.key), spec.name.representation, spec.describe())
        for spec in specs[:_SHOWN_COLUMNS]
    ]
    parts = [f"<div><strong>{escape(title)}</strong>: {escape(describe_size(window))}"]
    parts.append(_table(("domain", "key", "representation", "type"), columns))
    if len(specs) > _SHOWN_COLUMNS:
        parts.append(f"<div>and {len(specs) - _SHOWN_COLUMNS} more columns</div>")
    if splits:
        n_rows = max(count(window.rows), 1)
        shares = [(name, f"{size:,}", f"{size / n_rows:.1%}") for name, size in splits.items()]
        parts.append(_table(("split", "samples", "share"), shares))
    if records:
        items = "".join(f"<li>{escape(describe_record(record))}</li>" for record in records)
        parts.append(f"<div>transforms</div><ol>{items}</ol>")
    return "".join(parts) + "</div>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th style="text-align: left">{escape(one)}</th>' for one in headings)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
