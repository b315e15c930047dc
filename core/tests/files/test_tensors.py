"""Tensors are safetensors files as the library reads and writes them, and hostile headers are refused."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import ArchiveError
from mml.files import load_tensors, save_tensors

from .states import DTYPES, laid_out_arrays, same_bits

_named = st.dictionaries(st.sampled_from(["/a", "/b/0", "/ü", "", "/w~1x"]), laid_out_arrays(), max_size=4)


def _same(one, other):
    return set(one) == set(other) and all(same_bits(one[name], np.asarray(other[name])) for name in one)


@given(_named)
def test_the_library_reads_what_is_saved(arrays):
    assert _same(safetensors.numpy.load(save_tensors(arrays)), arrays)


@given(_named)
def test_what_the_library_saves_is_read(arrays):
    plain = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    assert _same(load_tensors(safetensors.numpy.save(plain)), arrays)


@given(_named)
def test_saved_bytes_do_not_depend_on_the_order_of_names(arrays):
    assert save_tensors(arrays) == save_tensors(dict(reversed(arrays.items())))


def test_arrays_are_views_of_the_given_buffer():
    buffer = bytearray(save_tensors({"x": np.zeros(3, "<i4")}))
    view = load_tensors(buffer)["x"]
    buffer[-4:] = struct.pack("<i", 7)
    assert view.tolist() == [0, 0, 7]
    assert not load_tensors(bytes(buffer))["x"].flags.writeable


def test_every_tensor_starts_at_a_multiple_of_its_item_size():
    arrays = {f"{i}-{dtype}": np.ones(i + 1, dtype) for i in range(3) for dtype in DTYPES}
    data = save_tensors(arrays)
    (length,) = struct.unpack_from("<Q", data)
    assert (8 + length) % 64 == 0
    header = json.loads(data[8 : 8 + length])
    for name, array in arrays.items():
        assert header[name]["data_offsets"][0] % array.dtype.itemsize == 0


def test_big_endian_arrays_come_back_little_endian_with_equal_values():
    array = np.array([1, 2**40], dtype=">i8")
    back = load_tensors(save_tensors({"x": array}))["x"]
    assert back.dtype == np.dtype("<i8")
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize("array", [np.zeros(1, complex), np.array(["a"]), np.array([None])])
def test_other_dtypes_are_refused_by_name(array):
    with pytest.raises(ArchiveError, match="'/x'"):
        save_tensors({"/x": array})


def test_a_size_that_is_not_its_shape_is_told_with_both():
    with pytest.raises(ArchiveError, match="size of its shape") as caught:
        load_tensors(_one(shape=[3]))
    assert caught.value.expected.startswith("12 bytes")
    assert caught.value.found == "8 bytes"


def test_the_reserved_name_is_refused():
    with pytest.raises(ArchiveError, match="__metadata__"):
        save_tensors({"__metadata__": np.zeros(1)})


def _file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _one(**changes):
    return _file({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}, bytes(8))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        _file(b"not json"),
        _file(b"[]"),
        _file(b"\xff\xfe"),
        _file(b'{"a":' * 5000),
        _file({}, b"left over"),
        _file({"x": 3}),
        _one(dtype="F99"),
        _one(dtype=7),
        _one(shape=[3]),
        _one(shape=[-2]),
        _one(shape=[-1, -2]),
        _one(shape="2"),
        _one(shape=[2.0]),
        _one(shape=[1 << 62, 1 << 62]),
        _one(shape=[1] * 100 + [2]),
        _one(data_offsets=[0, 4]),
        _one(data_offsets=[8, 0]),
        _one(data_offsets=[-8, 0]),
        _one(data_offsets=[8, 16]),
        _one(data_offsets=[0]),
        _one(extra=1),
        _file({"x": {"dtype": "F32", "shape": [1 << 62, 1 << 62, 0], "data_offsets": [0, 0]}}),
        _file({n: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)),
        _file(
            {n: {"dtype": "U8", "shape": [4], "data_offsets": [i, i + 4]} for i, n in ((0, "a"), (5, "b"))},
            bytes(9),
        ),
    ],
)
def test_hostile_files_are_refused(data):
    with pytest.raises(ArchiveError):
        load_tensors(data)


@given(_named, st.data())
def test_any_changed_byte_of_the_header_is_refused_or_harmless(arrays, data):
    saved = bytearray(save_tensors(arrays))
    (length,) = struct.unpack_from("<Q", saved)
    place = data.draw(st.integers(0, 7 + length))
    saved[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        back = load_tensors(saved)
    except ArchiveError:
        return
    assert sum(array.nbytes for array in back.values()) <= len(saved)
