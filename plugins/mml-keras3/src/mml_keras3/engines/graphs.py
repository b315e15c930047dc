"""Functions of nested arrays as one `ConcreteFunction`, called without checking every argument anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

_CONVOLUTIONS = ("Conv", "DepthwiseConv")


class Traced:
    """A function of nested tensors, NumPy arrays and None, traced at its first call.

    Parameters
    ----------
    function : callable
    compiler : bool
        Hand it to XLA.
    """

    def __init__(self, function: Callable[..., Any], *, compiler: bool) -> None:
        self._function = function
        self._compiler = compiler
        self._concrete: Any = None
        self._result: Any = None

    @property
    def graph(self) -> Any:
        """The graph of what was traced."""
        return self._concrete.graph

    def trace(self, *arguments: Any) -> None:
        """Trace for arguments like these."""
        flat = tf.nest.flatten(arguments)
        present = [one is not None for one in flat]

        def run(*tensors: Any) -> Any:
            rest = iter(tensors)
            whole = [next(rest) if there else None for there in present]
            result = self._function(*tf.nest.pack_sequence_as(arguments, whole))
            self._result = tf.nest.map_structure(lambda _: 0, result)
            return tf.nest.flatten(result)

        specs = [tf.TensorSpec(one.shape, one.dtype) for one in flat if one is not None]
        traced = tf.function(run, autograph=False, jit_compile=True if self._compiler else None)
        self._concrete = traced.get_concrete_function(*specs)

    def __call__(self, *arguments: Any) -> Any:
        """Call it with arrays of the shapes that it was traced for."""
        if self._concrete is None:
            self.trace(*arguments)
        flat = [tf.convert_to_tensor(one) for one in tf.nest.flatten(arguments) if one is not None]
        return tf.nest.pack_sequence_as(self._result, self._call(flat))

    def _call(self, flat: list[Any]) -> list[Any]:
        # The public way checks every argument anew, which takes longer than a small step.
        call = getattr(self._concrete, "_call_flat", None)
        if call is None:
            return list(self._concrete(*flat))
        return list(call(flat, self._concrete.captured_inputs))


def has_convolution(graph: Any) -> bool:
    """Whether a convolution stands anywhere in a graph."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for one in definition.library.function for node in one.node_def)]
    return any(node.op.startswith(_CONVOLUTIONS) for node in nodes)
