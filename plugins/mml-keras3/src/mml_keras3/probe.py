"""What a model makes of an input's shape: found by running it on shapes alone, which builds what is unbuilt.

Nothing is computed and no value moves: Keras traces the call in inference mode. Layers that were not built
yet get their variables here, and their first values.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

from mml.errors import MMLError, ModelError, ShapeError
from mml_keras3.framework import keras
from mml_keras3.internals import compute_output_spec

_ROWS = 2
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_MAX_REASON = 400


@dataclass(frozen=True)
class Probe:
    """What a model gives for one input shape: the shape of one output sample, and the output's dtype."""

    shape: tuple[int, ...]
    dtype: str


def probe(model: Any, input_shape: tuple[int, ...], *, label: str) -> Probe:
    """Run a model in inference mode on the shape ``(2, *input_shape)``.

    Raises
    ------
    ShapeError
        If the model does not take such an input, or does not keep the rows.
    ModelError
        If it fails otherwise, or returns something else than one array.
    """
    output = _first_that_runs(model, input_shape, label)
    if not isinstance(output, keras.KerasTensor):
        raise ModelError(
            "A model in the graph returns one array.",
            where={"node": label or None},
            found=type(output).__name__,
            hint="Wrap it in a model that picks the array out of what it returns.",
        )
    shape = tuple(output.shape)
    if not shape or shape[0] != _ROWS:
        raise ShapeError(
            "A model in the graph must keep the rows.",
            where={"node": label or None},
            expected=f"({_ROWS}, ...) for {_ROWS} rows",
            found=str(shape),
        )
    if None in shape:
        raise ShapeError(
            "The model's output has an axis of unknown length.",
            where={"node": label or None},
            found=str(shape),
            hint="Give its layers and inputs whole shapes.",
        )
    return Probe(shape[1:], str(output.dtype))


def reason_of(cause: BaseException) -> str:
    """Return the line of Keras' message that says what is wrong."""
    text = _ESCAPES.sub("", str(cause)).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].startswith("Exception encountered"):
        lines = lines[1:]
    reason = lines[0] if lines else type(cause).__name__
    return reason if len(reason) <= _MAX_REASON else reason[: _MAX_REASON - 1] + "…"


def _first_that_runs(model: Any, input_shape: tuple[int, ...], label: str) -> Any:
    try:
        return _traced(model, input_shape, model.input_dtype)
    except MMLError:
        raise
    except Exception as cause:  # noqa: BLE001 -- told below, unless the second attempt runs
        try:
            # Embeddings and lookups take whole numbers only.
            return _traced(model, input_shape, "int32")
        except Exception:  # noqa: BLE001 -- the first failure is the one to tell
            raise _refusal(model, input_shape, cause, label) from cause


def _traced(model: Any, input_shape: tuple[int, ...], dtype: str) -> Any:
    with warnings.catch_warnings():
        # Keras warns where a subclassed model has no build(): building it by a call is what happens here.
        warnings.filterwarnings("ignore", message=r"`build\(\)` was called on layer")
        return compute_output_spec(
            lambda inputs: model(inputs, training=False),
            keras.KerasTensor((_ROWS, *input_shape), dtype=dtype),
        )


def _refusal(
    model: Any, input_shape: tuple[int, ...], cause: Exception, label: str
) -> ModelError | ShapeError:
    is_shape = isinstance(cause, ValueError | IndexError | AssertionError | RuntimeError)
    kind = ShapeError if is_shape else ModelError
    return kind(
        f"The model does not run on inputs of this shape: {reason_of(cause)}",
        where={"node": label or None},
        expected=f"what {type(model).__name__} {model.name!r} takes",
        found=f"samples of shape {input_shape}",
    )
