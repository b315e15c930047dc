"""`HostBackend`: what backends have in common whose native array is NumPy's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from mml.backends.contract import ComputeBackend
from mml.backends.ops import ArrayOps, NumpyOps
from mml.backends.owned_arrays import checked_array, owned_array


class HostBackend(ComputeBackend):
    """A backend on NumPy arrays in the host's memory; wrapping and running are left to its subclass."""

    ops: ArrayOps = NumpyOps()

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> np.ndarray:
        """Return an owned copy."""
        self.device_name(device)
        return owned_array(array)

    def share(self, array: np.ndarray) -> np.ndarray:
        """Return the array itself; read-only where it is."""
        return checked_array(array)

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return an owned copy."""
        return owned_array(array)

    def is_native(self, array: Any) -> bool:
        """Whether it is a NumPy array."""
        return isinstance(array, np.ndarray)
