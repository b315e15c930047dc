"""Scikit-learn's transformers as scalers of FeatureSets.

Each that has a registered name gets a class of its own, because a scaler is found again by its class;
`Transformer` takes every other.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, Self

from mml.configuration import checked_config, settings_beside
from mml.errors import MMLError, ScalerError
from mml.protocols import Config
from mml_sklearn.arguments import arguments_of, make, name_of, read
from mml_sklearn.estimators import ESTIMATORS
from mml_sklearn.scaler_names import SCALERS
from mml_sklearn.scikit_scaler import ScikitScaler


class NamedScaler(ScikitScaler):
    """A transformer of scikit-learn with a registered name of its own.

    Parameters
    ----------
    **kwargs
        Arguments of the transformer.

    Raises
    ------
    ScalerError
        If the transformer does not take them; near misses are listed.
    """

    transformer: ClassVar[str]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(_made(self.wrapped_class(), kwargs))

    @classmethod
    def wrapped_class(cls) -> type:
        """Return the class of the transformer."""
        module = importlib.import_module(ESTIMATORS[cls.transformer])
        found: type = getattr(module, cls.transformer)
        return found

    @classmethod
    def around(cls, estimator: Any) -> Self:
        """Return a scaler that owns this transformer."""
        scaler = cls.__new__(cls)
        ScikitScaler.__init__(scaler, estimator)
        return scaler

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"sklearn/{self.transformer}"

    def get_config(self) -> Config:
        """Return the arguments that differ from their defaults."""
        return {"scaler": f"sklearn/{self.transformer}", **arguments_of(self.estimator)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler, not fitted."""
        return cls(**settings_beside(config, "scaler"))


class Transformer(ScikitScaler):
    """Any transformer of scikit-learn, or made after its pattern.

    ``fs.fit_transform(PCA(2), domain="features")`` makes one; it need not be named.

    Parameters
    ----------
    transformer : sklearn estimator, or dict
        Copied, never changed; or how a config writes it, ``{"model": name, "kwargs": {...}}``.

    Raises
    ------
    ScalerError
        If it does not fit and transform.
    """

    def __init__(self, transformer: Any) -> None:
        if isinstance(transformer, dict):
            super().__init__(_checked(_read(transformer)))
        else:
            super().__init__(_copied(transformer))

    @classmethod
    def factory_for(cls, target: Any) -> Callable[..., ScikitScaler]:
        """Return a function that makes scalers of a transformer, or of a class from its arguments."""
        own = _around(target if isinstance(target, type) else type(target))
        if isinstance(target, type):
            return own or (lambda **kwargs: cls(_made(target, kwargs)))
        kept = _copied(target)
        if own is not None:
            return lambda: own.around(_copied(kept))
        return lambda: cls(kept)

    @property
    def title(self) -> str:
        """How messages call it."""
        return type(self.estimator).__name__

    def get_config(self) -> Config:
        """Return the transformer's name and the arguments that differ from their defaults."""
        written = {"model": name_of(type(self.estimator)), "kwargs": arguments_of(self.estimator)}
        return {"scaler": "sklearn/Transformer", "transformer": written}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler, not fitted."""
        known = checked_config(
            config, "a Transformer of scikit-learn", required=("transformer",), optional=("scaler",)
        )
        return cls(known["transformer"])


@cache
def named(name: str) -> type[NamedScaler]:
    """Return the class of scalers around a transformer of scikit-learn, always the same for a name."""
    content = {"__doc__": SCALERS[name], "__module__": __name__, "transformer": name}
    return type(name, (NamedScaler,), content)


def __getattr__(name: str) -> Any:
    # Registered names lead here, one for each transformer.
    if name in SCALERS:
        return named(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _around(cls: type) -> type[NamedScaler] | None:
    """Return the scaler that is registered for this very class of transformers."""
    if cls.__name__ not in SCALERS or named(cls.__name__).wrapped_class() is not cls:
        return None
    return named(cls.__name__)


def _made(target: Any, kwargs: Mapping[str, Any]) -> Any:
    """Return a transformer made from its arguments; who scales knows of no node that could refuse them."""
    try:
        return make(target, kwargs, node=getattr(target, "__name__", repr(target)))
    except MMLError as cause:
        raise _refused(cause) from cause


def _read(config: Mapping[str, Any]) -> Any:
    try:
        return read(dict(config), where="the transformer of a scaler")
    except MMLError as cause:
        raise _refused(cause) from cause


def _refused(cause: MMLError) -> ScalerError:
    return ScalerError(cause.what, expected=cause.expected, found=cause.found, hint=cause.hint)


def _copied(transformer: Any) -> Any:
    """Return an unfitted copy of a transformer."""
    from sklearn.base import clone

    _checked(transformer)
    try:
        return clone(transformer)
    except Exception as cause:
        raise ScalerError(f"{type(transformer).__name__} cannot be copied: {cause}") from cause


def _checked(transformer: Any) -> Any:
    title = transformer.__name__ if isinstance(transformer, type) else type(transformer).__name__
    for method in ("fit", "transform", "get_params"):
        if isinstance(transformer, type) or not hasattr(transformer, method):
            raise ScalerError(
                f"{title} is no scaler: it has no {method}.",
                expected="a transformer with fit and transform, such as sklearn.decomposition.PCA()",
            )
    return transformer
