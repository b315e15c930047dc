"""What the data floor asks of the parts that work on it: splitters and scalers.

The parts themselves live a floor above and in plugins; the FeatureSet gets them from the registry by name and
knows only these protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from mml.protocols import Config, State

if TYPE_CHECKING:
    from mml.data.view import FeatureSetView


@runtime_checkable
class SplitterLike(Protocol):
    """Divides a view into named parts."""

    def split(self, view: FeatureSetView) -> Mapping[str, np.ndarray]:
        """Return positions within the view (int64, ascending) per part; disjoint and complete."""
        ...

    def get_config(self) -> Config:
        """Return the structure, with the registered name under ``"splitter"``."""
        ...


@runtime_checkable
class ScalerLike(Protocol):
    """Learns statistics of one column and maps its values, each row on its own.

    ``fit_blocks(blocks)`` is optional: a scaler that has it is fitted without holding the column in memory,
    on an iterable of arrays of rows that can be iterated more than once.
    """

    def fit(self, values: np.ndarray) -> object:
        """Learn from values ``(n, *shape)``."""
        ...

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Map values ``(k, *shape)``; a row's result must not depend on the other rows."""
        ...

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Map transformed values ``(k, *shape)`` back."""
        ...

    def get_config(self) -> Config:
        """Return the structure, with the registered name under ``"scaler"``."""
        ...

    def get_state(self) -> State:
        """Return what was learnt."""
        ...

    def set_state(self, state: State) -> None:
        """Put back what was learnt."""
        ...
