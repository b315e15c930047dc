"""Arrays in and out: bits, ownership, refusals."""

from typing import Any

import numpy as np
import pytest

from mml.backends import get_backend
from mml.errors import BackendError
from mml_keras3 import convert
from mml_keras3.engines import engine

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64", "complex64", "complex128"]


@pytest.fixture
def backend() -> Any:
    return get_backend("keras3")


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
        native = backend.to_array(array)
        back = backend.to_numpy(native)
        assert backend.is_native(native)
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
    array = np.arange(1000.0)
    native = backend.to_array(array)
    array[:] = 9.0
    back = backend.to_numpy(native)
    assert back.tolist() == list(range(1000))
    back[1] = 9.0
    assert backend.to_numpy(native)[1] == 1.0


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
    with pytest.raises(BackendError, match=rf"(?s){engine().name}.*numpy\.ndarray"):
        backend.to_numpy(np.ones(3))


@pytest.mark.parametrize("device", ["tpu9", "cuda:99", "cpu:3x", "meta"])
def test_a_device_that_is_not_there_is_refused(backend: Any, device: str) -> None:
    with pytest.raises(BackendError, match=device):
        backend.to_array(np.ones(3), device=device)


@pytest.mark.parametrize(
    ("array", "is_exact"),
    [
        (np.array([1, 2**31 - 1]), True),
        (np.array([2**31]), False),
        (np.array([-1], dtype="int64"), True),
        (np.array([2**32 - 1], dtype="uint64"), True),
        (np.array([0.5, np.nan, -np.inf]), True),
        (np.array([0.1]), False),
        (np.array([1e300]), False),
        (np.array([1 + 1j]), True),
        (np.array([0.1 + 1j]), False),
    ],
)
def test_what_enters_a_program_is_exact_or_refused(array: np.ndarray, is_exact: bool) -> None:
    narrows = engine().program_dtype(array.dtype) != array.dtype
    if narrows and not is_exact:
        with pytest.raises(BackendError, match=r"(?s)'column'.*try: Ingest"):
            convert.for_program(array, name="column")
        return
    made = convert.for_program(array, name="column")
    assert made.dtype == engine().program_dtype(array.dtype)
    np.testing.assert_array_equal(made.astype(array.dtype), array)
