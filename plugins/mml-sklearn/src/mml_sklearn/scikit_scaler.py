"""The interface of the data floor for one column, filled by a transformer of scikit-learn.

Samples of any shape are ravelled to features and brought back. Which transformers there are is the business
of `scalers`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from mml.errors import MMLError, ScalerError, StateError
from mml.protocols import Config, State
from mml_sklearn.random_state import global_generator, open_parameters, seeded
from mml_sklearn.row_calls import RowCalls, height_of, parts_of
from mml_sklearn.states import estimator_of, lay_out, state_of

_NO_INVERSE = "Undo the transform of the FeatureSet instead: it keeps the raw values."


class ScikitScaler(ABC):
    """One transformer on one column.

    A transformer that makes other features than it gets, such as SplineTransformer, turns samples of any
    shape into flat ones. It must map each row by itself: the FeatureSet evaluates rows in blocks of any size,
    and `RowCalls` sees to it that a row's bits do not depend on them.

    Parameters
    ----------
    estimator : sklearn estimator
        Owned by the scaler, not fitted.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self._open_parameters = open_parameters(estimator)
        self._shape: tuple[int, ...] | None = None
        self._calls: dict[str, RowCalls] = {}

    @property
    @abstractmethod
    def title(self) -> str:
        """How messages call it."""

    @property
    def learns(self) -> bool:
        """Whether scikit-learn says that the transformer, or a part of it, has to be fitted."""
        return any(map(_requires_fit, parts_of(self.estimator)))

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``; a `random_state` that was left open is the same every time."""
        with (
            self._explained("fit"),
            global_generator() as seed_global,
            seeded(self.estimator, self._open_parameters, 0),
        ):
            # Isomap has no `random_state` and draws from the generator of the process.
            seed_global(0)
            self.estimator.fit(_ravelled(values))
        lay_out(self.estimator)
        self._shape, self._calls = values.shape[1:], {}
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Map values ``(n, *shape)``; most keep float32 and float64, and make float64 of integers.

        Returns
        -------
        numpy.ndarray
            ``(n, *shape)``, or ``(n, m)`` where the transformer makes another number of features.
        """
        with self._explained("transform"):
            return self._mapped("transform", values, values.shape[1:])

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
            return self._mapped("inverse_transform", values, shape)

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
        self._shape, self._calls = None if shape is None else tuple(shape), {}

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

    def _mapped(self, method: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        flat = _ravelled(values)
        if method not in self._calls:
            self._calls[method] = RowCalls(self._dense(method), height_of(self.estimator))
        # Transformers refuse to work on nothing; one row tells what they would have made of it.
        made = self._calls[method](flat if len(flat) else np.ones((1, flat.shape[1]), dtype=flat.dtype))
        made = made[: len(values)]
        return made.reshape(len(values), *shape) if made.shape[1] == math.prod(shape) else made

    def _dense(self, method: str) -> Callable[[np.ndarray], np.ndarray]:
        call = getattr(self.estimator, method)

        def dense(rows: np.ndarray) -> np.ndarray:
            result = call(rows)
            if hasattr(result, "toarray"):
                raise ScalerError(
                    f"{self.title} returns a sparse matrix; columns are dense.",
                    hint="Give it sparse_output=False, or encode='onehot-dense' or 'ordinal'.",
                )
            made = np.asarray(result)
            if made.shape[:1] != rows.shape[:1]:
                raise ScalerError(
                    f"{self.title} does not map row by row.",
                    expected=f"{len(rows)} rows",
                    found=f"values of shape {made.shape}",
                )
            return made.reshape(len(made), -1)

        return dense

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


def _requires_fit(estimator: Any) -> bool:
    if hasattr(estimator, "__sklearn_tags__"):
        return bool(estimator.__sklearn_tags__().requires_fit)
    # Before 1.6, tags were a dictionary.
    return bool(estimator._get_tags()["requires_fit"]) if hasattr(estimator, "_get_tags") else True


def _ravelled(values: np.ndarray) -> np.ndarray:
    """Return rows of features one behind the other in memory: how they lie must not show in their bits."""
    return np.ascontiguousarray(values).reshape(len(values), math.prod(values.shape[1:]))
