"""What a model makes of an input's shape: found by running it on zeros, leaving every value as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from mml.errors import MMLError, ModelError, ShapeError
from mml_tf import keras_objects
from mml_tf.native import Native

_ROWS = 2


@dataclass(frozen=True)
class Probe:
    """What a model gives for one input shape: the shape of one output sample, and the output's dtype."""

    shape: tuple[int, ...]
    dtype: tf.DType


def floating_dtype(native: Native) -> tf.DType | None:
    """Return the dtype of the model's first floating parameter, or variable; None where it has none."""
    values = sorted(native.values().values(), key=lambda one: one.role != "param")
    return next((one.variable.dtype for one in values if one.variable.dtype.is_floating), None)


def probe(native: Native, input_shape: tuple[int, ...], *, label: str) -> Probe:
    """Run a model in inference mode on zeros of ``(2, *input_shape)``.

    Variables that are made at the first call get their shapes and first values here; those that exist
    already keep theirs.

    Raises
    ------
    ShapeError
        If the model does not take such an input, or does not keep the rows.
    ModelError
        If it fails otherwise, or returns something else than one tensor.
    """
    with _values_kept(native):
        output = _first_that_runs(native, input_shape, label)
    if native.is_keras:
        keras_objects.refuse_added_losses(native.target, where={"node": label or None})
    if not isinstance(output, tf.Tensor):
        raise ModelError(
            "A model in the graph returns one tensor.",
            where={"node": label or None},
            found=type(output).__name__,
            hint="Wrap it in a module that picks the tensor out of what it returns.",
        )
    if not output.shape.rank or output.shape[0] != _ROWS:
        raise ShapeError(
            "A model in the graph must keep the rows.",
            where={"node": label or None},
            expected=f"({_ROWS}, ...) for {_ROWS} rows",
            found=str(tuple(output.shape)),
        )
    return Probe(tuple(output.shape[1:]), output.dtype)


def captured_variables(native: Native, input_shape: tuple[int, ...]) -> list[tf.Variable]:
    """Return the variables that training would reach and that no attribute of the model leads to.

    A generator of random numbers made elsewhere is one; without its position a run would not continue with
    the same numbers. The model is traced, not run.
    """
    known = {id(one.variable) for one in native.values().values()}
    dtype = floating_dtype(native) or tf.float32
    traced = tf.function(lambda inputs: native(inputs, training=True), autograph=False)
    try:
        graph = traced.get_concrete_function(tf.TensorSpec([_ROWS, *input_shape], dtype)).graph
    except Exception:  # noqa: BLE001 -- whoever compiles it tells what is wrong with it in training
        return []
    return [one for one in graph.variables if id(one) not in known]


def _first_that_runs(native: Native, input_shape: tuple[int, ...], label: str) -> Any:
    try:
        return native(tf.zeros([_ROWS, *input_shape], floating_dtype(native) or tf.float32), training=False)
    except MMLError as error:
        raise error.located({"node": label or None}) from error.__cause__
    except Exception as cause:  # noqa: BLE001 -- told below, unless the second attempt runs
        try:
            # Embeddings take whole numbers only.
            return native(tf.zeros([_ROWS, *input_shape], tf.int64), training=False)
        except Exception:  # noqa: BLE001 -- the first failure is the one to tell
            raise _refusal(native, input_shape, cause, label) from cause


def _refusal(
    native: Native, input_shape: tuple[int, ...], cause: Exception, label: str
) -> ModelError | ShapeError:
    is_shape = isinstance(cause, ValueError | IndexError | tf.errors.InvalidArgumentError)
    first = next(iter(native.values().items()), None)
    return (ShapeError if is_shape else ModelError)(
        f"The model does not run on inputs of this shape: {cause}",
        where={"node": label or None},
        expected=None
        if first is None
        else f"what its variable {first[0]!r} of shape {tuple(first[1].variable.shape)} takes",
        found=f"samples of shape {input_shape}",
    )


@contextmanager
def _values_kept(native: Native) -> Iterator[None]:
    kept = [(one.variable, one.variable.read_value()) for one in native.values().values()]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
