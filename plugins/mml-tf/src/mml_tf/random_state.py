"""Random numbers that follow a seed alone, and the process-wide generators, lent out under one lock.

A `Stream` is what a build or a step draws from: stateless operations, keyed by the seed and by how often it
was drawn from. While a step is traced, the framework's stateful random operations (``tf.nn.dropout``,
``tf.random.normal``), whose position lives inside a kernel where nobody can save it, are given numbers of the
stream instead.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import config

from mml_tf.replacing import replacing

# The same bits from one seed with and without the optimising compiler, on every device.
ALGORITHM = "philox"

_lock = threading.RLock()
_current = threading.local()
# Stands in for the framework's generator meanwhile, so that giving the real one back costs nothing.
_spare = random.Random(0)


class Stream:
    """Seeds for stateless operations, each one different.

    Parameters
    ----------
    seed : int or scalar int64 tensor
    graph : tf.Graph, optional
        The graph that a step is traced into; draws elsewhere would not follow the step's seed.
    """

    def __init__(self, seed: Any, graph: tf.Graph | None = None) -> None:
        self.seed = seed if isinstance(seed, tf.Tensor) else tf.constant(seed, tf.int64)
        self.graph = graph
        self.drawn = 0

    def next_seed(self) -> tf.Tensor:
        """Return a seed of shape (2,) that no other draw gets."""
        self.drawn += 1
        return tf.stack([self.seed, tf.constant(self.drawn, tf.int64)])

    def reaches(self, graph: Any) -> bool:
        """Whether what is drawn inside a graph is drawn once a step, from this step's seed.

        A function of the user's own is traced once and keeps what it captured; a loop would draw the same
        numbers in every turn. Branches are neither.
        """
        while graph is not self.graph and "CondBranch" in type(graph).__name__:
            graph = graph.outer_graph
        return graph is self.graph


@contextmanager
def drawing_from(stream: Stream) -> Iterator[None]:
    """Let `next_seed`, and the framework's own random operations while tracing, draw from a stream."""
    before = getattr(_current, "stream", None)
    _current.stream = stream
    try:
        with nullcontext() if stream.graph is None else replacing(_repeatable):
            yield
    finally:
        _current.stream = before


def next_seed() -> tf.Tensor | None:
    """Return the next seed of the stream that this thread draws from, None where there is none.

    There is none inside a function or loop of the user's own, where numbers would repeat: whoever draws from
    the framework's generator there instead is found by `unrepeatable_operations`.
    """
    stream: Stream | None = getattr(_current, "stream", None)
    if stream is None or not (stream.graph is None or stream.reaches(tf.compat.v1.get_default_graph())):
        return None
    return stream.next_seed()


def _repeatable(
    op_type: str, inputs: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor], graph: tf.Graph
) -> list[tf.Tensor] | None:
    """Return the numbers of a stateless operation for those of a stateful one."""
    make = _STATELESS.get(op_type)
    stream: Stream = _current.stream
    if make is None or not stream.reaches(graph):
        return None
    made = make(inputs, stream.next_seed(), outputs[0].dtype)
    made.set_shape(outputs[0].shape)
    return [made]


_Stateless = Callable[[Sequence[tf.Tensor], tf.Tensor, tf.DType], tf.Tensor]
_STATELESS: dict[str, _Stateless] = {
    "RandomUniform": lambda inputs, seed, dtype: tf.random.stateless_uniform(
        inputs[0], seed, dtype=dtype, alg=ALGORITHM
    ),
    "RandomUniformInt": lambda inputs, seed, dtype: tf.random.stateless_uniform(
        inputs[0], seed, minval=inputs[1], maxval=inputs[2], dtype=dtype, alg=ALGORITHM
    ),
    "RandomStandardNormal": lambda inputs, seed, dtype: tf.random.stateless_normal(
        inputs[0], seed, dtype=dtype, alg=ALGORITHM
    ),
    "TruncatedNormal": lambda inputs, seed, dtype: tf.random.stateless_truncated_normal(
        inputs[0], seed, dtype=dtype, alg=ALGORITHM
    ),
    "Multinomial": lambda inputs, seed, dtype: tf.random.stateless_categorical(
        inputs[0], inputs[1], seed, dtype=dtype
    ),
    "RandomShuffle": lambda inputs, seed, dtype: tf.random.experimental.stateless_shuffle(  # noqa: ARG005
        inputs[0], seed, alg=ALGORITHM
    ),
}
_STATEFUL = frozenset(
    {
        *_STATELESS,
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomStandardNormal",
        "StatefulStandardNormal",
    }
)


def unrepeatable_operations(graph: tf.Graph) -> list[str]:
    """Return the operations, here or in functions called from here, whose numbers cannot be repeated."""
    definition = graph.as_graph_def()
    bodies = [list(definition.node)] + [list(one.node_def) for one in definition.library.function]
    returned = {value for one in definition.library.function for value in one.ret.values()}
    found = []
    for nodes in bodies:
        used = {name.lstrip("^").partition(":")[0] for node in nodes for name in node.input}
        used |= {name.partition(":")[0] for name in returned}
        found += [f"{node.op} ({node.name})" for node in nodes if node.op in _STATEFUL and node.name in used]
    return found


@contextmanager
def swapped(*, deterministic: bool = False) -> Iterator[None]:
    """Hold the lock; give the process-wide generators and the determinism setting back at the end.

    Parameters
    ----------
    deterministic : bool
        Refuse kernels that are not deterministic, meanwhile.
    """
    with _lock:
        framework = context.context()
        kept = {name: vars(framework)[name] for name in ("_seed", "_rng") if name in vars(framework)}
        was_deterministic = config.is_op_determinism_enabled()
        try:
            framework._rng = _spare
            if deterministic:
                config.enable_op_determinism()
            yield
        finally:
            for name in ("_seed", "_rng"):
                vars(framework).pop(name, None)
            vars(framework).update(kept)
            if deterministic and not was_deterministic:
                config.disable_op_determinism()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let everything that draws from here on follow a seed: this plugin's layers, the framework, and Keras.

    Within `swapped`, which gives the generators back.
    """
    python = random.getstate()
    try:
        # Keras seeds its layers from Python's own generator.
        random.seed(seed)
        tf.random.set_seed(seed)
        with drawing_from(Stream(seed)):
            yield
    finally:
        random.setstate(python)
