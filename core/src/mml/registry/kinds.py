"""The kinds of components, and the two names that no plugin may take."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CORE = "mml"
USER = "user"

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "backends": "backend",
        "models": "model",
        "losses": "loss",
        "optimizers": "optimizer",
        "converters": "converter",
        "scalers": "scaler",
        "splitters": "splitter",
        "samplers": "sampler",
        "merge_nodes": "merge node",
        "callbacks": "callback",
        "metrics": "metric",
        "datasets": "dataset",
        "trackers": "tracker",
        "executors": "executor",
    }
)
"""The kinds of components, and the word that messages use for one of each."""


def noun(kind: str) -> str:
    """Return the word for one component of a kind."""
    return KINDS.get(kind, f"component of kind {kind!r}")
