"""`PerSampleMinMaxScaler` and `PerSampleZeroStart`: each sample by what it holds itself.

Neither learns anything from other samples. What inversion needs of a sample is not kept but derived again
from the values that went in (`sample_state`), which the FeatureSet finds by the sample's UUID.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.errors import ScalerError
from mml.processing.scalers.elementwise import in_blocks, require_empty, require_numbers, sample_shape
from mml.processing.scalers.settings import checked_number, checked_range
from mml.protocols import Config, State


@dataclass
class PerSampleMinMaxScaler:
    """Maps the smallest and the largest value of each sample onto a range.

    A constant sample maps to the lower end. NaN and infinities are left out of a sample's smallest and
    largest value and kept in the values. Dtypes are as in `StandardScaler`.

    Parameters
    ----------
    feature_range : tuple of float
        Lower and upper end.

    Examples
    --------
    >>> PerSampleMinMaxScaler().transform(np.array([[2.0, 4.0, 3.0], [0.0, 5.0, 10.0]])).tolist()
    [[0.0, 1.0, 0.5], [0.0, 0.5, 1.0]]
    """

    thread_safe: ClassVar[bool] = True
    per_sample: ClassVar[bool] = True

    feature_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        self.feature_range = checked_range(self.feature_range)

    def fit(self, values: np.ndarray) -> Self:
        """Check that samples ``(n, *shape)`` have more than one value; nothing is learnt."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Check the first block of rows; nothing is learnt."""
        shape = sample_shape(blocks)
        if math.prod(shape) < 2:
            raise ScalerError("A sample of one value has no range of its own.", found=f"samples of {shape}")
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return each sample ``(n, *shape)`` on the range."""
        low, high = self.feature_range

        def change(block: np.ndarray, _start: int) -> None:
            minimum, half = _range_of(block)
            np.multiply(block, 0.5, out=block)
            np.subtract(block, minimum / 2, out=block)
            np.divide(block, half, out=block)
            np.multiply(block, high - low, out=block)
            np.add(block, low, out=block)

        return in_blocks(values, change)

    def sample_state(self, values: np.ndarray) -> State:
        """Return what inversion needs of samples, from the values ``(n, *shape)`` that went in."""
        minimum, half = _range_of(require_numbers(values).astype(np.float64))
        return {"minimum": minimum, "half_span": half}

    def inverse_transform(self, values: np.ndarray, state: State) -> np.ndarray:
        """Return samples ``(n, *shape)`` of the range in raw units, with their `sample_state`."""
        low, high = self.feature_range
        minimum, half = state["minimum"], state["half_span"]

        def change(block: np.ndarray, start: int) -> None:
            rows = slice(start, start + len(block))
            np.subtract(block, low, out=block)
            np.divide(block, high - low, out=block)
            np.multiply(block, half[rows], out=block)
            np.multiply(block, 2.0, out=block)
            np.add(block, minimum[rows], out=block)

        return in_blocks(values, change)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {"scaler": "mml/per_sample_minmax", "feature_range": list(self.feature_range)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler."""
        return made_with(cls, settings_beside(config, "scaler"))

    def get_state(self) -> State:
        """Return an empty state."""
        return {}

    def set_state(self, state: State) -> None:
        """Take an empty state."""
        require_empty(self, state)


@dataclass
class PerSampleZeroStart:
    """Shifts each sample along its last axis, so that every series starts at an offset.

    A sample ``(k,)`` is one series, a sample ``(channels, k)`` one per channel. From each, its first finite
    value is subtracted, and the offset added. Dtypes are as in `StandardScaler`.

    Parameters
    ----------
    offset : float
        Where each series starts.

    Examples
    --------
    >>> PerSampleZeroStart().transform(np.array([[3.0, 3.5, 2.0], [7.0, 8.0, 9.0]])).tolist()
    [[0.0, 0.5, -1.0], [0.0, 1.0, 2.0]]
    """

    thread_safe: ClassVar[bool] = True
    per_sample: ClassVar[bool] = True

    offset: float = 0.0

    def __post_init__(self) -> None:
        self.offset = checked_number(self.offset, name="offset")

    def fit(self, values: np.ndarray) -> Self:
        """Check that samples ``(n, *shape)`` have more than one value in a row; nothing is learnt."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Check the first block of rows; nothing is learnt."""
        shape = sample_shape(blocks)
        if not shape or shape[-1] < 2:
            raise ScalerError("A series of one value has no course.", found=f"samples of {shape}")
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return each series of ``(n, *shape)`` shifted."""

        def change(block: np.ndarray, _start: int) -> None:
            np.subtract(block, _starts_of(block), out=block)
            if self.offset:
                np.add(block, self.offset, out=block)

        return in_blocks(values, change)

    def sample_state(self, values: np.ndarray) -> State:
        """Return what inversion needs of samples, from the values ``(n, *shape)`` that went in."""
        return {"start": _starts_of(require_numbers(values).astype(np.float64)).copy()}

    def inverse_transform(self, values: np.ndarray, state: State) -> np.ndarray:
        """Return shifted samples ``(n, *shape)`` in raw units, with their `sample_state`."""
        starts = state["start"]

        def change(block: np.ndarray, start: int) -> None:
            if self.offset:
                np.subtract(block, self.offset, out=block)
            np.add(block, starts[start : start + len(block)], out=block)

        return in_blocks(values, change)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {"scaler": "mml/per_sample_zero", "offset": self.offset}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler."""
        return made_with(cls, settings_beside(config, "scaler"))

    def get_state(self) -> State:
        """Return an empty state."""
        return {}

    def set_state(self, state: State) -> None:
        """Take an empty state."""
        require_empty(self, state)


def _range_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest value and half the span of each sample, float64 ``(n, 1, ...)``."""
    axes = tuple(range(1, values.ndim))
    low, high = values.min(axis=axes, keepdims=True), values.max(axis=axes, keepdims=True)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        finite = np.isfinite(values)
        low = np.min(values, axis=axes, keepdims=True, where=finite, initial=np.inf)
        high = np.max(values, axis=axes, keepdims=True, where=finite, initial=-np.inf)
        low, high = np.where(low > high, 0.0, low), np.where(low > high, 0.0, high)
    # Halved first: the span of float64's own extremes would overflow.
    half = high / 2 - low / 2
    return low, np.where(half == 0, 0.5, half)


def _starts_of(values: np.ndarray) -> np.ndarray:
    """Return the first finite value of each series along the last axis, 0 where there is none."""
    starts = values[..., :1].copy()
    if not np.isfinite(starts).all():
        finite = np.isfinite(values)
        places = np.argmax(finite, axis=-1, keepdims=True)
        starts = np.where(finite.any(axis=-1, keepdims=True), np.take_along_axis(values, places, -1), 0.0)
    return starts
