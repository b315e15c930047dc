"""Models whose values would be narrower than they say: Keras makes them without a word.

Such a model is refused when it is built, so that nobody trains in float32 what was declared in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mml.errors import BackendError
from mml_keras3.engines import engine
from mml_keras3.framework import keras
from mml_keras3.structure import layers_of, named_variables

_ROWS = 2


@contextmanager
def widths_are_checked() -> Iterator[None]:
    """Silence the engine's warnings of narrowed dtypes, for a construction that `require_widths` follows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Explicitly requested dtype")
        yield


def require_widths(model: Any, input_shape: tuple[int, ...], *, label: str) -> None:
    """Refuse a model that asks for a dtype that it would not compute in.

    Raises
    ------
    BackendError
        With the variable or layer, the dtype, and what would allow it.
    """
    asked = {one.name: str(one.variable._dtype) for one in named_variables(model) if one.role != "random"}
    asked |= {one.name: str(one.compute_dtype) for one in layers_of(model)}
    for name, dtype in asked.items():
        narrow = _narrowed(dtype)
        if narrow is not None:
            raise BackendError(
                f"Keras on {engine().name!r} computes in 32 bits here, and {name!r} asks for {dtype}.",
                where={"node": label or None},
                expected=str(narrow),
                found=dtype,
                hint="Make the model in 32 bits, or set JAX_ENABLE_X64=1 before Python starts.",
            )
    if "float64" in asked.values():
        _require_no_narrowing(model, input_shape, label)


def _require_no_narrowing(model: Any, input_shape: tuple[int, ...], label: str) -> None:
    def run(inputs: Any) -> Any:
        with keras.StatelessScope():
            return model(inputs, training=True)

    what = engine().narrowed_in(run, (_ROWS, *input_shape))
    if what is not None:
        raise BackendError(
            f"Keras on {engine().name!r} computes {what} in 32 bits, and the model is declared in float64.",
            where={"node": label or None},
            expected="float64 throughout",
            hint="Make the model in float32, or run it where Keras has TensorFlow for its engine.",
        )


def _narrowed(dtype: str) -> np.dtype[Any] | None:
    """Return the dtype that values of this one would have, None where it is the same."""
    try:
        wide = np.dtype(dtype)
    except TypeError:
        return None
    narrow = engine().program_dtype(wide)
    return None if narrow == wide else narrow
