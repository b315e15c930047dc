"""`RobustScaler`: median 0 and a range between quantiles of 1 per feature element; outliers have no say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.errors import ScalerError
from mml.processing.scalers.elementwise import apply_steps, divided_by, read_statistics, require_fitted
from mml.processing.scalers.quantiles import quantiles
from mml.processing.scalers.settings import checked_flag, checked_range
from mml.protocols import Config, State


@dataclass
class RobustScaler:
    """Subtracts the median and divides by the distance between two quantiles, each per feature element.

    An element whose two quantiles are equal is only centred. NaN is left out of what is learnt and kept in
    the values. Fitting holds one or a few elements of all rows at a time. Dtypes are as in `StandardScaler`.

    Parameters
    ----------
    quantile_range : tuple of float
        Lower and upper quantile in per cent.
    with_centering, with_scaling : bool
        Whether to subtract, and whether to divide.

    Examples
    --------
    >>> values = np.array([0.0, 1.0, 2.0, 3.0, 1000.0])
    >>> RobustScaler().fit(values).transform(values).tolist()
    [-1.0, -0.5, 0.0, 0.5, 499.0]
    """

    thread_safe: ClassVar[bool] = True

    quantile_range: tuple[float, float] = (25.0, 75.0)
    with_centering: bool = True
    with_scaling: bool = True
    center_: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)
    scale_: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.quantile_range = checked_range(self.quantile_range, low=0, high=100)
        self.with_centering = checked_flag(self.with_centering, name="with_centering")
        self.with_scaling = checked_flag(self.with_scaling, name="with_scaling")

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Learn from blocks of rows that can be iterated more than once."""
        low, high = self.quantile_range
        lower, center, upper = quantiles(blocks, (low / 100, 0.5, high / 100))
        with np.errstate(over="ignore"):
            spread = np.asarray(upper - lower)
        if not np.isfinite(spread).all():
            raise ScalerError("The distance between the quantiles does not fit float64.")
        scale = np.where(spread == 0, 1.0, spread)
        self.center_ = np.asarray(center if self.with_centering else np.zeros_like(center))
        self.scale_ = np.asarray(scale if self.with_scaling else np.ones_like(scale))
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``(values - center) / scale``, of the same shape."""
        center, scale = require_fitted(self, self.center_, self.scale_)
        values = np.asarray(values)
        steps = (np.subtract, center), divided_by(scale, values.dtype)
        return apply_steps(values, *steps, shape=center.shape)

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``values * scale + center``, of the same shape."""
        center, scale = require_fitted(self, self.center_, self.scale_)
        return apply_steps(values, (np.multiply, scale), (np.add, center), shape=center.shape)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {
            "scaler": "mml/robust",
            "quantile_range": list(self.quantile_range),
            "with_centering": self.with_centering,
            "with_scaling": self.with_scaling,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler, not fitted."""
        return made_with(cls, settings_beside(config, "scaler"))

    def get_state(self) -> State:
        """Return what was learnt; empty before fitting."""
        if self.center_ is None or self.scale_ is None:
            return {}
        return {"center": self.center_.copy(), "scale": self.scale_.copy()}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self.center_, self.scale_ = read_statistics(self, state, ("center", "scale"))
