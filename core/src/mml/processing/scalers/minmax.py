"""`MinMaxScaler`: from the smallest and largest value per feature element onto a range."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.processing.scalers.elementwise import apply_steps, divided_by, read_statistics, require_fitted
from mml.processing.scalers.settings import checked_range
from mml.processing.scalers.statistics import extremes
from mml.protocols import Config, State


@dataclass
class MinMaxScaler:
    """Maps the smallest and the largest value that it saw, per feature element, onto a range.

    A constant element maps to the lower end. Values outside of what was seen are not clipped. Dtypes
    are as in `StandardScaler`.

    Parameters
    ----------
    feature_range : tuple of float
        Lower and upper end.

    Examples
    --------
    >>> MinMaxScaler().fit(np.array([2.0, 4.0])).transform(np.array([2.0, 3.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """

    thread_safe: ClassVar[bool] = True

    feature_range: tuple[float, float] = (0.0, 1.0)
    minimum_: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)
    half_span_: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.feature_range = checked_range(self.feature_range)

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Learn from blocks of rows."""
        low, high = extremes(blocks)
        self.minimum_ = low
        # Halved first: the span of float64's own extremes would overflow.
        half = high / 2 - low / 2
        self.half_span_ = np.asarray(np.where(half == 0, 0.5, half))
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return the values on the range, of the same shape."""
        minimum, half = require_fitted(self, self.minimum_, self.half_span_)
        low, high = self.feature_range
        values = np.asarray(values)
        share = (np.multiply, 0.5), (np.subtract, minimum / 2), divided_by(half, values.dtype)
        return apply_steps(values, *share, (np.multiply, high - low), (np.add, low), shape=minimum.shape)

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Return values of the range in raw units, of the same shape."""
        minimum, half = require_fitted(self, self.minimum_, self.half_span_)
        low, high = self.feature_range
        share = (np.subtract, low), (np.divide, high - low)
        rest = (np.multiply, half), (np.multiply, 2.0), (np.add, minimum)
        return apply_steps(values, *share, *rest, shape=minimum.shape)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {"scaler": "mml/minmax", "feature_range": list(self.feature_range)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler, not fitted."""
        return made_with(cls, settings_beside(config, "scaler"))

    def get_state(self) -> State:
        """Return what was learnt; empty before fitting."""
        if self.minimum_ is None or self.half_span_ is None:
            return {}
        return {"minimum": self.minimum_.copy(), "half_span": self.half_span_.copy()}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self.minimum_, self.half_span_ = read_statistics(self, state, ("minimum", "half_span"))
