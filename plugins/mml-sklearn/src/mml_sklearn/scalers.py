"""Scikit-learn's preprocessing transformers as scalers of FeatureSets.

Each fills the interface of the data floor for one column: samples of any shape are ravelled to features and
brought back. A class per transformer, because a scaler is found again by its class.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np

from mml.configuration import settings_beside
from mml.errors import MMLError, ScalerError
from mml.protocols import Config, State
from mml_sklearn.arguments import arguments_of, make
from mml_sklearn.random_state import open_parameters, seeded
from mml_sklearn.states import estimator_of, state_of


class ScikitScaler:
    """One transformer of ``sklearn.preprocessing`` on one column.

    Parameters
    ----------
    **kwargs
        Arguments of the transformer.

    Raises
    ------
    ModelError
        If the transformer does not take them.
    """

    transformer: ClassVar[str]

    def __init__(self, **kwargs: Any) -> None:
        import sklearn.preprocessing

        self.estimator = make(getattr(sklearn.preprocessing, self.transformer), kwargs, node=self.transformer)
        self._open_parameters = open_parameters(self.estimator)

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``; a `random_state` that was left open is the same every time."""
        with self._explained("fit"), seeded(self.estimator, self._open_parameters, 0):
            self.estimator.fit(_ravelled(values))
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Map values ``(n, *shape)``; float32 and float64 are kept, integers become float64."""
        with self._explained("transform"):
            return self._mapped(self.estimator.transform, values)

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Map transformed values ``(n, *shape)`` back.

        Raises
        ------
        ScalerError
            If the transformer loses what would be needed, as Normalizer does.
        """
        if not hasattr(self.estimator, "inverse_transform"):
            raise ScalerError(
                f"What sklearn/{self.transformer} did cannot be inverted.",
                hint="Undo the transform of the FeatureSet instead: it keeps the raw values.",
            )
        with self._explained("inverse_transform"):
            return self._mapped(self.estimator.inverse_transform, values)

    def get_config(self) -> Config:
        """Return the arguments that differ from their defaults."""
        return {"scaler": f"sklearn/{self.transformer}", **arguments_of(self.estimator)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler, not fitted."""
        return cls(**settings_beside(config, "scaler"))

    def get_state(self) -> State:
        """Return the transformer as one array of bytes."""
        return state_of(self.estimator)

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self.estimator = estimator_of(state, like=self.estimator, input_shape=None)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"sklearn/{self.estimator!r}"

    def _mapped(self, method: Any, values: np.ndarray) -> np.ndarray:
        if len(values) == 0:
            return np.zeros(values.shape, dtype=values.dtype if values.dtype.kind == "f" else np.float64)
        return np.asarray(method(_ravelled(values))).reshape(values.shape)

    @contextmanager
    def _explained(self, method: str) -> Iterator[None]:
        from sklearn.exceptions import NotFittedError

        try:
            yield
        except MMLError:
            raise
        except NotFittedError as cause:
            raise ScalerError(
                f"sklearn/{self.transformer} is not fitted.", hint="Call fit, or FeatureSet.fit_transform."
            ) from cause
        except Exception as cause:
            raise ScalerError(f"sklearn/{self.transformer} failed in {method}: {cause}") from cause


class StandardScaler(ScikitScaler):
    """Mean 0 and variance 1 per feature."""

    transformer = "StandardScaler"


class MinMaxScaler(ScikitScaler):
    """From smallest to largest value onto a range, per feature."""

    transformer = "MinMaxScaler"


class MaxAbsScaler(ScikitScaler):
    """Divides by the largest absolute value, per feature."""

    transformer = "MaxAbsScaler"


class RobustScaler(ScikitScaler):
    """Subtracts the median and divides by the range between two quantiles, per feature."""

    transformer = "RobustScaler"


class QuantileTransformer(ScikitScaler):
    """Replaces values by their ranks, per feature."""

    transformer = "QuantileTransformer"


class PowerTransformer(ScikitScaler):
    """Bends values towards a normal distribution, per feature."""

    transformer = "PowerTransformer"


class Normalizer(ScikitScaler):
    """Scales every sample to length 1."""

    transformer = "Normalizer"


def _ravelled(values: np.ndarray) -> np.ndarray:
    width = int(np.prod(values.shape[1:], dtype=np.int64))
    return values if values.ndim == 2 else values.reshape(len(values), width)
