"""The wirings that several checks use. Sizes are odd and coprime: round ones hide broadcasting mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mml_conformance.bench import Head, Wiring
from mml_conformance.subject import Subject

STEPS, CAPACITY, WIDTH, HIDDEN = 7, 3, 4, 5


def draw(
    *, dtype: str = "float32", steps: int = STEPS, capacity: int = CAPACITY, **shapes: Any
) -> dict[str, np.ndarray]:
    """Draw normal data for each name, ``(steps, capacity, *shape)``."""
    generator = np.random.default_rng(17)
    return {
        name: generator.normal(size=(steps, capacity, *shape)).astype(dtype) for name, shape in shapes.items()
    }


def one_head(subject: Subject, *, head: Head | None = None, outputs: int = 1, **settings: Any) -> Wiring:
    """Wire one `mlp` with one head; `settings` are the model's."""
    model = subject.mlp(
        input_shape=(WIDTH,),
        output_shape=(outputs,),
        **{"hidden": [HIDDEN], "activation": "tanh", **settings},
    )
    return Wiring({"model": (model, ("x",))}, draw(x=(WIDTH,), y=(outputs,), w=(1,)), [head or Head("model")])


def chain(subject: Subject, **settings: Any) -> Wiring:
    """Wire a trunk, with batch norm and dropout unless `settings` say otherwise, and a head below it."""
    trunk = subject.mlp(
        "trunk",
        input_shape=(WIDTH,),
        output_shape=(HIDDEN,),
        seed=1,
        **{"hidden": [HIDDEN], "batch_norm": True, "dropout": 0.3, **settings},
    )
    head = subject.mlp("head", input_shape=(HIDDEN,), output_shape=(1,), seed=2, hidden=[3])
    nodes = {"trunk": (trunk, ("x",)), "head": (head, ("trunk",))}
    return Wiring(nodes, draw(x=(WIDTH,), y=(1,)), [Head("head")])


def linear(subject: Subject, *, outputs: int = 1, label: str = "model", **settings: Any) -> Any:
    """Build one dense layer, ``(WIDTH,)`` to ``(outputs,)``."""
    return subject.mlp(label, input_shape=(WIDTH,), output_shape=(outputs,), hidden=[], **settings)


def set_linear(model: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    """Set a dense layer's values; `weight` has shape (in, out), however the backend stores it."""
    state = dict(model.get_state())
    for spec in model.variables():
        value = bias if len(spec.shape) == 1 else weight if spec.shape == weight.shape else weight.T
        state[spec.name] = np.ascontiguousarray(value, dtype=spec.dtype).reshape(spec.shape)
    model.set_state(state)


def get_linear(model: Any, *, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a dense layer's weight, shape (inputs, outputs), and bias in float64."""
    state = model.get_state()
    state = {spec.name: np.asarray(state[spec.name], np.float64) for spec in model.variables()}
    (weight,) = [value for value in state.values() if value.ndim == 2]
    (bias,) = [value for value in state.values() if value.ndim == 1]
    return (weight if weight.shape == (inputs, outputs) else weight.T), bias
