"""What stands behind a model: a module or a Keras model, called and looked into in one way.

A program holds on to the variables that it was traced with, so whoever runs one asks `is_current` first: a
variable that was replaced, or whose gradients were turned off, is found again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.autograph.core import ag_ctx

from mml_tf import keras_objects

_TRAINING = ("training", "is_training")
_OWN = __name__.partition(".")[0]
Edge = tuple[Any, Any, Any]


class Value(NamedTuple):
    """One variable inside a model, and what it is: ``param``, ``buffer`` or ``random``."""

    variable: tf.Variable
    role: str


class Native:
    """A module or Keras model that is there.

    Parameters
    ----------
    target : tf.Module or Keras layer
    """

    def __init__(self, target: Any) -> None:
        self.target = target
        self.is_keras = keras_objects.is_layer(target)
        self.captured: list[tf.Variable] = []
        self._call = _plain_call(type(target))
        self._flag = "training" if self.is_keras else _training_argument(self._call)
        self.is_own = type(target).__module__.startswith(f"{_OWN}.")
        self._converts = not (self.is_keras or self.is_own)
        self._edges: list[Edge] = []
        self._trainable: list[tuple[Any, bool]] = []

    def __call__(self, inputs: tf.Tensor, *, training: bool) -> Any:
        """Run it in training or inference mode, where it tells the two apart."""
        named = {} if self._flag is None else {self._flag: training}
        call = graph_form(self._call) if self._converts and not tf.executing_eagerly() else self._call
        return call(self.target, inputs, **named)

    def values(self) -> dict[str, Value]:
        """Return every variable by its place in the model; a shared one once, under its first name."""
        found: dict[str, Value] = {}
        seen: set[int] = set()
        self._edges, self._trainable = [], []
        for name, variable, role in self._named():
            if id(variable) not in seen:
                seen.add(id(variable))
                found[name] = Value(variable, role)
        for number, variable in enumerate(self.captured):
            if id(variable) not in seen:
                found[f"captured.{number}"] = Value(variable, _role_of_captured(variable))
        return found

    def seed_states(self) -> list[tf.Variable]:
        """Return the positions of Keras' generators, which follow the step's seed like everything else."""
        layers = [self.target]
        if not self.is_keras:
            layers = list(self.target._flatten(predicate=keras_objects.is_layer))
        generators = [one for layer in layers for one in keras_objects.seed_generators(layer)]
        return [one.state.value for one in generators]

    def is_current(self) -> bool:
        """Whether what `values` last found is still what stands there."""
        return all(_child(holder, key) is child for holder, key, child in self._edges) and all(
            variable.trainable is was for variable, was in self._trainable
        )

    def _named(self) -> Iterator[tuple[str, tf.Variable, str]]:
        if self.is_keras:
            yield from self._named_of_layer(self.target, "")
            return
        own = type(self.target).trainable_variables is not tf.Module.trainable_variables
        chosen = {id(one) for one in self.target.trainable_variables} if own else None
        found = [
            (list(_edges(self.target, path)), path, leaf)
            for path, leaf in self.target._flatten(predicate=_is_leaf, with_path=True)
        ]
        # As they were defined; the framework sorts attributes by name.
        for edges, path, leaf in sorted(found, key=lambda one: [_place(*edge[:2]) for edge in one[0]]):
            name = ".".join(map(str, path))
            self._edges += edges
            if isinstance(leaf, tf.random.Generator):
                yield f"{name}.state", leaf.state, "random"
            elif isinstance(leaf, tf.Variable):
                self._trainable.append((leaf, leaf.trainable))
                learns = leaf.trainable and (chosen is None or id(leaf) in chosen)
                yield name, leaf, "param" if learns and leaf.dtype.is_floating else "buffer"
            else:
                yield from self._named_of_layer(leaf, f"{name}.")

    def _named_of_layer(self, layer: Any, prefix: str) -> Iterator[tuple[str, tf.Variable, str]]:
        for name, variable, role in keras_objects.named_variables(layer):
            self._trainable.append((variable, variable.trainable))
            yield f"{prefix}{name}", variable.value, role


def _plain_call(cls: type) -> Callable[..., Any]:
    """Return the function that calling a model runs, without a ``tf.function`` around it.

    That would be traced once and keep what it saw then.
    """
    defined = inspect.getattr_static(cls, "__call__")
    called: Callable[..., Any] = getattr(defined, "python_function", None) or cls.__call__
    return called


def graph_form(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a user's function as it reads inside a graph, where conditions and loops have tensors."""
    # Programs are traced without this conversion, which would read all of MML's source too.
    enabled = ag_ctx.ControlStatusCtx(status=ag_ctx.Status.ENABLED)
    converted: Callable[..., Any] = tf.__internal__.autograph.tf_convert(function, enabled)
    return converted


def _training_argument(call: Callable[..., Any]) -> str | None:
    try:
        taken = inspect.signature(call).parameters
    except (TypeError, ValueError):
        return None
    return next((name for name in _TRAINING if name in taken), None)


def _is_leaf(value: Any) -> bool:
    return isinstance(value, tf.Variable | tf.random.Generator) or keras_objects.is_layer(value)


def _role_of_captured(variable: tf.Variable) -> str:
    """Tell a generator's state from other variables that a model reaches past its own attributes."""
    return "random" if variable.dtype.is_integer and len(variable.shape) == 1 else "buffer"


def _edges(module: tf.Module, path: Sequence[Any]) -> Iterator[Edge]:
    """Return, for each step of a path into a module, the holder, the key, and what was found there."""
    holder: Any = module
    for key in path:
        child = _child(holder, key)
        yield holder, key, child
        holder = child


def _place(holder: Any, key: Any) -> int:
    """Return where a child stands among its holder's, in the order of definition."""
    if isinstance(key, int) and not isinstance(holder, Mapping):
        return key
    names = list(vars(holder) if isinstance(holder, tf.Module) else holder)
    return names.index(key) if key in names else 0


def _child(holder: Any, key: Any) -> Any:
    try:
        return vars(holder)[key] if isinstance(holder, tf.Module) else holder[key]
    except (KeyError, IndexError, TypeError):
        return None
