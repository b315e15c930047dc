"""Arrays in and out: bits, ownership, refusals."""

from typing import Any

import numpy as np
import pytest
import torch

import mml
from mml.backends import get_backend
from mml.errors import BackendError

DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.fixture
def backend() -> Any:
    return get_backend("torch")


def layouts(array: np.ndarray) -> dict[str, np.ndarray]:
    frozen = array.copy()
    frozen.flags.writeable = False
    return {
        "c": array,
        "fortran": np.asfortranarray(array),
        "stepped": np.repeat(array, 2, axis=1)[:, ::2],
        "negative": array[::-1, ::-1],
        "transposed": array.T,
        "broadcast": np.broadcast_to(array[:1], (5, array.shape[1])),
        "read only": frozen,
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_layout_makes_the_round_trip_to_the_bit(backend: Any, dtype: str) -> None:
    for array in layouts(np.arange(15).reshape(3, 5).astype(dtype)).values():
        tensor = backend.to_array(array)
        back = backend.to_numpy(tensor)
        assert backend.is_native(tensor)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0)])
def test_scalars_and_empty_arrays_keep_their_shape(backend: Any, shape: tuple[int, ...]) -> None:
    back = backend.to_numpy(backend.to_array(np.ones(shape, dtype="float32")))
    assert (back.shape, back.dtype) == (shape, np.dtype("float32"))


@pytest.mark.parametrize(
    "array",
    [
        np.array([2**60 + 1]),
        np.array([-0.0, np.inf]),
        np.array([1 + 2**-40]),
        np.array([0x7FC12345], dtype="uint32").view("float32"),
    ],
)
def test_delicate_values_keep_their_bits(backend: Any, array: np.ndarray) -> None:
    assert backend.to_numpy(backend.to_array(array)).tobytes() == array.tobytes()


def test_both_directions_copy(backend: Any) -> None:
    array = np.arange(3.0)
    tensor = backend.to_array(array)
    array[0] = 9.0
    assert tensor[0] == 0.0
    back = backend.to_numpy(tensor)
    back[1] = 9.0
    assert tensor[1] == 1.0


def test_a_tensor_that_takes_gradients_and_a_conjugated_one_come_out(backend: Any) -> None:
    assert backend.to_numpy(torch.ones(3, requires_grad=True)).tolist() == [1.0] * 3
    assert backend.to_numpy(torch.tensor([1 + 2j]).conj()).tolist() == [1 - 2j]


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a"]),
        np.array([object()]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.array([1.0], dtype=">f8"),
        np.array([1.0], dtype="longdouble"),
    ],
)
def test_what_has_no_equal_dtype_is_refused_by_name(backend: Any, array: np.ndarray) -> None:
    with pytest.raises(BackendError, match=r"dtype\("):
        backend.to_array(array)


def test_foreign_arrays_are_refused_with_both_types(backend: Any) -> None:
    with pytest.raises(BackendError, match=r"(?s)numpy\.ndarray.*builtins\.list"):
        backend.to_array([1.0])
    with pytest.raises(BackendError, match=r"(?s)torch\.Tensor.*numpy\.ndarray"):
        backend.to_numpy(np.ones(3))
    with pytest.raises(BackendError, match="bfloat16"):
        backend.to_numpy(torch.ones(2, dtype=torch.bfloat16))
    with pytest.raises(BackendError, match="dense"):
        backend.to_numpy(torch.eye(3).to_sparse())


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:3", "meta"])
def test_a_device_that_is_not_there_is_refused(backend: Any, device: str) -> None:
    with pytest.raises(BackendError, match=device):
        backend.to_array(np.ones(3), device=device)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_a_shared_tensor_looks_at_the_arrays_memory(dtype):
    array = np.arange(12).reshape(4, 3).astype(dtype)
    array.flags.writeable = False
    tensor = get_backend("torch").share(array)
    assert tensor.data_ptr() == array.ctypes.data
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("layout", [lambda a: a[::-1], lambda a: a[:, ::2], lambda a: a.T, np.asfortranarray])
def test_what_cannot_be_shared_is_copied(layout):
    array = layout(np.arange(12, dtype="float32").reshape(4, 3))
    tensor = get_backend("torch").share(array)
    assert not np.shares_memory(tensor.numpy(), array)
    np.testing.assert_array_equal(tensor.numpy(), array)


def test_sharing_refuses_what_converting_refuses():
    with pytest.raises(BackendError, match="dtype"):
        get_backend("torch").share(np.array(["a"], dtype=object))
    with pytest.raises(BackendError, match="NumPy arrays"):
        get_backend("torch").share([1.0])


def test_a_column_reaches_torch_without_a_copy_on_request():
    x = np.arange(12, dtype="float32").reshape(4, 3)
    rows = mml.FeatureSet.from_dict("rows", {"x": x}, feature_keys="x")
    stored = rows.get_features("x")
    assert np.shares_memory(rows.get_features("x", fmt="torch", copy=False).numpy(), stored)
    assert not np.shares_memory(rows.get_features("x", fmt="torch").numpy(), stored)
