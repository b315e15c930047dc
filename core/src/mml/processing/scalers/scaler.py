"""`Scaler`: a scaler declared by name, class or instance, with its settings."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np

from mml.configuration import require_settings
from mml.data.components import build_scaler, scaler_config, scaler_factory
from mml.data.protocols import ScalerLike, is_per_sample
from mml.data.scaler_calls import explained, mapped, state_of
from mml.errors import ConfigError, MMLError, ScalerError, listed
from mml.plugins import registry
from mml.processing.scalers.elementwise import require_numbers
from mml.protocols import Config, State


class Scaler:
    """A scaler of any origin behind one interface.

    Parameters
    ----------
    scaler : str, class or instance
        A registered name, a scaler class, a scaler whose settings are copied, or a class or object of a
        library that a plugin wraps.
    **kwargs
        Settings of the class; not with an instance, which has its own.

    Examples
    --------
    >>> Scaler("minmax", feature_range=(-1, 1)).fit_transform(np.array([2.0, 4.0])).tolist()
    [-1.0, 1.0]
    """

    def __init__(self, scaler: Any, /, **kwargs: Any) -> None:
        if kwargs and not isinstance(scaler, (str, type)):
            raise ScalerError(
                "Settings go with the name or class of a scaler.",
                found=f"an instance {scaler!r} and {sorted(kwargs)}",
            )
        self._title = repr(scaler)[:80]
        kind = registry("scalers").load(scaler) if isinstance(scaler, str) else scaler
        self._make = scaler_factory(kind)
        self._kwargs = self._copied(kwargs)
        self._fitted: ScalerLike = self.build()

    def build(self) -> ScalerLike:
        """Return a fresh, unfitted scaler.

        Raises
        ------
        ScalerError
            If the class does not take the settings; near misses are listed.
        """
        settings = self._copied(self._kwargs)
        if isinstance(self._make, type):
            self._require_settings(self._make, settings)
        try:
            return self._make(**settings)
        except MMLError:
            raise
        except Exception as cause:
            raise ScalerError(
                f"The scaler {self._title} does not take these settings: {cause}", found=listed(settings)
            ) from cause

    @property
    def wrapped(self) -> ScalerLike:
        """The scaler itself."""
        return self._fitted

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``."""
        with explained(self._fitted, "fit"):
            self._fitted.fit(require_numbers(values))
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return mapped values ``(n, *shape)``."""
        return mapped(self._fitted, require_numbers(values))

    def fit_transform(self, values: np.ndarray) -> np.ndarray:
        """Learn from values and map them."""
        return self.fit(values).transform(values)

    def inverse_transform(self, values: np.ndarray, *, inputs: np.ndarray | None = None) -> np.ndarray:
        """Return values ``(n, *shape)`` in raw units.

        Parameters
        ----------
        values : numpy.ndarray
            Transformed values.
        inputs : numpy.ndarray, optional
            What `transform` got for the same samples; scalers that work per sample need it.
        """
        scaler: Any = self._fitted
        if not is_per_sample(scaler):
            with explained(scaler, "inverse_transform"):
                return np.asarray(scaler.inverse_transform(require_numbers(values)))
        if inputs is None:
            raise ScalerError(
                f"{scaler!r} works per sample; inversion needs to know the samples.",
                hint="Pass inputs=..., the values that were transformed.",
            )
        with explained(scaler, "sample_state"):
            state = scaler.sample_state(require_numbers(inputs))
        with explained(scaler, "inverse_transform"):
            return np.asarray(scaler.inverse_transform(require_numbers(values), state))

    def get_config(self) -> Config:
        """Return the wrapped scaler's config, with the name that brings its class back."""
        return scaler_config(self._fitted)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal declaration."""
        return cls(build_scaler(config))

    def get_state(self) -> State:
        """Return what was learnt."""
        return state_of(self._fitted)

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self._fitted.set_state(state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scaler) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(type(self._fitted))

    def __repr__(self) -> str:
        return f"Scaler({self._fitted!r})"

    def _require_settings(self, scaler: type, settings: Config) -> None:
        try:
            require_settings(scaler, settings)
        except ConfigError as cause:
            what = f"The scaler {self._title} does not take these settings: {cause.what}"
            raise ScalerError(what, hint=cause.hint) from cause

    def _copied(self, settings: Config) -> Config:
        """Return a copy, so that a list that its owner changes later changes no scaler."""
        try:
            return copy.deepcopy(settings)
        except Exception as cause:
            raise ScalerError(f"The settings of {self._title} cannot be copied: {cause}") from cause
