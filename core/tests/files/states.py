"""Random states, and what it means that two of them are equal to the bit."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import strategies as st

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)

_KEYS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["$array", "$float", "$", "$$array", "", "/", "~1", "a/b", "__metadata__", "0"]),
)


@st.composite
def arrays(draw):
    """Arrays of every dtype from random bytes, so that NaN payloads and negative zeros appear."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    count = int(np.prod(shape, dtype=np.int64))
    data = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    flat = np.frombuffer(data, dtype=np.uint8)
    flat = flat % 2 if dtype.kind == "b" else flat
    return flat.astype(np.uint8).view(dtype).reshape(shape)


@st.composite
def laid_out_arrays(draw):
    """The same, lying in memory in C order, Fortran order, strided, reversed, or read-only."""
    array = draw(arrays())
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed", "read-only"]))
    if layout == "F":
        return np.asarray(array, order="F")
    if layout == "strided":
        spread = np.zeros((*array.shape, 3), dtype=array.dtype)
        spread[..., 1] = array
        return spread[..., 1]
    if layout == "reversed" and array.ndim:
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "read-only":
        array.setflags(write=False)
    return array


def states():
    """States: nested dicts and lists of scalars and arrays."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(1 << 64, 1 << 200),
        st.floats(allow_nan=True, allow_infinity=True),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    )
    values = st.recursive(
        st.one_of(scalars, laid_out_arrays()),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
        max_leaves=8,
    )
    return st.dictionaries(_KEYS, values, max_size=4)


def same_bits(one, other):
    """Tell whether two values are equal in type, order and every bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same_bits(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_bits, one, other))
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    return one == other
