"""Reading a column that a sampler compares or weighs by: one finite number a row."""

from __future__ import annotations

import numpy as np

from mml.data import FeatureSetView
from mml.data.schema import RAW
from mml.errors import SamplerError


def numbers_of(view: FeatureSetView, column: str, *, what: str) -> np.ndarray:
    """Return a column as finite numbers, float64 ``(n,)``.

    Parameters
    ----------
    view : FeatureSetView
    column : str
        Read as it was ingested, unless the name says ``.transformed``.
    what : str
        What the numbers are, for messages.

    Raises
    ------
    ColumnError
        If there is no such column.
    SamplerError
        If it holds no numbers, several a row, or one that is not finite.
    """
    # A representation in the name wins over the one that is asked for here.
    data = view.get_data([column], RAW, fmt="dict_numpy")
    values: np.ndarray = next(iter(data.values()))
    if len(data) != 1 or values.dtype.kind not in "biuf" or values.size != len(values):
        raise SamplerError(
            f"The {what} {column!r} are not one number per row.",
            expected="a column of one finite number a row",
            found=f"{values.dtype} of shape {values.shape[1:]}",
            hint=_mend(values.dtype.kind, column),
        )
    values = values.reshape(-1)
    wrong = ~np.isfinite(values)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise SamplerError(
            f"One of the {what} {column!r} is not a finite number.",
            where={"row": int(view.rows[first])},
            found=repr(float(values[first])),
        )
    return values.astype(np.float64)


def comparable_numbers_of(view: FeatureSetView, column: str) -> np.ndarray:
    """Return a column as numbers of which only differences count, ``(n,)``: uint64 where whole, else float64.

    Whole numbers are counted from the least one, so that no difference is rounded or overflows. Arguments
    and errors as for :func:`numbers_of`.
    """
    values = next(iter(view.get_data([column], RAW, fmt="dict_numpy").values()))
    if values.dtype.kind not in "iu" or values.size != len(values):
        return numbers_of(view, column, what="values of")
    wide = values.reshape(-1).astype(np.int64 if values.dtype.kind == "i" else np.uint64)
    return np.asarray(wide.view(np.uint64) - wide.min().view(np.uint64))


def _mend(kind: str, column: str) -> str | None:
    if kind in "mM":
        dtype = "datetime64[s]" if kind == "M" else "timedelta64[s]"
        return f"Keep times as numbers of a unit, too, such as times.astype({dtype!r}).astype('int64')."
    if kind in "OUST":
        return f"Without a tolerance, strings are compared as they are: {{{column!r}: 'similar'}}."
    return None
