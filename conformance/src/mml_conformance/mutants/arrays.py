"""Mutants whose arrays change on the way in or out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mml.backends import owned_array
from mml_conformance.mutants.mutant import Mutant
from mml_conformance.reference.backend import ReferenceBackend


def _entering(change: Callable[[np.ndarray], np.ndarray]) -> type[ReferenceBackend]:
    class Entering(ReferenceBackend):
        def to_array(self, array: np.ndarray, *, device: str | None = None) -> np.ndarray:
            self.device_name(device)
            return change(array)

    return Entering


def _narrowed(array: np.ndarray) -> np.ndarray:
    kept = owned_array(array)
    return kept.astype(np.float32) if kept.dtype == np.float64 else kept


def _in_memory_order(array: np.ndarray) -> np.ndarray:
    return owned_array(array).ravel(order="K").reshape(array.shape) if array.ndim > 1 else owned_array(array)


def _through_float(array: np.ndarray) -> np.ndarray:
    kept = owned_array(array)
    return kept.astype(np.float64).astype(kept.dtype) if kept.dtype == np.int64 else kept + kept.dtype.type(0)


def _aliased(array: np.ndarray) -> np.ndarray:
    owned_array(array)
    return array


class LeakingBuffer(ReferenceBackend):
    """Hands out its own buffer."""

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return the array itself."""
        return np.asarray(array)


class AnyDevice(ReferenceBackend):
    """Moves silently to the default device."""

    def device_name(self, device: str | None) -> str | None:
        """Accept every name."""
        return device


MUTANTS = (
    Mutant("float64 to float32 on entry", _entering(_narrowed), ("CONV-dtypes", "CONV-bits")),
    Mutant("layout ignored", _entering(_in_memory_order), ("CONV-layouts",)),
    Mutant("0-d promoted", _entering(lambda array: np.atleast_1d(owned_array(array))), ("CONV-shapes",)),
    Mutant("integers through float", _entering(_through_float), ("CONV-bits",)),
    Mutant("host buffer aliased", _entering(_aliased), ("CONV-owned",)),
    Mutant("anything enters", _entering(np.array), ("CONV-refused",)),
    Mutant("to_numpy leaks its buffer", LeakingBuffer, ("CONV-owned",)),
    Mutant("silent move to the default device", AnyDevice, ("CONV-device",)),
)
