"""Process-wide generators, lent out under one lock, and the seeds that a step's random numbers come from.

Keras draws in three places: Python's `random` seeds initial values and layers that were given no seed, seed
generators in layers are variables, and one seed generator serves whoever brought none. Engines may have
generators of their own. Whoever builds a model or runs a step does it in here, and leaves all of them as they
were.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from mml_keras3.engines import engine
from mml_keras3.framework import keras
from mml_keras3.internals import GLOBAL_SEED_GENERATOR, global_state

_lock = threading.RLock()
_holding: list[bool] = []


@contextmanager
def held(*, deterministic: bool = False) -> Iterator[None]:
    """Hold the lock; restore the generators that a model can draw from while it runs.

    Parameters
    ----------
    deterministic : bool
        Refuse kernels that are not deterministic, meanwhile.
    """
    with _lock:
        if _holding:
            with engine().determinism(asked=deterministic):
                yield
            return
        users = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
        with engine().generators_kept(), engine().determinism(asked=deterministic):
            global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, own_generator())
            _holding.append(True)
            try:
                yield
            finally:
                _holding.clear()
                global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, users)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Hold the lock with every generator seeded: initial values drawn inside depend on the seed alone."""
    with held():
        python, numpy = random.getstate(), np.random.get_state()
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            engine().seed_generators(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@cache
def own_generator() -> Any:
    """Return the seed generator that stands in for Keras' global one."""
    return keras.random.SeedGenerator(seed=0)


def generator_states(seeds: np.ndarray, count: int) -> np.ndarray:
    """Return the states of a program's seed generators at the start of each step.

    Parameters
    ----------
    seeds : ndarray of int64, shape (steps,)
        Seeds of the steps.
    count : int
        Number of generators; each gets a stream of its own.

    Returns
    -------
    ndarray of uint32, shape (steps, count, 2)
        SplitMix64 over seed and generator; the high bit is left out, which not every engine has.
    """
    if not count:
        return np.zeros((len(seeds), 0, 2), dtype=np.uint32)
    streams = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = seeds.astype(np.uint64)[:, None] + streams
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    halves = np.stack([mixed >> np.uint64(33), mixed & np.uint64(0x7FFFFFFF)], axis=-1)
    return halves.astype(np.uint32)
