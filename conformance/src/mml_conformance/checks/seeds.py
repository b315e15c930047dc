"""SEED: the seeds that core sends decide everything, and nothing else is drawn from."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from mml_conformance.bench import Settings, states_of, train
from mml_conformance.expect import expect, expect_same_bits
from mml_conformance.registry import check
from mml_conformance.subject import Subject
from mml_conformance.wirings import chain


def _trained(subject: Subject, seed: int) -> dict[str, np.ndarray]:
    wiring = chain(subject)
    train(subject.backend, wiring, optimizer=subject.optimizer("adam"), settings=Settings(seed=seed))
    return states_of(wiring)


@check("SEED-equal", "Equal seeds give equal bits after seven steps.", needs="dropout")
def equal(subject: Subject) -> None:
    """Train the same twice, drawing from the global generators between."""
    first = _trained(subject, 5)
    random.random()
    np.random.random()
    expect_same_bits(_trained(subject, 5), first)


@check("SEED-differs", "Another seed gives other random numbers.", needs="dropout")
def differs(subject: Subject) -> None:
    """Train with two seeds."""
    first, second = _trained(subject, 5), _trained(subject, 6)
    same = all(first[name].tobytes() == second[name].tobytes() for name in first)
    expect(not same, expected="values that differ", seen="equal bits", given="step seeds from 5 and from 6")


@check("SEED-initial", "Initial values follow the seed alone, whatever was built before.", needs="gradients")
def initial(subject: Subject) -> None:
    """Build a model three times, once after an unrelated one."""
    first = dict(subject.mlp(hidden=[5], seed=3).get_state())
    subject.mlp("other", hidden=[7], seed=4)
    expect_same_bits(dict(subject.mlp(hidden=[5], seed=3).get_state()), first, given="seed 3, twice")
    other = subject.mlp(hidden=[5], seed=4).get_state()
    same = all(first[name].tobytes() == np.asarray(other[name]).tobytes() for name in first)
    expect(not same, expected="values that differ", seen="equal bits", given="seeds 3 and 4")


@check("SEED-globals", "Python's and NumPy's global generators are left alone.", needs="gradients")
def global_generators(subject: Subject) -> None:
    """Build and train, and look at the generators."""
    before = _global_state()
    _trained(subject, 5)
    expect(_global_state() == before, expected="the generators as before", seen="another position")


def _global_state() -> Any:
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), kind, keys.tobytes(), rest
