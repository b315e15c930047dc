"""GRAD: the whole gradient against differences of the loss, through two heads and a shared trunk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mml.backends import BaseModel
from mml_conformance.bench import Head, Settings, Wiring, losses_of, make_segment, run, states_of
from mml_conformance.expect import expect_close
from mml_conformance.registry import check
from mml_conformance.subject import Subject
from mml_conformance.wirings import HIDDEN, WIDTH, draw

_STEP = 1e-6
_WALK = 0.02


@check(
    "GRAD-differences",
    "The gradient of every parameter is the slope of the loss: two heads, batch norm, dropout.",
    needs="float64",
)
def differences(subject: Subject) -> None:
    """Differentiate the training loss by central differences in float64, with one seed throughout."""
    wiring = _two_heads(subject.mlp64, dtype="float64", dropout=0.2)
    optimizer = subject.optimizer("sgd")
    segment = make_segment(subject.backend, wiring, learning=tuple(wiring.nodes), optimizer=optimizer)
    program = subject.backend.compile(segment)
    start = {label: model.get_state() for label, model in wiring.models.items()}

    def total(label: str, name: str, index: tuple[int, ...], change: float) -> float:
        _restore(wiring, start)
        state = {key: np.array(value) for key, value in start[label].items()}
        state[name][index] += change
        wiring.models[label].set_state(state)
        losses = losses_of(subject.backend, run(program, wiring, Settings(rates=[0.0])))
        return float(sum(head.weight * loss for head, loss in zip(wiring.heads, losses[0], strict=True)))

    _restore(wiring, start)
    before = states_of(wiring)
    run(program, wiring, Settings(rates=[1.0]))
    after = states_of(wiring)
    for label, model in wiring.models.items():
        for spec in (one for one in model.variables() if one.role == "param"):
            expected = np.zeros(spec.shape)
            for index in np.ndindex(*spec.shape):
                up, down = (total(label, spec.name, index, change) for change in (_STEP, -_STEP))
                expected[index] = (up - down) / (2 * _STEP)
            name = f"{label}/{spec.name}"
            because = "central differences of step 1e-6 in float64"
            expect_close(before[name] - after[name], expected, within=1e-6, because=because, given=name)


@check(
    "GRAD-direction",
    "The gradient's length is how fast the loss falls along it, in float32.",
    needs="gradients",
)
def direction(subject: Subject) -> None:
    """Walk a little both ways along the gradient of two heads, and compare the loss with its slope."""
    wiring = _two_heads(subject.mlp, dtype="float32", dropout=0.0)
    optimizer = subject.optimizer("sgd")
    segment = make_segment(subject.backend, wiring, learning=tuple(wiring.nodes), optimizer=optimizer)
    program = subject.backend.compile(segment)
    start = {label: model.get_state() for label, model in wiring.models.items()}
    weights = np.array([head.weight for head in wiring.heads])

    def walked(rate: float) -> tuple[float, dict[str, np.ndarray]]:
        """Step by `rate` along the gradient; return the loss there, and how far each value went."""
        _restore(wiring, start)
        before = states_of(wiring)
        run(program, wiring, Settings(rates=[rate]))
        moved = {name: before[name].astype(np.float64) - value for name, value in states_of(wiring).items()}
        losses = losses_of(subject.backend, run(program, wiring, Settings(rates=[0.0])))
        return float(losses[0] @ weights), {name: moved[name] for name in _parameters(wiring)}

    down, up = walked(_WALK)[0], walked(-_WALK)[0]
    _, gradient = walked(1.0)
    squared = sum(float((part**2).sum()) for part in gradient.values())
    because = "a central difference of step 0.02 in float32"
    expect_close((up - down) / (2 * _WALK * squared), 1.0, within=2e-3, because=because)


def _parameters(wiring: Wiring) -> list[str]:
    return [
        f"{label}/{spec.name}"
        for label, model in wiring.models.items()
        for spec in model.variables()
        if spec.role == "param"
    ]


def _restore(wiring: Wiring, start: dict[str, dict[str, np.ndarray]]) -> None:
    for label, model in wiring.models.items():
        model.set_state(start[label])


def _two_heads(mlp: Callable[..., BaseModel], *, dtype: str, dropout: float) -> Wiring:
    settings = {"activation": "tanh", "hidden": [3]}
    trunk = mlp(
        "trunk",
        input_shape=(WIDTH,),
        output_shape=(HIDDEN,),
        **{**settings, "batch_norm": True, "dropout": dropout},
    )
    one = mlp("one", input_shape=(HIDDEN,), output_shape=(1,), seed=1, **settings)
    two = mlp("two", input_shape=(HIDDEN,), output_shape=(2,), seed=2, **settings)
    nodes = {"trunk": (trunk, ("x",)), "one": (one, ("trunk",)), "two": (two, ("trunk",))}
    inputs = draw(dtype=dtype, steps=1, capacity=7, x=(WIDTH,), y=(1,), z=(2,), w=(1,))
    heads = [
        Head("one", weight=0.7, sample_weight="w"),
        Head("two", targets="z", loss="huber", weight=1.9),
        Head("one", targets="y", loss="bce_logits", weight=0.3),
    ]
    return Wiring(nodes, inputs, heads)
