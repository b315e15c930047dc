"""Putting other operations in place of some that a model creates, while a step is traced on this thread.

The framework offers this to its debugger. What was created first stays in the graph without a use, and is
dropped when the graph is optimised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_callbacks

Replacement = Callable[[str, Sequence[tf.Tensor], Sequence[tf.Tensor], tf.Graph], Sequence[tf.Tensor] | None]
"""``replace(op_type, inputs, outputs, graph)``: the outputs to use instead, or None for those there are."""


@contextmanager
def replacing(replace: Replacement) -> Iterator[None]:
    """Ask about every operation that is created meanwhile.

    Parameters
    ----------
    replace : callable
        What it creates itself is not asked about.
    """

    def callback(  # noqa: PLR0917 -- the framework's signature
        op_type: str,
        inputs: Sequence[tf.Tensor],
        attrs: Any,  # noqa: ARG001
        outputs: Sequence[tf.Tensor] | None,
        op_name: str | None = None,
        graph: Any = None,
    ) -> Sequence[tf.Tensor] | None:
        if graph is None:
            return outputs
        # Each callback is given what the one before returned, and the last one's word counts.
        given = graph.get_operation_by_name(op_name).outputs if outputs is None else outputs
        return replace(op_type, inputs, given, graph) or list(given)

    op_callbacks.add_op_callback(callback)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(callback)
