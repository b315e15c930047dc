"""Random numbers of estimators: seeds for those left open, and NumPy's global generator kept as it was.

An estimator's own `random_state` is the user's. Where it is None, a seed derived from the node's stands in
while scikit-learn runs, and None is put back, so that the object stays as the user configured it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mml.random import derive_seed

_PARAMETER = "random_state"
_lock = threading.RLock()


def open_parameters(estimator: Any) -> tuple[str, ...]:
    """List the estimator's `random_state` parameters that are None, nested estimators included."""
    return tuple(
        name
        for name, value in sorted(estimator.get_params(deep=True).items())
        if value is None and name.rpartition("__")[2] == _PARAMETER
    )


def random_state_of(seed: int, parameter: str = _PARAMETER) -> int:
    """Return the `random_state` that an open parameter gets from a node's seed, below 2**32."""
    return derive_seed(seed, "estimator", parameter) & 0xFFFFFFFF


@contextmanager
def seeded(estimator: Any, parameters: tuple[str, ...], seed: int) -> Iterator[None]:
    """Fill in the open parameters while the body runs.

    Parameters
    ----------
    estimator : sklearn estimator
    parameters : tuple of str
        From `open_parameters`.
    seed : int
        The node's seed.
    """
    if not parameters:
        yield
        return
    _set(estimator, {name: random_state_of(seed, name) for name in parameters})
    try:
        yield
    finally:
        _set(estimator, dict.fromkeys(parameters))


@contextmanager
def global_generator() -> Iterator[Callable[[int], None]]:
    """Hold NumPy's global generator, hand out how to seed it, and leave it as it was.

    A few estimators draw from it because they have no `random_state` (SVR). Holding it takes some 80 µs,
    so it is done for a range of steps and not for each.
    """
    with _lock:
        before = np.random.get_state(legacy=False)
        try:
            yield _seed_global
        finally:
            np.random.set_state(before)


def _seed_global(seed: int) -> None:
    np.random.seed(seed & 0xFFFFFFFF)


def _set(estimator: Any, values: dict[str, int | None]) -> None:
    # `set_params` walks all parameters; the one that nearly all have is set for next to nothing.
    if tuple(values) == (_PARAMETER,):
        estimator.random_state = values[_PARAMETER]
    else:
        estimator.set_params(**values)
