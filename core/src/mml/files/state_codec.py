"""Take a state apart into JSON and named arrays, and put it together again, equal to the bit.

One rule decides what may stand in a state: what comes back is of the same type and the same bits as what
went in. Whatever cannot keep that promise is refused by its path: tuples and other subclasses and
look-alikes (they would come back as lists, dicts, plain numbers), NumPy scalars, bytes, objects. How an
array lies in memory (strides, Fortran order, byte order) is not part of its value. Knows no file format.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from mml.errors import StateError, listed
from mml.protocols import State

JsonTree: TypeAlias = Any
Arrays: TypeAlias = dict[str, np.ndarray]

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""Names of the dtypes that a state may hold."""

_ARRAY = "$array"
_FLOAT = "$float"
# Marks are dictionaries of one "$" key; a user's own "$" key is written with one "$" more, so that no
# state can be mistaken for a mark.
_MARK = "$"
_MAX_DEPTH = 100
_MAX_INTEGER_BITS = 4096  # far beyond any generator's state, below Python's limit on digits


def flatten_state(state: State) -> tuple[JsonTree, Arrays]:
    """Split a state into a JSON tree and its arrays.

    Parameters
    ----------
    state : dict
        Nested dicts (string keys), lists, str, int, float, bool, None, and NumPy arrays of any shape of
        dtype bool, (u)int8 to 64, float16 to 64. Non-finite floats and floats in the tree keep their bits.

    Returns
    -------
    tree : JSON-compatible value
        The state with ``{"$array": path}`` in place of each array.
    arrays : dict of str to numpy.ndarray
        The arrays themselves, uncopied, by path: a JSON pointer such as ``"/layers/0/weight"``.

    Raises
    ------
    StateError
        Naming the path of whatever would not come back as it went in.

    Examples
    --------
    >>> tree, arrays = flatten_state({"mean": np.zeros(2), "count": 3})
    >>> tree
    {'mean': {'$array': '/mean'}, 'count': 3}
    >>> list(arrays)
    ['/mean']
    """
    if type(state) is not dict:
        raise StateError("A state is a dict.", found=type(state).__name__)
    return flatten_value(state)


def flatten_value(value: Any) -> tuple[JsonTree, Arrays]:
    """Do what :func:`flatten_state` does, for any value that may stand in a state."""
    arrays: Arrays = {}
    return _flatten(value, "", 0, arrays), arrays


def unflatten_state(tree: JsonTree, arrays: Mapping[str, np.ndarray]) -> Any:
    """Put together what :func:`flatten_state` took apart.

    Parameters
    ----------
    tree : JSON-compatible value
    arrays : mapping of str to numpy.ndarray
        Exactly the arrays that the tree refers to; they are not copied.

    Raises
    ------
    StateError
        If an array is missing or left over, or a mark in the tree is unknown.
    """
    used: set[str] = set()
    value = _unflatten(tree, "", 0, arrays, used)
    if extra := sorted(set(arrays) - used):
        raise StateError("There are arrays that the state's structure does not mention.", found=listed(extra))
    return value


def state_digest(state: State) -> str:
    """Return the SHA-256 of a state as hexadecimal text: equal exactly for states equal to the bit.

    The order of keys in dicts and the memory layout of arrays do not enter; types and dtypes do.

    Examples
    --------
    >>> state_digest({"a": 1, "b": 2}) == state_digest({"b": 2, "a": 1})
    True
    >>> state_digest({"a": 0.0}) == state_digest({"a": -0.0})
    False
    """
    tree, arrays = flatten_state(state)
    text = encode_tree(tree, sort_keys=True)
    digest = hashlib.sha256(f"mml-state-1 {len(text)} {len(arrays)}\n".encode())
    digest.update(text)
    for path in sorted(arrays):
        array = arrays[path]
        digest.update(json.dumps([path, array.dtype.name, array.shape]).encode() + b"\n")
        digest.update(array_bytes(array))
    return digest.hexdigest()


def array_bytes(array: np.ndarray) -> memoryview:
    """Return an array's bytes in C order, little-endian, copying only where it lies otherwise.

    Parameters
    ----------
    array : numpy.ndarray
        Any shape, of a dtype in :data:`DTYPES`.
    """
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return plain.reshape(-1).view(np.uint8).data


def encode_tree(tree: JsonTree, *, sort_keys: bool = False) -> bytes:
    """Write a JSON tree as compact UTF-8; keys keep their order unless ``sort_keys``."""
    text = json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys)
    return text.encode()


def decode_tree(data: bytes) -> JsonTree:
    """Read a JSON tree; raise StateError, with the offset where there is one, on anything else."""
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise StateError(f"This is not JSON: {error.msg} at character {error.pos}.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a bare NaN, a gigantic integer, a deep nest
        raise StateError(f"This is not JSON that MML writes: {error}.") from error


def _flatten(value: Any, path: str, depth: int, arrays: Arrays) -> JsonTree:
    if depth > _MAX_DEPTH:
        raise StateError(
            f"A state is nested deeper than {_MAX_DEPTH} levels, or contains itself.", where=_short(path)
        )
    kind = type(value)
    if kind is list:
        return [_flatten(one, f"{path}/{index}", depth + 1, arrays) for index, one in enumerate(value)]
    if kind is dict:
        return {
            _escaped_key(key, path): _flatten(one, f"{path}/{_pointer(key)}", depth + 1, arrays)
            for key, one in value.items()
        }
    if kind in (np.ndarray, np.memmap):
        arrays[path] = _checked_array(value, path)
        return {_ARRAY: path}
    return _scalar(value, kind, path)


def _scalar(value: Any, kind: type, path: str) -> JsonTree:
    if value is None or kind is bool:
        return value
    if kind is str:
        return _checked_text(value, path)
    if kind is int:
        return _checked_integer(value, path)
    if kind is float:
        return value if math.isfinite(value) else {_FLOAT: struct.pack(">d", value).hex()}
    raise _refusal(value, path)


def _unflatten(
    tree: JsonTree, path: str, depth: int, arrays: Mapping[str, np.ndarray], used: set[str]
) -> Any:
    if depth > _MAX_DEPTH:
        raise StateError(f"A state is nested deeper than {_MAX_DEPTH} levels.", where=_short(path))
    if type(tree) is list:
        return [_unflatten(one, f"{path}/{index}", depth + 1, arrays, used) for index, one in enumerate(tree)]
    if type(tree) is not dict:
        return tree
    if len(tree) == 1:
        ((key, one),) = tree.items()
        if key == _ARRAY:
            return _placed_array(one, path, arrays, used)
        if key == _FLOAT:
            return _float_of_bits(one, path)
    values = {}
    for written, one in tree.items():
        key = _unescaped_key(written, path)
        values[key] = _unflatten(one, f"{path}/{_pointer(key)}", depth + 1, arrays, used)
    return values


def _refuse_constant(name: str) -> None:
    # Python's reader would take NaN and Infinity, which are no JSON; MML writes their bits.
    raise ValueError(f"{name} is not a JSON value")


def _placed_array(mark: Any, path: str, arrays: Mapping[str, np.ndarray], used: set[str]) -> np.ndarray:
    # An array may stand only at its own path: nothing can be aliased, swapped or left out unseen.
    if mark != path or path not in arrays:
        raise StateError("An array of the state is missing.", where=path, found=repr(mark))
    used.add(path)
    return arrays[path]


def _float_of_bits(mark: Any, path: str) -> float:
    try:
        (value,) = struct.unpack(">d", bytes.fromhex(mark))
    except (TypeError, ValueError, struct.error) as error:
        raise StateError("A float is not written as 16 hexadecimal digits.", where=path) from error
    return float(value)


def _checked_text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise StateError("A text holds half of a surrogate pair.", where=path, found=ascii(value)) from error
    return value


def _checked_integer(value: int, path: str) -> int:
    if value.bit_length() > _MAX_INTEGER_BITS:
        raise StateError(
            "An integer is too large for JSON.",
            where=path,
            expected=f"at most {_MAX_INTEGER_BITS} bits",
            found=f"{value.bit_length()} bits",
        )
    return value


def _checked_array(array: np.ndarray, path: str) -> np.ndarray:
    if array.dtype.name in DTYPES:
        return array
    raise StateError(
        "An array has a dtype that a state cannot hold.",
        where=path,
        expected=", ".join(DTYPES),
        found=str(array.dtype),
        hint="View it as one of these: dates as int64, complex numbers as pairs of floats.",
    )


def _escaped_key(key: Any, path: str) -> str:
    if type(key) is not str:
        raise StateError(
            "A key is not a string.", where=path or "/", found=f"{key!r}", hint=f"Use {str(key)!r}."
        )
    _checked_text(key, path)
    return _MARK + key if key.startswith(_MARK) else key


def _unescaped_key(key: str, path: str) -> str:
    if not key.startswith(_MARK):
        return key
    if key.startswith(_MARK * 2):
        return key[1:]
    raise StateError(f"The state holds a mark that this version does not know: {key!r}.", where=path or "/")


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def _refusal(value: Any, path: str) -> StateError:
    kind = type(value)
    hint = "Keep it as an array or as JSON (dict, list, str, int, float, bool, None)."
    if isinstance(value, tuple):
        hint = "A tuple would come back as a list; use a list."
    elif isinstance(value, np.generic):
        hint = "Use .item() for a plain number, or numpy.asarray() to keep the dtype."
    elif isinstance(value, bytes | bytearray | memoryview):
        hint = "Use numpy.frombuffer(value, dtype=numpy.uint8)."
    elif isinstance(value, dict | list | str | int | float):
        hint = "Subclasses would come back as the plain type; convert it."
    elif isinstance(value, np.ndarray):
        hint = "Subclasses of arrays would come back as plain arrays; convert it."
    return StateError(
        "A state holds something that is neither an array nor JSON.",
        where=_short(path),
        found=f"{kind.__module__}.{kind.__qualname__}",
        hint=hint,
    )


def _short(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:200]}…"
