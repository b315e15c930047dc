"""GRAD: the whole gradient against differences of the loss, through two heads and a shared trunk."""

from __future__ import annotations

import numpy as np

from mml_conformance.bench import Head, Settings, Wiring, losses_of, make_segment, run, states_of
from mml_conformance.expect import expect_close
from mml_conformance.registry import check
from mml_conformance.subject import Subject
from mml_conformance.wirings import HIDDEN, WIDTH, draw

_STEP = 1e-6


@check(
    "GRAD-differences",
    "The gradient of every parameter is the slope of the loss: two heads, batch norm, dropout.",
    needs="float64",
)
def differences(subject: Subject) -> None:
    """Differentiate the training loss by central differences in float64, with one seed throughout."""
    wiring = _two_heads(subject)
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


def _restore(wiring: Wiring, start: dict[str, dict[str, np.ndarray]]) -> None:
    for label, model in wiring.models.items():
        model.set_state(start[label])


def _two_heads(subject: Subject) -> Wiring:
    settings = {"activation": "tanh", "hidden": [3]}
    trunk = subject.mlp64(
        "trunk",
        input_shape=(WIDTH,),
        output_shape=(HIDDEN,),
        **{**settings, "batch_norm": True, "dropout": 0.2},
    )
    one = subject.mlp64("one", input_shape=(HIDDEN,), output_shape=(1,), seed=1, **settings)
    two = subject.mlp64("two", input_shape=(HIDDEN,), output_shape=(2,), seed=2, **settings)
    nodes = {"trunk": (trunk, ("x",)), "one": (one, ("trunk",)), "two": (two, ("trunk",))}
    inputs = draw(dtype="float64", steps=1, capacity=7, x=(WIDTH,), y=(1,), z=(2,), w=(1,))
    heads = [
        Head("one", weight=0.7, sample_weight="w"),
        Head("two", targets="z", loss="huber", weight=1.9),
        Head("one", targets="y", loss="bce_logits", weight=0.3),
    ]
    return Wiring(nodes, inputs, heads)
