"""Matrix products in bfloat16: while a step is traced, each is made in half the bits and comes back whole.

Everything else (parameters, gradients, slots, losses, statistics) stays in its own dtype. The products of the
backward pass are among those that are traced, so they are half precise too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.eager import record

from mml_tf.replacing import replacing

PRECISIONS = ("float32", "bf16")

_PRODUCTS = frozenset(
    {
        "MatMul",
        "BatchMatMul",
        "BatchMatMulV2",
        "Einsum",
        "Conv2D",
        "Conv2DBackpropFilter",
        "Conv2DBackpropInput",
    }
)
_HALF = attr_value_pb2.AttrValue(type=tf.bfloat16.as_datatype_enum)


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Compute matrix products of float32 in a precision while a graph is traced.

    Parameters
    ----------
    precision : {"float32", "bf16"}
    """
    if precision == "float32":
        yield
        return
    with replacing(_halved):
        yield


def _halved(
    op_type: str, inputs: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor], graph: tf.Graph
) -> list[tf.Tensor] | None:
    """Return a product in bfloat16, widened again."""
    if op_type not in _PRODUCTS or outputs[0].dtype != tf.float32:
        return None
    # The tape goes on to see the product that it knows the gradient of.
    with record.stop_recording():
        narrow = [tf.cast(one, tf.bfloat16) if one.dtype == tf.float32 else one for one in inputs]
        attributes = dict(outputs[0].op.node_def.attr) | {"T": _HALF}
        made = graph.create_op(op_type, narrow, [tf.bfloat16], attrs=attributes).outputs[0]
        wide = tf.cast(made, tf.float32)
    wide.set_shape(outputs[0].shape)
    return [wide]
