"""The two protocols that every component of MML speaks: structure and values.

A *config* is structure: JSON only, enough to build an equal object. A *state* is values: NumPy arrays and
JSON only, enough to continue bit for bit. Nothing here knows how either is stored.
"""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

Config: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]


@runtime_checkable
class Configurable(Protocol):
    """Something whose structure can be written down and built again."""

    def get_config(self) -> Config:
        """Return the structure as JSON-compatible values."""
        ...

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal object from what :meth:`get_config` returned."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """Something whose values can be taken out and put back, bit for bit."""

    def get_state(self) -> State:
        """Return owned copies of all values: arrays and JSON only."""
        ...

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; refuse what does not fit, changing nothing."""
        ...
