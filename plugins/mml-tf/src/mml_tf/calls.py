"""The calls and losses of a segment as functions of one step's values, made once for a program.

What is known from the segment (which model, which values, whose rows have to be cut) is decided here. A count
of rows is a tensor where one function serves steps of any number of rows, else a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from mml.backends import Call, Segment, SegmentLoss
from mml.errors import LossError, MMLError, ModelError
from mml_tf.native import Native
from mml_tf.ops import TensorflowOps

_NO_VALUES = (
    "Inside a program tensors have no values yet: use operations of TensorFlow, or let the loss take a "
    "parameter `context`, which makes the steps run one by one."
)

Values = dict[str, tf.Tensor]
Fetch = Callable[[Values, Any], tf.Tensor]


@dataclass(frozen=True, slots=True)
class CompiledCall:
    """One call: its result's name, its node, whose rows it has, and what computes it in either mode."""

    key: str
    node: str
    rows: int
    learns: bool
    run: Callable[[Values, Any, bool], tf.Tensor]


@dataclass(frozen=True, slots=True)
class CompiledLoss:
    """One loss: whose rows it has, its weight, whether it is a sum over rows, and what computes it."""

    label: str
    rows: int
    weight: float
    is_sum: bool
    run: Callable[[Values, Any, Any], tf.Tensor]


def compile_calls(segment: Segment, natives: Mapping[str, Native], ops: TensorflowOps) -> list[CompiledCall]:
    """Return the calls, in order."""
    columns = _columns(segment)
    return [
        CompiledCall(
            call.key,
            call.node,
            call.rows,
            segment.mode == "train" and call.learns,
            _guarded(_call(call, columns, natives, ops), call),
        )
        for call in segment.calls
    ]


def compile_losses(segment: Segment) -> list[CompiledLoss]:
    """Return the losses, in order."""
    columns = _columns(segment)
    return [
        CompiledLoss(
            loss.label,
            loss.rows,
            float(loss.weight),
            bool(getattr(loss.function, "is_sum", False)),
            _guarded_loss(_loss(loss, columns), loss),
        )
        for loss in segment.losses
    ]


def _columns(segment: Segment) -> dict[str, int]:
    return {one.name: one.rows for one in segment.inputs} | {one.key: one.rows for one in segment.calls}


def _fetch(name: str, column: int, wanted: int) -> Fetch:
    """Return what reads a value; live rows stand first, so fewer of them are the first ones."""
    if column == wanted:
        return lambda values, count: values[name]  # noqa: ARG005 -- one signature for both
    return lambda values, count: values[name][:count]


def _call(
    call: Call, columns: dict[str, int], natives: Mapping[str, Native], ops: TensorflowOps
) -> Callable[[Values, Any, bool], tf.Tensor]:
    fetches = [_fetch(name, columns[name], call.rows) for name in call.sources]
    if call.merge is not None:
        merge = call.merge.merge
        return lambda values, count, training: merge(  # noqa: ARG005 -- a merge has no modes
            ops, [fetch(values, count) for fetch in fetches]
        )
    native, fetch = natives[call.node], fetches[0]
    return lambda values, count, training: native(fetch(values, count), training=training)


def _guarded(
    run: Callable[[Values, Any, bool], tf.Tensor], call: Call
) -> Callable[[Values, Any, bool], tf.Tensor]:
    def guarded(values: Values, count: Any, training: bool) -> tf.Tensor:
        try:
            return run(values, count, training)
        except MMLError as error:
            raise error.located({"node": call.node}) from error.__cause__
        except Exception as cause:
            raise ModelError(
                f"The node failed: {cause}", where={"node": call.node}, found=described(values, call.sources)
            ) from cause

    return guarded


def _loss(loss: SegmentLoss, columns: dict[str, int]) -> Callable[[Values, Any, Any], tf.Tensor]:
    function: Callable[..., tf.Tensor] = loss.function
    fetches = [_fetch(name, columns[name], loss.rows) for name in loss.arguments]

    def compute(values: Values, count: Any, context: Any, **how: Any) -> tf.Tensor:
        arrays = [fetch(values, count) for fetch in fetches]
        named = dict(zip(loss.keywords, arrays, strict=True)) if loss.keywords else {}
        named |= {"context": context} if loss.context else {}
        return function(*([] if loss.keywords else arrays), **named, **how)

    if loss.sample_weight is None:
        return compute
    fetch_weights = _fetch(loss.sample_weight, columns[loss.sample_weight], loss.rows)
    is_sum = bool(getattr(function, "is_sum", False))

    def weighted(values: Values, count: Any, context: Any) -> tf.Tensor:
        rows = compute(values, count, context, reduction="none")
        weights = tf.reshape(tf.cast(fetch_weights(values, count), rows.dtype), [-1])
        total = tf.reduce_sum(rows * weights)
        return total if is_sum else total / tf.cast(count, rows.dtype)

    return weighted


def _guarded_loss(
    run: Callable[[Values, Any, Any], tf.Tensor], loss: SegmentLoss
) -> Callable[[Values, Any, Any], tf.Tensor]:
    def guarded(values: Values, count: Any, context: Any) -> tf.Tensor:
        try:
            return run(values, count, context)
        except MMLError as error:
            if error.hint is None and "numpy" in str(error.__cause__).lower():
                error.hint = _NO_VALUES
            raise error.located({"loss": loss.label}) from error.__cause__
        except Exception as cause:
            raise LossError(
                f"The loss failed: {cause}",
                where={"loss": loss.label},
                found=described(values, loss.arguments, told=loss.written),
                hint=_NO_VALUES if "numpy" in str(cause).lower() else None,
            ) from cause

    return guarded


def described(values: Values, names: tuple[str, ...], told: tuple[str, ...] = ()) -> str:
    """Return dtype and shape of each of these values, for messages."""
    return ", ".join(
        f"{shown!r}: {values[name].dtype.name} of shape {tuple(values[name].shape)}"
        if name in values
        else f"no {shown!r}"
        for name, shown in zip(names, told or names, strict=True)
    )
