"""`NegateScaler` and `AbsoluteScaler`: values by their sign alone; neither learns anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.errors import ScalerError
from mml.processing.scalers.elementwise import in_blocks, require_empty, sample_shape
from mml.protocols import Config, State


@dataclass(frozen=True)
class NegateScaler:
    """Turns the sign of every value. Dtypes are as in `StandardScaler`.

    Examples
    --------
    >>> NegateScaler().transform(np.array([1.0, -2.0])).tolist()
    [-1.0, 2.0]
    """

    thread_safe: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    def fit(self, values: np.ndarray) -> Self:
        """Learn nothing from values ``(n, *shape)``."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Learn nothing from blocks of rows; one is looked at."""
        sample_shape(blocks)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``-values``, of the same shape."""
        return in_blocks(values, lambda block, _: np.negative(block, out=block))

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``-values``, of the same shape."""
        return self.transform(values)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {"scaler": "mml/negate"}

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


@dataclass(frozen=True)
class AbsoluteScaler:
    """Drops the sign of every value, which cannot be inverted. Dtypes are as in `StandardScaler`.

    Examples
    --------
    >>> AbsoluteScaler().transform(np.array([1.0, -2.0])).tolist()
    [1.0, 2.0]
    """

    thread_safe: ClassVar[bool] = True
    learns: ClassVar[bool] = False

    def fit(self, values: np.ndarray) -> Self:
        """Learn nothing from values ``(n, *shape)``."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Learn nothing from blocks of rows; one is looked at."""
        sample_shape(blocks)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``abs(values)``, of the same shape."""
        return in_blocks(values, lambda block, _: np.abs(block, out=block))

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Refuse.

        Raises
        ------
        ScalerError
            Always: the sign is lost.
        """
        raise ScalerError(
            "Absolute values cannot be inverted: their signs are lost.",
            found=f"{np.shape(values)}",
            hint="Undo the transform of the FeatureSet instead, e.g. with undo_last_transform: it keeps the "
            "raw values.",
        )

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {"scaler": "mml/absolute"}

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
