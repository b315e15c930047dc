"""LOSS and MULTI: values and slopes against float64, weights of rows and of heads, shapes that broadcast.

The slope is read off one step of gradient descent with learning rate 1 on a dense layer.
"""

from __future__ import annotations

import numpy as np

from mml_conformance.bench import Head, Settings, Wiring, evaluate, states_of, train
from mml_conformance.expect import expect_close, expect_refusal, expect_same_bits
from mml_conformance.oracles import LOSSES
from mml_conformance.registry import Check, check
from mml_conformance.subject import Subject
from mml_conformance.wirings import WIDTH, draw, get_linear, linear, one_head, set_linear

_ROUNDING = "float32 rounding, some ten operations deep"
_ROWS, _STEP = 7, 1e-6


def _wiring(subject: Subject, loss: str, *, sample_weight: str | None = None, weight: float = 1.0) -> Wiring:
    outputs = 5 if loss == "cross_entropy" else 2
    inputs = draw(steps=1, capacity=_ROWS, x=(WIDTH,), y=(outputs,), w=(1,))
    if loss == "cross_entropy":
        inputs["y"] = (np.arange(_ROWS) % outputs).reshape(1, _ROWS, 1)
    if loss == "bce_logits":
        inputs["y"] = (inputs["y"] > 0).astype(np.float32)
    head = Head("model", loss=loss, sample_weight=sample_weight, weight=weight)
    return Wiring({"model": (linear(subject, outputs=outputs), ("x",))}, inputs, [head])


def _oracle(wiring: Wiring, outputs: np.ndarray) -> float:
    """Return the weighted total in float64."""
    (head,) = wiring.heads
    targets = wiring.inputs["y"][0]
    targets = targets if targets.dtype.kind in "iu" else targets.astype(np.float64)
    rows = LOSSES[head.loss](outputs.astype(np.float64), targets)
    if head.sample_weight is not None:
        rows = rows * wiring.inputs["w"][0, :, 0].astype(np.float64)
    return head.weight * float(rows.sum()) / len(rows)


def _slope(wiring: Wiring, outputs: np.ndarray) -> np.ndarray:
    """Return the oracle's slope at every output by central differences."""
    found = np.zeros(outputs.shape)
    for index in np.ndindex(outputs.shape):
        up, down = outputs.astype(np.float64), outputs.astype(np.float64)
        up[index] += _STEP
        down[index] -= _STEP
        found[index] = (_oracle(wiring, up) - _oracle(wiring, down)) / (2 * _STEP)
    return found


def _expect_value_and_slope(subject: Subject, wiring: Wiring) -> None:
    losses, arrays = evaluate(subject.backend, wiring, outputs=("model",))
    outputs = arrays["model"][0]
    (head,) = wiring.heads
    expect_close(losses[0, 0] * head.weight, _oracle(wiring, outputs), within=2e-6, because=_ROUNDING)
    _expect_slope(subject, wiring, _slope(wiring, outputs))


def _expect_slope(subject: Subject, wiring: Wiring, slope: np.ndarray) -> None:
    model, inputs = wiring.models["model"], wiring.inputs["x"][0].astype(np.float64)
    sizes = {"inputs": inputs.shape[1], "outputs": slope.shape[1]}
    before = get_linear(model, **sizes)
    train(subject.backend, wiring, optimizer=subject.optimizer("sgd"), settings=Settings(rates=[1.0]))
    after = get_linear(model, **sizes)
    expect_close(
        before[0] - after[0], inputs.T @ slope, within=5e-6, because=_ROUNDING, given="the weight's slope"
    )
    expect_close(
        before[1] - after[1], slope.sum(axis=0), within=5e-6, because=_ROUNDING, given="the bias's slope"
    )


def _named(loss: str) -> tuple[Check, Check]:
    def plain(subject: Subject) -> None:
        _expect_value_and_slope(subject, _wiring(subject, loss))

    def weighted(subject: Subject) -> None:
        _expect_value_and_slope(subject, _wiring(subject, loss, sample_weight="w", weight=1.7))

    return (
        Check(
            f"LOSS-{loss}",
            f"{loss} and its slope are the mean over rows of the formula.",
            plain,
            needs="gradients",
        ),
        Check(
            f"LOSS-{loss}-weighted",
            f"{loss} with row weights is Σ wᵢℓᵢ over the number of rows, in value and slope.",
            weighted,
            needs="gradients",
        ),
    )


NAMED = tuple(one for loss in LOSSES for one in _named(loss))


@check(
    "LOSS-saturated",
    "bce_logits at ±200 is finite, and a saturated wrong logit has slope 1.",
    needs="gradients",
)
def saturated(subject: Subject) -> None:
    """Score logits of 200 and -200 against both targets, one pair at a time."""
    for logit, target, value, slope in (
        (200, 0, 200, 1),
        (-200, 1, 200, -1),
        (200, 1, 0, 0),
        (-200, 0, 0, 0),
    ):
        model = linear(subject)
        set_linear(model, np.zeros((WIDTH, 1)), np.array([float(logit)]))
        inputs = {"x": np.ones((1, 1, WIDTH), np.float32), "y": np.full((1, 1, 1), target, np.float32)}
        wiring = Wiring({"model": (model, ("x",))}, inputs, [Head("model", loss="bce_logits")])
        losses, _ = evaluate(subject.backend, wiring)
        given = f"logit {logit}, target {target}"
        expect_close(losses, [[value]], within=1e-6, because=_ROUNDING, given=given)
        _expect_slope(subject, wiring, np.array([[float(slope)]]))


@check(
    "LOSS-broadcast",
    "Outputs (rows, 1) against targets (rows,) are refused with both shapes.",
    needs="gradients",
)
def broadcast(subject: Subject) -> None:
    """Score against targets that lack an axis."""
    wiring = one_head(subject)
    wiring.inputs["y"] = wiring.inputs["y"][..., 0]
    expect_refusal(
        lambda: train(subject.backend, wiring, optimizer=subject.optimizer("sgd")),
        "(3, 1)",
        "(3,)",
        given="mse",
    )


@check("MULTI-additive", "The slope of two heads is the sum of the slopes of each.", needs="gradients")
def additive(subject: Subject) -> None:
    """Step on two heads together and on each alone, from the same values."""
    heads = [Head("model", loss="mse", weight=0.7), Head("model", loss="huber", targets="z", weight=1.9)]
    together, *alone = (_moved(subject, chosen) for chosen in (heads, heads[:1], heads[1:]))
    for name, value in together.items():
        expect_close(value, alone[0][name] + alone[1][name], within=5e-6, because=_ROUNDING, given=name)


@check("MULTI-zero-weight", "A head of weight 0 moves nothing.", needs="gradients")
def zero_weight(subject: Subject) -> None:
    """Step on a head of weight 0."""
    moved = _moved(subject, [Head("model", weight=0.0)])
    expect_same_bits(moved, {name: np.zeros_like(value) for name, value in moved.items()})


@check(
    "MULTI-nothing-accumulates",
    "A second program over the same model starts from nothing.",
    needs="gradients",
)
def nothing_accumulates(subject: Subject) -> None:
    """Step twice at rate 0 before the step that counts."""
    before = _moved(subject, [Head("model")])
    after = _moved(subject, [Head("model")], warm_up=True)
    expect_same_bits(after, before, given="two steps at learning rate 0 before")


def _moved(subject: Subject, heads: list[Head], *, warm_up: bool = False) -> dict[str, np.ndarray]:
    wiring = one_head(subject)
    inputs = draw(steps=1, x=(WIDTH,), y=(1,), z=(1,))
    step = Wiring(wiring.nodes, inputs, heads)
    if warm_up:
        twice = {name: np.repeat(array, 2, axis=0) for name, array in inputs.items()}
        idle = Wiring(wiring.nodes, twice, heads)
        train(subject.backend, idle, optimizer=subject.optimizer("sgd"), settings=Settings(rates=[0.0] * 2))
    before = states_of(step)
    train(subject.backend, step, optimizer=subject.optimizer("sgd"), settings=Settings(rates=[1.0]))
    after = states_of(step)
    return {name: after[name].astype(np.float64) - before[name].astype(np.float64) for name in before}
