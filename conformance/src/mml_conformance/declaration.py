"""What a plugin declares about its backend, so that the suite knows what to hold it to.

A plugin ships it as ``DECLARATION`` in a module ``conformance`` beside its backend's module. A backend
without one is held to what its `Capabilities` claim.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mml.backends import BaseModel, ComputeBackend
from mml.errors import ConfigError, did_you_mean

CAPABILITIES = ("gradients", "float64", "dropout", "batch_norm", "eager")
"""What checks may need: learning by gradients; a float64 `mlp`; dropout and batch norm in it; programs that
drop masked rows themselves, whatever they hold."""

LEVELS = ("full", "unsupported", "not_implemented")


@dataclass(frozen=True)
class ExpectedFailure:
    """A check that is known to fail.

    Parameters
    ----------
    id : str
        The check's exact id.
    reason : str
    expires : str
        The version of the plugin in which it must be gone, such as ``"0.2"``; from there on the suite fails.
    """

    id: str
    reason: str
    expires: str


@dataclass(frozen=True)
class Declaration:
    """A plugin's declaration.

    Parameters
    ----------
    capabilities : mapping of str to {"full", "unsupported", "not_implemented"}
        Every one of `CAPABILITIES`.
    expected_failures : tuple of ExpectedFailure
    float64_settings : mapping
        Keyword arguments that make the backend's `mlp` compute in float64, where it takes such.
    widen : callable, optional
        Turns a built `mlp` into a float64 one in place, where that is how the framework does it.
    """

    capabilities: Mapping[str, str]
    expected_failures: tuple[ExpectedFailure, ...] = ()
    float64_settings: Mapping[str, Any] = field(default_factory=dict)
    widen: Callable[[BaseModel], None] | None = None

    def __post_init__(self) -> None:
        for name, level in self.capabilities.items():
            if name not in CAPABILITIES:
                raise ConfigError(f"There is no capability {name!r}.", hint=did_you_mean(name, CAPABILITIES))
            if level not in LEVELS:
                raise ConfigError(
                    f"The capability {name!r} is declared wrongly.",
                    expected=f"one of {LEVELS}",
                    found=repr(level),
                )
        omitted = [name for name in CAPABILITIES if name not in self.capabilities]
        if omitted:
            raise ConfigError(
                "A declaration leaves capabilities out.",
                found=f"nothing about {', '.join(omitted)}",
                hint="Declare each as 'full', 'unsupported' or 'not_implemented'.",
            )

    def level(self, capability: str) -> str:
        """Return what is declared; what every backend has is full."""
        return self.capabilities[capability] if capability else "full"


def declaration_of(backend: ComputeBackend) -> Declaration:
    """Return the declaration that ships beside the backend's module, or derive one from its capabilities."""
    package = type(backend).__module__.rpartition(".")[0]
    name = f"{package}.conformance"
    if package and importlib.util.find_spec(name) is not None:
        declared: Declaration = importlib.import_module(name).DECLARATION
        return declared
    learns = "full" if backend.capabilities.gradients else "unsupported"
    eager = "unsupported" if backend.capabilities.compiled else learns
    # Nobody said how to make a float64 model, so float64 is not held against the backend, nor counted for it.
    return Declaration({**dict.fromkeys(CAPABILITIES, learns), "eager": eager, "float64": "not_implemented"})
