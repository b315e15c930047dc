"""Arrays across the border between NumPy and TensorFlow: equal bits, owned memory, refusals by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mml.errors import BackendError

# What NumPy has no dtype for is written down as integers of the same size.
_BITS = {1: tf.uint8, 2: tf.int16}
_KINDS = "biufc"
_LONG = "gG"


def to_tensor(array: Any) -> tf.Tensor:
    """Return a tensor of equal dtype, shape and bits that owns its memory.

    Parameters
    ----------
    array : ndarray
        Of any layout in memory; it is only read.
    """
    check_array(array)
    # `tf.constant` copies, whatever the layout: the framework's own guard against shared memory.
    return tf.constant(np.asarray(array))


def check_array(array: Any) -> None:
    """Refuse what is no NumPy array, or of a dtype that the framework does not have.

    Raises
    ------
    BackendError
        Naming the dtype: text, objects, dates, long doubles, foreign byte orders.
    """
    if not isinstance(array, np.ndarray | np.generic):
        raise BackendError(
            "Only NumPy arrays become tensors.", expected="numpy.ndarray", found=_full_name(type(array))
        )
    dtype = array.dtype
    if dtype.kind not in _KINDS or dtype.char in _LONG or not dtype.isnative:
        raise BackendError(
            "TensorFlow has no such dtype.",
            expected="bool, integers, and floating or complex numbers of up to 64 bits a part",
            found=f"an array of dtype {dtype!r}",
            hint="Convert the column to numbers in native byte order first.",
        )


def to_numpy(tensor: Any) -> np.ndarray:
    """Return an array of equal dtype, shape and bits that owns its memory."""
    check_tensor(tensor)
    if not has_numpy_dtype(tensor.dtype):
        raise BackendError(
            "NumPy has no such dtype.",
            found=f"a tensor of {tensor.dtype.name}",
            hint="Cast it, e.g. to float32.",
        )
    return np.array(tensor.numpy())


def check_tensor(tensor: Any) -> None:
    """Refuse what is no dense tensor with values."""
    if not is_dense(tensor):
        raise BackendError(
            "This is no tensor of TensorFlow with values.",
            expected="an eager tf.Tensor or a tf.Variable",
            found=_full_name(type(tensor)),
        )


def is_dense(value: Any) -> bool:
    """Whether it is a tensor or variable that holds values, and neither symbolic, sparse nor ragged."""
    return isinstance(value, tf.Tensor | tf.Variable) and hasattr(value, "numpy")


def bits_of(tensor: tf.Tensor | tf.Variable) -> np.ndarray:
    """Return `to_numpy`'s array, or one of integers with the same bits where NumPy lacks the dtype."""
    if has_numpy_dtype(tensor.dtype):
        return to_numpy(tensor)
    return to_numpy(tf.bitcast(tf.convert_to_tensor(tensor), _BITS[tensor.dtype.size]))


def from_bits(array: np.ndarray, dtype: tf.DType) -> tf.Tensor:
    """Return the tensor of a dtype that `bits_of` wrote down."""
    tensor = to_tensor(array)
    return tensor if has_numpy_dtype(dtype) else tf.bitcast(tensor, dtype)


def bits_dtype(dtype: tf.DType) -> np.dtype[Any]:
    """Return the dtype in which `bits_of` writes tensors of a dtype down."""
    kept = dtype if has_numpy_dtype(dtype) else _BITS[dtype.size]
    return np.dtype(kept.as_numpy_dtype)


def has_numpy_dtype(dtype: tf.DType) -> bool:
    """Whether NumPy itself has the dtype; extensions of it, such as bfloat16, are not shared by everybody."""
    return np.dtype(dtype.as_numpy_dtype).kind in _KINDS


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
