"""pyarrow expressions evaluated over the scalar columns of some rows.

An expression names columns in its text only; Arrow says by which name it found nothing. A column's position
means nothing here: the table that Arrow sees is made for one expression.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import to_arrow
from mml.data.coded_strings import plain_strings
from mml.data.rows import count
from mml.data.schema import RAW, ColumnSpec
from mml.errors import ColumnError, did_you_mean, listed

if TYPE_CHECKING:
    import pyarrow.compute as pc

    from mml.data.access import Window

_ROW = "\x00row"
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_POSITION = re.compile(r"FieldPath\(\d+( \d+)*\)")
_NO_MATCH = re.compile(r"No match for FieldRef\.Name\((.*?)\) in ", re.DOTALL)


def is_expression(condition: object) -> bool:
    """Return whether a condition is a pyarrow expression."""
    import pyarrow.compute as pc  # here: it costs more than the rest of the floor to import

    return isinstance(condition, pc.Expression)


def fulfilled(window: Window, expression: pc.Expression) -> np.ndarray:
    """Return for which rows of a window an expression is true, bool of shape ``(n,)``.

    Raises
    ------
    ColumnError
        If it names no column, one that does not exist or several, or cannot be evaluated.
    """
    text = str(expression)
    forms = _forms(spec for spec in window.schema if not spec.shape)
    _require_names(text, forms)
    known = {form: names[0] for form, names in forms.items() if len(names) == 1 and form in text}
    columns = {form: _arrow_column(window, name) for form, name in known.items()}
    n_rows = count(window.rows)
    columns[_ROW] = pa.array(np.arange(n_rows, dtype=np.int64))
    try:
        kept = pa.table(columns).filter(expression).column(_ROW)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as cause:
        raise _failure(window, text, cause, forms) from cause
    if not known:
        raise ColumnError(f"The expression names no column: {text}", hint=did_you_mean(text, forms))
    mask = np.zeros(n_rows, dtype=bool)
    mask[kept.to_numpy()] = True
    return mask


def _forms(specs: Iterable[ColumnSpec]) -> dict[str, list[str]]:
    """Return the columns that each form of a name fits; raw where it does not name a representation."""
    specs = list(specs)
    representations = Counter((spec.name.domain, spec.name.key) for spec in specs)
    forms: dict[str, list[str]] = {}
    for spec in specs:
        name = spec.name
        own = [str(name), f"{name.key}.{name.representation}"]
        if name.representation == RAW or representations[name.domain, name.key] == 1:
            own += [name.key, f"{name.domain}.{name.key}"]
        for form in own:
            forms.setdefault(form, []).append(str(name))
    return forms


def _require_names(text: str, forms: Iterable[str]) -> None:
    position = _POSITION.search(_TEXT.sub("", text))
    if position is not None and not any(position[0] in form for form in forms):
        raise ColumnError(
            f"An expression names its columns; the position of one means nothing: {text}",
            found=position[0],
            hint="Write pc.field('voltage').",
        )


def _failure(window: Window, text: str, cause: pa.ArrowException, forms: dict[str, list[str]]) -> ColumnError:
    unmatched = _NO_MATCH.match(str(cause))
    if unmatched is None:
        return ColumnError(
            f"The expression cannot be evaluated: {text}",
            found=str(cause).splitlines()[0],
            hint="It compares scalar columns with values of their types, and is true or false.",
        )
    name = unmatched[1]
    if len(forms.get(name, ())) > 1:
        return ColumnError(
            f"{name!r} fits several columns.",
            found=listed(forms[name]),
            hint="Name the domain, or the whole column.",
        )
    if name in _forms(spec for spec in window.schema if spec.shape):
        return ColumnError(
            f"The samples of {name!r} are tensors, which an expression cannot compare.",
            hint=f"Give a function of the array (n, ...): {{{name!r}: lambda values: ...}}.",
        )
    return ColumnError(f"There is no column {name!r}: {text}", hint=did_you_mean(name, forms))


def _arrow_column(window: Window, name: str) -> pa.Array | pa.ChunkedArray:
    if window.source.chain(name):
        return to_arrow(window.source.take(name, window.rows))
    stored = window.source.collection.take_table(window.rows, [name]).column(0)
    return plain_strings(stored) if pa.types.is_dictionary(stored.type) else stored
