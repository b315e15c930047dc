"""Types that MML does not store, and what to turn each of them into: errors that say so.

Arrow's types, NumPy's dtypes and Python objects have their own ways out; what nobody thought of gets the list
of what is stored.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mml.data.schema import ColumnName
from mml.errors import DataError

_SUPPORTED = (
    "booleans, integers, floats of 16 to 64 bits, strings, dates, timestamps, durations, "
    "and tensors of all but strings with one shape for all"
)

_TURN = "Turn it into text, a number, or a time."
_TEXT = "Hand over each text of a sample as a column of its own."
_FIELDS = "Hand over its fields as columns of their own."
_BYTES = "Decode it into strings, or into numbers."
_DECIMAL = "Cast it where it comes from, to a float or to an integer of 64 bits: x::double in SQL."
_TIME = "Cast it to a duration since midnight, or to a number."
_VIEWS = "Cast it to a list of fixed size."
_IN_ORDER = (
    "Bring its axes into order: "
    "FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(tensors.to_numpy_ndarray()))."
)

# What holds values of another type, and the mends by the names that Arrow prints: not every version that MML
# runs with has every one of these types.
_HOLDERS = ("list<", "large_list<", "fixed_size_list<", "dictionary<")
_MENDS = {
    "decimal32": _DECIMAL,
    "decimal64": _DECIMAL,
    "decimal128": _DECIMAL,
    "decimal256": _DECIMAL,
    "time32": _TIME,
    "time64": _TIME,
    "date64": "Cast it to date32, or to timestamp('ms').",
    "month_day_nano_interval": "Cast it to a duration; months have none of their own.",
    "string": _TEXT,
    "large_string": _TEXT,
    "string_view": _TEXT,
    "binary": _BYTES,
    "large_binary": _BYTES,
    "binary_view": _BYTES,
    "fixed_size_binary": _BYTES,
    "extension": "Cast it to text where it names something, to numbers where it counts.",
    "struct": _FIELDS,
    "map": "Hand over its values as columns of their own.",
    "list_view": _VIEWS,
    "large_list_view": _VIEWS,
    "run_end_encoded": "Decode it: pyarrow.compute.run_end_decode(values).",
}


def unsupported(name: ColumnName, found: str, *, row: int = 0, hint: str | None = None) -> DataError:
    """Return the error of a type that MML does not store."""
    return DataError(
        f"MML does not store the type of {name.key!r}.",
        where={"column": str(name), "row": row},
        expected=_SUPPORTED,
        found=found,
        hint=hint,
    )


def unsupported_arrow(name: ColumnName, arrow_type: pa.DataType) -> DataError:
    """Return the error of an Arrow type."""
    return unsupported(name, str(arrow_type), hint=_mend_of_arrow(arrow_type))


def unsupported_lists(name: ColumnName, arrow_type: pa.DataType) -> DataError:
    """Return the error of lists whose values are of an Arrow type."""
    return unsupported(name, f"lists of {arrow_type}", hint=_mend_of_arrow(arrow_type))


def unsupported_dtype(name: ColumnName, dtype: np.dtype) -> DataError:
    """Return the error of a NumPy dtype."""
    return unsupported(name, str(dtype), hint=_mend_of_dtype(dtype))


def unsupported_object(name: ColumnName, row: int, item: object) -> DataError:
    """Return the error of a Python object."""
    found = f"{type(item).__module__}.{type(item).__qualname__}".removeprefix("builtins.")
    hint = "Turn it into a number, with float() for one." if hasattr(item, "__float__") else _TURN
    if hasattr(type(item), "__members__"):  # an Enum
        hint = "Hand over its names or its values."
    return unsupported(name, found, row=row, hint=hint)


def _mend_of_arrow(arrow_type: pa.DataType) -> str | None:
    if isinstance(arrow_type, pa.FixedShapeTensorType) and arrow_type.permutation is not None:
        return _IN_ORDER
    inner = arrow_type
    while str(inner).startswith(_HOLDERS):
        inner = inner.value_type
    kind = str(inner).replace("[", "<").replace("(", "<").partition("<")[0]
    return _MENDS.get(kind)


def _mend_of_dtype(dtype: np.dtype) -> str | None:
    if dtype.names is not None:
        return _FIELDS
    if dtype.kind in "mM":
        return f"Cast it to a unit that Arrow has: .astype('{dtype.kind}8[s]'), or 'ms', 'us', 'ns'."
    return {
        "c": "Hand over .real and .imag as columns of their own.",
        "S": "Decode it into text: np.char.decode(values, 'utf-8').",
        "U": _TEXT,
        "T": _TEXT,
        "f": "Cast it: .astype('float64').",
        "V": _BYTES,
    }.get(dtype.kind)
