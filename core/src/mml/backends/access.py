"""Getting at a backend by name: one instance a process, made when it is first asked for."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from mml.backends.contract import ComputeBackend
from mml.errors import BackendError, PluginError
from mml.plugins import registry

_lock = threading.Lock()
_instances: dict[str, ComputeBackend] = {}


def get_backend(name: str) -> ComputeBackend:
    """Return the backend of this name.

    Parameters
    ----------
    name : str
        As a plugin declared it, e.g. ``"numpy"``.

    Raises
    ------
    UnknownComponentError
        If no plugin declares it; the error says what would bring it.
    BackendError
        If the plugin's class is no `ComputeBackend`.
    """
    component = registry("backends").resolve(name)
    with _lock:
        instance = _instances.get(component.qualified)
        if instance is None or type(instance) is not component.load():
            instance = _make(name, component.load())
            _instances[component.qualified] = instance
    return instance


def convert(array: Any, source: str, target: str, *, device: str | None = None) -> Any:
    """Carry an array from one backend to another, through NumPy; the same object where they are the same."""
    if source == target:
        return array
    host = array if isinstance(array, np.ndarray) else get_backend(source).to_numpy(array)
    return get_backend(target).to_array(host, device=device)


def _make(name: str, cls: Any) -> ComputeBackend:
    if not (isinstance(cls, type) and issubclass(cls, ComputeBackend)):
        raise BackendError(
            f"What is registered as backend {name!r} is no ComputeBackend.",
            found=repr(cls),
            hint="Subclass mml.backends.ComputeBackend.",
        )
    try:
        return cls()
    except PluginError:
        raise
    except Exception as cause:
        raise BackendError(f"The backend {name!r} failed to start: {cause}") from cause
