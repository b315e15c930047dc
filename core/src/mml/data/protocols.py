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
    """Divides a view into named parts.

    The parts are checked: disjoint, and complete unless the class says ``leaves_rows_out = True``.
    """

    def split(self, view: FeatureSetView) -> Mapping[str, np.ndarray]:
        """Return positions within the view (int64, ascending) per part; disjoint and complete."""
        ...

    def get_config(self) -> Config:
        """Return the structure, JSON only, with the registered name under ``"splitter"``."""
        ...


@runtime_checkable
class ScalerLike(Protocol):
    """Learns statistics of one column and maps its values, each row on its own.

    A class of your own needs these methods and, so that a file can bring it back, a class method
    ``from_config(config)`` and a registered name. Whatever the rows, ``transform`` gives a row the same
    result; it does not change its argument, nor what was learnt.

    ``fit_blocks(blocks)`` is optional: a scaler that has it is fitted without holding the column in memory,
    on an iterable of arrays of rows that can be iterated more than once.

    ``thread_safe = True`` is optional: a scaler that has it may transform while the steps of training run on
    another thread. It must change nothing but what it returns: no global random numbers, no warning filters.

    ``learns = False`` is optional: a scaler that has it carries nothing from the rows that it is fitted on to
    others, so that no row counts as seen, and none leaks. Without the attribute, a scaler has learnt if its
    state is not empty.

    A scaler whose inversion needs to know the sample is a `PerSampleScalerLike`.
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
        """Return the structure, JSON only, with the registered name under ``"scaler"``."""
        ...

    def get_state(self) -> State:
        """Return what was learnt."""
        ...

    def set_state(self, state: State) -> None:
        """Put back what was learnt."""
        ...


class PerSampleScalerLike(Protocol):
    """A scaler that maps each sample by what that sample holds, such as its own smallest value.

    The other methods are those of `ScalerLike`. Nothing is stored per sample: because a transformed column is
    an expression over raw, a sample's state is derived from its raw row again, found by its UUID.
    """

    per_sample: bool
    """True."""

    def sample_state(self, values: np.ndarray) -> State:
        """Return what inversion needs of samples, from the values ``(k, *shape)`` that went in."""
        ...

    def inverse_transform(self, values: np.ndarray, state: State) -> np.ndarray:
        """Map transformed values ``(k, *shape)`` back, with the `sample_state` of the same samples."""
        ...


def is_per_sample(scaler: object) -> bool:
    """Whether a scaler is a `PerSampleScalerLike`."""
    return bool(getattr(scaler, "per_sample", False))


def is_thread_safe(scaler: object) -> bool:
    """Whether a scaler says that it may be called on any thread."""
    return getattr(scaler, "thread_safe", False) is True
