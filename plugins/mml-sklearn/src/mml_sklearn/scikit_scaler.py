"""The interface of the data floor for one column, filled by a transformer of scikit-learn.

Samples of any shape are ravelled to features and brought back. Which transformers there are is the business
of `scalers`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from mml.errors import MMLError, ScalerError, StateError
from mml.protocols import Config, State
from mml_sklearn.random_state import open_parameters, seeded
from mml_sklearn.states import estimator_of, state_of

_NO_INVERSE = "Undo the transform of the FeatureSet instead: it keeps the raw values."


class ScikitScaler(ABC):
    """One transformer on one column.

    A transformer that makes other features than it gets, such as SplineTransformer, turns samples of any
    shape into flat ones. It must map each row by itself: the FeatureSet evaluates rows in blocks of any size.

    Parameters
    ----------
    estimator : sklearn estimator
        Owned by the scaler, not fitted.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self._open_parameters = open_parameters(estimator)
        self._shape: tuple[int, ...] | None = None

    @property
    @abstractmethod
    def title(self) -> str:
        """How messages call it."""

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``; a `random_state` that was left open is the same every time."""
        with self._explained("fit"), seeded(self.estimator, self._open_parameters, 0):
            self.estimator.fit(_ravelled(values))
        self._shape = values.shape[1:]
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Map values ``(n, *shape)``; most keep float32 and float64, and make float64 of integers.

        Returns
        -------
        numpy.ndarray
            ``(n, *shape)``, or ``(n, m)`` where the transformer makes another number of features.
        """
        with self._explained("transform"):
            return self._mapped(self.estimator.transform, values, values.shape[1:])

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Map transformed values back to ``(n, *shape)``.

        Raises
        ------
        ScalerError
            If the transformer loses what would be needed, as Normalizer does.
        """
        if not _can_invert(self.estimator):
            raise ScalerError(f"What {self.title} did cannot be inverted.", hint=_NO_INVERSE)
        shape = values.shape[1:] if self._shape is None else self._shape
        with self._explained("inverse_transform"):
            return self._mapped(self.estimator.inverse_transform, values, shape)

    def get_state(self) -> State:
        """Return the transformer as one array of bytes, beside the shape of the samples that it saw."""
        return {**state_of(self.estimator), "shape": None if self._shape is None else list(self._shape)}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        rest = dict(state)
        shape = rest.pop("shape", None)
        if shape is not None and not all(isinstance(one, int) for one in shape):
            raise StateError(f"This is no state of {self!r}.", found=f"shape={shape!r}")
        self.estimator = estimator_of(rest, like=self.estimator, input_shape=None)
        self._shape = None if shape is None else tuple(shape)

    @abstractmethod
    def get_config(self) -> Config:
        """Return the transformer's arguments that differ from their defaults."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, ScikitScaler):
            return False
        return self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"sklearn/{self.estimator!r}"

    def _mapped(self, method: Any, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        flat = _ravelled(values)
        # Transformers refuse to work on nothing; one row tells what they would have made of it.
        result = method(flat if len(flat) else np.ones((1, flat.shape[1]), dtype=flat.dtype))
        if hasattr(result, "toarray"):
            raise ScalerError(
                f"{self.title} returns a sparse matrix; columns are dense.",
                hint="Give it sparse_output=False, or encode='onehot-dense' or 'ordinal'.",
            )
        made = np.asarray(result)
        made = made.reshape(len(made), -1)[: len(values)]
        return made.reshape(len(values), *shape) if made.shape[1] == math.prod(shape) else made

    @contextmanager
    def _explained(self, method: str) -> Iterator[None]:
        from sklearn.exceptions import NotFittedError

        try:
            yield
        except MMLError:
            raise
        except NotFittedError as cause:
            raise ScalerError(
                f"{self.title} is not fitted.", hint="Call fit, or FeatureSet.fit_transform."
            ) from cause
        except Exception as cause:
            raise ScalerError(f"{self.title} failed in {method}: {cause}") from cause


def _can_invert(estimator: Any) -> bool:
    # A FunctionTransformer without an inverse function hands values back as they are, which is no inverse.
    has_function = getattr(estimator, "func", None) is not None
    if has_function and hasattr(estimator, "inverse_func") and estimator.inverse_func is None:
        return False
    return hasattr(estimator, "inverse_transform")


def _ravelled(values: np.ndarray) -> np.ndarray:
    return values if values.ndim == 2 else values.reshape(len(values), math.prod(values.shape[1:]))
