"""Scikit-learn's transformers as scalers of FeatureSets.

The usual ones have a class each, because a scaler is found again by its class; `Transformer` takes every
other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

from mml.configuration import checked_config, settings_beside
from mml.errors import ScalerError
from mml.protocols import Config
from mml_sklearn.arguments import arguments_of, make, name_of, read
from mml_sklearn.scikit_scaler import ScikitScaler


class NamedScaler(ScikitScaler):
    """A transformer of ``sklearn.preprocessing`` with a registered name of its own.

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
        super().__init__(make(self.wrapped_class(), kwargs, node=self.transformer))

    @classmethod
    def wrapped_class(cls) -> type:
        """Return the class of the transformer."""
        import sklearn.preprocessing

        found: type = getattr(sklearn.preprocessing, cls.transformer)
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
            super().__init__(_checked(read(transformer, where="the transformer of a scaler")))
        else:
            super().__init__(_copied(transformer))

    @classmethod
    def factory_for(cls, target: Any) -> Callable[..., ScikitScaler]:
        """Return a function that makes scalers of a transformer, or of a class from its arguments."""
        named = _named(target if isinstance(target, type) else type(target))
        if isinstance(target, type):
            return named or (lambda **kwargs: cls(make(target, kwargs, node=target.__name__)))
        kept = _copied(target)
        if named is not None:
            return lambda: named.around(_copied(kept))
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


class StandardScaler(NamedScaler):
    """Mean 0 and variance 1 per feature."""

    transformer = "StandardScaler"


class MinMaxScaler(NamedScaler):
    """From smallest to largest value onto a range, per feature."""

    transformer = "MinMaxScaler"


class MaxAbsScaler(NamedScaler):
    """Divides by the largest absolute value, per feature."""

    transformer = "MaxAbsScaler"


class RobustScaler(NamedScaler):
    """Subtracts the median and divides by the range between two quantiles, per feature."""

    transformer = "RobustScaler"


class QuantileTransformer(NamedScaler):
    """Replaces values by their ranks, per feature."""

    transformer = "QuantileTransformer"


class PowerTransformer(NamedScaler):
    """Bends values towards a normal distribution, per feature."""

    transformer = "PowerTransformer"


class Normalizer(NamedScaler):
    """Scales every sample to length 1."""

    transformer = "Normalizer"


class Binarizer(NamedScaler):
    """1 above a threshold, else 0."""

    transformer = "Binarizer"


class KBinsDiscretizer(NamedScaler):
    """The number of the bin that a value falls into, per feature."""

    transformer = "KBinsDiscretizer"


class PolynomialFeatures(NamedScaler):
    """Products of features up to a degree: other features than it gets."""

    transformer = "PolynomialFeatures"


class SplineTransformer(NamedScaler):
    """A basis of splines per feature: more features than it gets."""

    transformer = "SplineTransformer"


def _named(cls: type) -> type[NamedScaler] | None:
    """Return the scaler that is registered for this very class of transformers."""
    for one in NamedScaler.__subclasses__():
        if one.transformer == cls.__name__ and one.wrapped_class() is cls:
            return one
    return None


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
