"""OPT: every named optimizer against float64 on four axes, and who counts as a step.

The gradient is known beforehand: one dense layer under `mae`, with targets so far away that the slope at
every output is -1 over the number of rows, whatever the optimizer does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mml_conformance.bench import Head, Settings, Wiring, train
from mml_conformance.expect import expect_relative
from mml_conformance.oracles import OPTIMIZERS
from mml_conformance.registry import Check, check
from mml_conformance.subject import Subject
from mml_conformance.wirings import WIDTH, draw, get_linear, linear, set_linear

_FAR = 1e4
_ROUNDING = "float32 rounding of each step, relative to the distance moved"
_START = np.array([[0.5], [-0.3], [0.2], [0.9]])


@dataclass(frozen=True)
class Axis:
    """One way to stress an optimizer: steps, size of the gradients, learning rates, starting point."""

    name: str
    steps: int
    rates: tuple[float, ...]
    size: float = 1.0
    start: float = 1.0


AXES = (
    Axis("one-step", 1, (0.1,)),
    Axis("twenty-steps", 20, (0.05,) * 20),
    # From zero, since a parameter's own size would hide how far it moved.
    Axis("tiny-gradients", 20, (0.05,) * 20, size=1e-6, start=0.0),
    Axis("schedule", 20, tuple(0.2 / (1 + step) ** 1.5 for step in range(20))),
)

VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sgd": ("sgd", {}),
    "sgd-momentum": ("sgd", {"momentum": 0.9}),
    "sgd-nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    "sgd-decay": ("sgd", {"momentum": 0.5, "weight_decay": 0.1}),
    "adam": ("adam", {}),
    "adam-decay": ("adam", {"betas": (0.7, 0.95), "weight_decay": 0.1}),
    "adamw": ("adamw", {}),
    "adamw-decay": ("adamw", {"weight_decay": 0.3}),
    "rmsprop": ("rmsprop", {}),
    "rmsprop-momentum": ("rmsprop", {"rho": 0.9, "momentum": 0.8}),
    "adagrad": ("adagrad", {}),
}


def _gradients(inputs: np.ndarray) -> np.ndarray:
    """Return the weight's gradient of each step, ``(steps, WIDTH, 1)``."""
    return -inputs.astype(np.float64).mean(axis=1)[..., None]


def _wired(subject: Subject, *, steps: int, size: float, start: float, label: str = "model") -> Wiring:
    model = linear(subject, label=label)
    set_linear(model, _START * start, np.zeros(1))
    inputs = draw(steps=steps, x=(WIDTH,))
    inputs["x"] = (inputs["x"] * size).astype(np.float32)
    inputs["y"] = np.full((*inputs["x"].shape[:2], 1), _FAR, np.float32)
    return Wiring({label: (model, ("x",))}, inputs, [Head(label, loss="mae")])


def _made(variant: str, axis: Axis) -> Check:
    name, settings = VARIANTS[variant]

    def follows(subject: Subject) -> None:
        wiring = _wired(subject, steps=axis.steps, size=axis.size, start=axis.start)
        before, _ = get_linear(wiring.models["model"], inputs=WIDTH, outputs=1)
        optimizer = subject.optimizer(name, lr=0.1, **settings)
        train(subject.backend, wiring, optimizer=optimizer, settings=Settings(rates=axis.rates))
        after, _ = get_linear(wiring.models["model"], inputs=WIDTH, outputs=1)
        gradients = list(_gradients(wiring.inputs["x"]))
        expected = OPTIMIZERS[name](before, gradients, list(axis.rates), **settings)
        expect_relative(
            after - before,
            expected - before,
            within=2e-5,
            because=_ROUNDING,
            given=f"{name} {dict(settings)}, {axis}",
        )

    return Check(
        f"OPT-{variant}-{axis.name}",
        f"{variant} is the canonical formula: {axis.name}.",
        follows,
        needs="gradients",
    )


NAMED = tuple(_made(variant, axis) for variant in VARIANTS for axis in AXES)


@check("OPT-own-steps", "A parameter that starts to learn late counts its own steps.", needs="gradients")
def own_steps(subject: Subject) -> None:
    """Train one of two models for three steps with Adam, then both for one."""
    late, early = (_wired(subject, steps=4, size=1.0, start=1.0, label=label) for label in ("late", "early"))
    optimizer = subject.optimizer("adam", lr=0.1)
    nodes = {**late.nodes, **early.nodes}
    heads = [*late.heads, *early.heads]
    first = {name: array[:3] for name, array in early.inputs.items()}
    train(subject.backend, Wiring(early.nodes, first, early.heads), optimizer=optimizer)
    last = {name: array[3:] for name, array in late.inputs.items()}
    before, _ = get_linear(late.models["late"], inputs=WIDTH, outputs=1)
    train(subject.backend, Wiring(nodes, last, heads), optimizer=optimizer)
    after, _ = get_linear(late.models["late"], inputs=WIDTH, outputs=1)
    expected = OPTIMIZERS["adam"](before, list(_gradients(last["x"])), [0.1])
    expect_relative(after - before, expected - before, within=2e-5, because=_ROUNDING)


@check("OPT-clip-norm", "clip_norm bounds the norm of all gradients together.", needs="gradients")
def clip_norm(subject: Subject) -> None:
    """Step at learning rate 1 under a small bound."""
    wiring = _wired(subject, steps=1, size=1.0, start=1.0)
    before = get_linear(wiring.models["model"], inputs=WIDTH, outputs=1)
    optimizer = subject.optimizer("sgd", clip_norm=0.25)
    train(subject.backend, wiring, optimizer=optimizer, settings=Settings(rates=[1.0]))
    after = get_linear(wiring.models["model"], inputs=WIDTH, outputs=1)
    gradient = np.concatenate([_gradients(wiring.inputs["x"])[0].ravel(), [-1.0]])
    moved = np.concatenate([(left - right).ravel() for left, right in zip(before, after, strict=True)])
    expect_relative(moved, gradient * 0.25 / np.linalg.norm(gradient), within=2e-5, because=_ROUNDING)


@check("OPT-accumulate", "Accumulated steps of unequal rows equal one batch of them.", needs="gradients")
def accumulate(subject: Subject) -> None:
    """Accumulate three live rows and one, and compare with four at once."""
    wiring = _wired(subject, steps=2, size=1.0, start=1.0)
    before, _ = get_linear(wiring.models["model"], inputs=WIDTH, outputs=1)
    settings = Settings(rates=[1.0, 1.0], live=[3, 1], apply=[False, True], window=[4, 4])
    train(subject.backend, wiring, optimizer=subject.optimizer("sgd"), settings=settings)
    after, _ = get_linear(wiring.models["model"], inputs=WIDTH, outputs=1)
    rows = np.concatenate([wiring.inputs["x"][0], wiring.inputs["x"][1, :1]])
    expect_relative(after - before, -_gradients(rows[None])[0], within=2e-5, because=_ROUNDING)
