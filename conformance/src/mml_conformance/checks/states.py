"""STATE, FRZ and RESUME: values are kept, taken out and put back bit for bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mml_conformance.bench import Settings, Wiring, states_of, train
from mml_conformance.expect import expect, expect_refusal, expect_same_bits
from mml_conformance.registry import check
from mml_conformance.subject import Subject
from mml_conformance.wirings import STEPS, chain

_HARSH: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.1, "lr": 0.05}


def _only(states: dict[str, np.ndarray], label: str) -> dict[str, np.ndarray]:
    return {name: value for name, value in states.items() if name.startswith(f"{label}/")}


@check(
    "FRZ-bits",
    "A frozen node keeps every bit under momentum, decay, dropout and batch norm.",
    needs="batch_norm",
)
def frozen_bits(subject: Subject) -> None:
    """Train trunk and head, then the head alone."""
    wiring, optimizer = chain(subject), subject.optimizer("sgd", **_HARSH)
    train(subject.backend, wiring, optimizer=optimizer)
    before = states_of(wiring)
    train(subject.backend, wiring, optimizer=optimizer, learning=("head",))
    expect_same_bits(
        _only(states_of(wiring), "trunk"), _only(before, "trunk"), given="seven steps of the head"
    )
    moved = any((states_of(wiring)[name] != value).any() for name, value in _only(before, "head").items())
    expect(moved, expected="a head that learns", seen="an unchanged head")


@check(
    "FRZ-slots", "A frozen node's optimizer state survives, and learning goes on from it.", needs="gradients"
)
def frozen_slots(subject: Subject) -> None:
    """Look at the slots before and after freezing, and at the steps after unfreezing."""
    wiring, optimizer = chain(subject), subject.optimizer("sgd", **_HARSH)
    train(subject.backend, wiring, optimizer=optimizer)
    before = _slot_arrays(optimizer.get_state(), "trunk")
    train(subject.backend, wiring, optimizer=optimizer, learning=("head",))
    expect_same_bits(_slot_arrays(optimizer.get_state(), "trunk"), before, given="seven steps of the head")
    train(subject.backend, wiring, optimizer=optimizer)
    steps = {int(slots["step"]) for name, slots in optimizer.get_state().items() if name.startswith("trunk/")}
    expect(steps == {2 * STEPS}, expected=f"{2 * STEPS} updates of the trunk", seen=steps)


def _slot_arrays(state: dict[str, Any], label: str) -> dict[str, np.ndarray]:
    return {
        f"{variable}:{slot}": np.asarray(value)
        for variable, slots in state.items()
        if variable.startswith(f"{label}/")
        for slot, value in slots.items()
    }


@check(
    "FRZ-inference",
    "A frozen node runs in inference mode: no dropout above the head that learns.",
    needs="dropout",
)
def frozen_inference(subject: Subject) -> None:
    """Train the head alone, at learning rate 0, under two seeds."""
    losses = [
        train(
            subject.backend,
            chain(subject),
            optimizer=subject.optimizer("sgd"),
            learning=("head",),
            settings=Settings(seed=seed, rates=[0.0] * STEPS),
        )
        for seed in (1, 2)
    ]
    expect_same_bits({"losses": losses[1]}, {"losses": losses[0]}, given="step seeds from 1 and from 2")


@check(
    "STATE-round-trip",
    "State put into a fresh model gives equal bits, in values and outputs.",
    needs="gradients",
)
def round_trip(subject: Subject) -> None:
    """Train, take the state out, put it into models of other initial values."""
    wiring, fresh = chain(subject), chain(subject)
    train(subject.backend, wiring, optimizer=subject.optimizer("adam"))
    for label, model in wiring.models.items():
        fresh.models[label].set_state(model.get_state())
    expect_same_bits(states_of(fresh), states_of(wiring))
    inputs = wiring.inputs["x"][0]
    seen, expected = (one.models["trunk"].forward(inputs) for one in (fresh, wiring))
    expect_same_bits({"outputs": seen}, {"outputs": expected})


@check("STATE-snapshot", "State is a snapshot: training on does not change it.", needs="gradients")
def snapshot(subject: Subject) -> None:
    """Take the state out, copy it, and train on."""
    wiring = chain(subject)
    taken = {label: model.get_state() for label, model in wiring.models.items()}
    copies = {
        f"{label}/{name}": np.array(value) for label, state in taken.items() for name, value in state.items()
    }
    train(subject.backend, wiring, optimizer=subject.optimizer("sgd", lr=0.1))
    now = {
        f"{label}/{name}": np.asarray(value)
        for label, state in taken.items()
        for name, value in state.items()
    }
    expect_same_bits(now, copies, given="seven steps after get_state")


@check("STATE-plain", "State is arrays and JSON only, and lists every variable.", needs="gradients")
def plain(subject: Subject) -> None:
    """Look at every entry."""
    model = chain(subject).models["trunk"]
    state = model.get_state()
    for name, value in state.items():
        if not (isinstance(value, np.ndarray) and value.dtype.kind in "biuf"):
            json.dumps(value, allow_nan=False)
        expect(isinstance(name, str), expected="names of type str", seen=type(name).__name__)
    missing = {spec.name for spec in model.variables()} - set(state)
    expect(not missing, expected="every variable in the state", seen=f"missing {sorted(missing)}")


@check(
    "STATE-refused",
    "Missing, extra and misshapen entries are refused by name, changing nothing.",
    needs="gradients",
)
def refused(subject: Subject) -> None:
    """Try three wrong states."""
    wiring = chain(subject)
    model = wiring.models["head"]
    state, before = dict(model.get_state()), states_of(wiring)
    name = model.variables()[0].name
    other = {key: np.asarray(value) + 1 for key, value in state.items()}
    bad = {
        "missing": {key: value for key, value in other.items() if key != name},
        "extra": {**other, "ghost": np.zeros(1, np.float32)},
        "misshapen": {**other, name: np.zeros((7, 7, 7), np.float32)},
    }
    for kind, wrong in bad.items():
        expect_refusal(
            lambda wrong=wrong: model.set_state(wrong),
            "ghost" if kind == "extra" else name,
            given=f"a state with {kind} entry",
        )
        expect_same_bits(states_of(wiring), before, given=f"after a state with {kind} entry")


@check(
    "RESUME-steps",
    "Stopped after any step and resumed in new objects, the end is equal to the bit.",
    needs="dropout",
)
def resume(subject: Subject) -> None:
    """Stop after each of the steps 1 to 6, carry state over through NumPy arrays, and go on."""
    whole = chain(subject)
    train(subject.backend, whole, optimizer=subject.optimizer("adam", lr=0.01))
    for stop in range(1, STEPS):
        first, optimizer = chain(subject), subject.optimizer("adam", lr=0.01)
        train(subject.backend, _part(first, 0, stop), optimizer=optimizer)
        second, restored = chain(subject), subject.optimizer("adam", lr=0.01)
        for label, model in first.models.items():
            second.models[label].set_state(model.get_state())
        restored.set_state(optimizer.get_state())
        settings = Settings(seed=100 + stop)
        train(subject.backend, _part(second, stop, STEPS), optimizer=restored, settings=settings)
        expect_same_bits(states_of(second), states_of(whole), given=f"stopped after step {stop}")


def _part(wiring: Wiring, start: int, stop: int) -> Wiring:
    inputs = {name: array[start:stop] for name, array in wiring.inputs.items()}
    return Wiring(wiring.nodes, inputs, wiring.heads)
