"""The variables of a Keras model by name, in an order and under names that are equal in every process.

Keras numbers layers that were given no name over the whole process, so that a variable's own path depends on
what was built before. Here such a layer is numbered within its parent: `dense`, `dense_1`, `block.dense`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mml_keras3.internals import to_snake_case


@dataclass(frozen=True, slots=True)
class NamedVariable:
    """One variable of a model.

    Parameters
    ----------
    name : str
    role : str
        ``"param"``, ``"buffer"`` or ``"random"``, as in `mml.backends.VariableSpec`.
    variable : keras.Variable
    layer : keras.Layer
        The layer that owns it.
    """

    name: str
    role: str
    variable: Any
    layer: Any


def named_variables(model: Any) -> tuple[NamedVariable, ...]:
    """Return every variable of a model once: a layer's own first, then those of the layers inside it."""
    found: dict[int, NamedVariable] = {}
    taken: set[str] = set()
    for prefix, layer in _layers(model, ()):
        for role, variable in _own_variables(layer):
            if id(variable) in found:
                continue
            name = _free(".".join((*prefix, variable.name)), taken)
            taken.add(name)
            found[id(variable)] = NamedVariable(name, role, variable, layer)
    return tuple(found.values())


def layers_of(model: Any) -> list[Any]:
    """Return a model and all layers inside it, each once, in the order of their names."""
    return list({id(layer): layer for _, layer in _layers(model, ())}.values())


def _layers(layer: Any, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield prefix, layer
    counts: dict[str, int] = {}
    for part in layer._layers:
        yield from _layers(part, (*prefix, _part_name(part, counts)))


def _part_name(layer: Any, counts: dict[str, int]) -> str:
    kind = to_snake_case(type(layer).__name__)
    if re.fullmatch(rf"{re.escape(kind)}(_\d+)?", layer.name) is None:
        return str(layer.name)
    number = counts.get(kind, 0)
    counts[kind] = number + 1
    return f"{kind}_{number}" if number else kind


def _own_variables(layer: Any) -> Iterator[tuple[str, Any]]:
    # In which list a variable stands does not change when its layer is frozen; `variable.trainable` does.
    for variable in layer._trainable_variables:
        yield "param", variable
    for variable in layer._non_trainable_variables:
        yield "buffer", variable
    for generator in layer._seed_generators:
        yield "random", generator.state


def _free(name: str, taken: set[str]) -> str:
    number, free = 0, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
