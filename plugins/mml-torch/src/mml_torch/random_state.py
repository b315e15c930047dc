"""The framework's process-wide state: generators and determinism, lent out under one lock.

Whoever builds a model or runs a step does it inside `swapped`, seeds as it likes, and leaves the process as
it was. The lock also guards the modules' training flags, which a run changes and restores.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.RLock()


@contextmanager
def swapped(*, deterministic: bool = False) -> Iterator[None]:
    """Hold the lock; restore all generators and the determinism setting at the end.

    Parameters
    ----------
    deterministic : bool
        Refuse kernels that are not deterministic, meanwhile.
    """
    with _lock:
        cpu = torch.default_generator.get_state()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        try:
            if deterministic:
                with _deterministic_kernels():
                    yield
            else:
                yield
        finally:
            torch.default_generator.set_state(cpu)
            for index, state in enumerate(cuda):
                torch.cuda.set_rng_state(state, index)


def seed_generators(seed: int, device: torch.device | None = None) -> None:
    """Seed the generators that a step on this device draws from."""
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)


@contextmanager
def _deterministic_kernels() -> Iterator[None]:
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
