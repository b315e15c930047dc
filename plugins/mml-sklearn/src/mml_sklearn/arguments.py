"""Constructor arguments of estimators as JSON and back, and estimators made from them.

What plain JSON lacks is written as a dictionary of one mark: ``{"tuple": [...]}``, ``{"items": [[k, v]]}``
(dictionaries with other than string keys), ``{"float": "nan"}``, ``{"array": ..., "dtype": ...}``,
``{"dtype": "float32"}``, ``{"slice": [...]}``, ``{"ufunc": "log1p"}`` for NumPy's own, and
``{"model": name, "kwargs": {...}}`` for estimators inside estimators. Other functions and objects have no
such form and are refused by name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import singledispatch
from typing import Any

import numpy as np

from mml.errors import ConfigError, MMLError, ModelError, did_you_mean, listed
from mml.plugins import registry
from mml_sklearn.estimators import ESTIMATORS

_MARKS = (
    {"tuple"},
    {"items"},
    {"float"},
    {"dtype"},
    {"slice"},
    {"ufunc"},
    {"array", "dtype"},
    {"model"},
    {"model", "kwargs"},
)
_BACKEND = "sklearn"


def name_of(cls: type) -> str:
    """Return how a class of estimators is written down: ``sklearn/PCA``, or its own import path.

    Raises
    ------
    ConfigError
        If no name brings the class back.
    """
    module = ESTIMATORS.get(cls.__name__)
    if module is not None and (cls.__module__ == module or cls.__module__.startswith(f"{module}.")):
        return f"{_BACKEND}/{cls.__name__}"
    return registry("models").name_of(cls)


def arguments_of(estimator: Any, *, where: str = "") -> dict[str, Any]:
    """Return the constructor arguments that differ from their defaults, as JSON.

    Parameters
    ----------
    estimator : object with `get_params`
    where : str
        The estimator around this one, for messages.

    Raises
    ------
    ConfigError
        Naming the argument that JSON cannot hold.
    """
    return written(chosen_of(estimator), of=type(estimator), where=where)


def written(values: Mapping[str, Any], *, of: Any, where: str = "") -> dict[str, Any]:
    """Return arguments of a class or factory as JSON.

    Raises
    ------
    ConfigError
        Naming the argument that JSON cannot hold.
    """
    title = getattr(of, "__name__", repr(of))
    return {name: _written(value, f"{where}argument {name!r} of {title}") for name, value in values.items()}


def chosen_of(estimator: Any) -> dict[str, Any]:
    """Return the constructor arguments that differ from their defaults, as they are, sorted by name."""
    defaults = _defaults(type(estimator))
    return {
        name: value
        for name, value in sorted(estimator.get_params(deep=False).items())
        if name not in defaults or not _same(value, defaults[name])
    }


def make(target: Callable[..., Any], kwargs: Mapping[str, Any], *, node: str | None) -> Any:
    """Call a class or factory with arguments that may be written as JSON.

    A list stands for a tuple where the argument's default is a tuple, so that documents may write lists.

    Raises
    ------
    ModelError
        If an argument is unknown or missing, or the constructor refuses it.
    """
    values = {name: read(value, where=f"node {node!r}, argument {name!r}") for name, value in kwargs.items()}
    defaults = _defaults(target)
    for name, value in values.items():
        if isinstance(value, list) and isinstance(defaults.get(name), tuple):
            values[name] = tuple(value)
    _check_names(target, values, node)
    try:
        return target(**values)
    except MMLError:
        raise
    except Exception as cause:
        raise ModelError(
            f"{getattr(target, '__name__', target)} cannot be made from these arguments: {cause}",
            where={"node": node},
            found=listed(values),
        ) from cause


def read(value: Any, *, where: str) -> Any:
    """Return the argument that JSON stands for; what is no JSON passes as it is.

    Raises
    ------
    ConfigError
        If a mark holds what it cannot hold.
    """
    if isinstance(value, list):
        return [read(one, where=where) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) not in _MARKS:
        return {key: read(one, where=where) for key, one in value.items()}
    try:
        return _read_mark(value, where)
    except MMLError:
        raise
    except Exception as cause:
        raise ConfigError(
            f"This is not how an argument is written: {cause}", where=where, found=repr(value)
        ) from cause


def _read_mark(value: dict[str, Any], where: str) -> Any:
    if "model" in value:
        return _made(value["model"], value.get("kwargs", {}), where)
    if "array" in value:
        return np.array(read(value["array"], where=where), dtype=np.dtype(value["dtype"]))
    ((mark, content),) = value.items()
    return _READERS[mark](read(content, where=where))


def _ufunc(name: str) -> np.ufunc:
    found = getattr(np, name, None)
    if not isinstance(found, np.ufunc):
        raise ConfigError(f"NumPy has no ufunc {name!r}.")
    return found


_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "items": dict,
    "float": float,
    "slice": lambda parts: slice(*parts),
    "dtype": lambda name: np.dtype(name).type,
    "ufunc": _ufunc,
}


def _made(name: str, kwargs: Mapping[str, Any], where: str) -> Any:
    cls = registry("models").load(name, backend=_BACKEND)
    # Nothing but a class that has parameters is called: a path to any other callable is no estimator.
    if not isinstance(cls, type) or not hasattr(cls, "get_params"):
        raise ConfigError(f"{name!r} is no class of estimators.", where=where, found=repr(cls))
    return make(cls, kwargs, node=where)


@singledispatch
def _written(value: Any, where: str) -> Any:
    if hasattr(value, "get_params"):
        return {"model": name_of(type(value)), "kwargs": arguments_of(value, where=f"{where}, ")}
    raise _unwritable(value, where)


@_written.register(type(None))
@_written.register(bool)
@_written.register(int)
@_written.register(str)
def _(value: Any, _where: str) -> Any:
    return value


@_written.register
def _(value: float, _where: str) -> Any:
    return float(value) if math.isfinite(value) else {"float": str(float(value))}


@_written.register
def _(value: np.generic, where: str) -> Any:
    return _written(value.item(), where)


@_written.register
def _(value: list, where: str) -> Any:  # type: ignore[type-arg]  # a dispatch goes by the bare class
    return [_written(one, where) for one in value]


@_written.register
def _(value: tuple, where: str) -> Any:  # type: ignore[type-arg]  # a dispatch goes by the bare class
    if type(value) is not tuple:
        raise _unwritable(value, where)
    return {"tuple": [_written(one, where) for one in value]}


@_written.register
def _(value: dict, where: str) -> Any:  # type: ignore[type-arg]  # a dispatch goes by the bare class
    if all(isinstance(key, str) for key in value) and set(value) not in _MARKS:
        return {key: _written(one, where) for key, one in value.items()}
    return {"items": [[_written(key, where), _written(one, where)] for key, one in value.items()]}


@_written.register
def _(value: np.ndarray, where: str) -> Any:
    if value.dtype.kind not in "biufU":
        raise _unwritable(value, where)
    return {"array": _written(value.tolist(), where), "dtype": value.dtype.str}


@_written.register
def _(value: np.dtype, _where: str) -> Any:
    return {"dtype": value.name}


@_written.register
def _(value: type, where: str) -> Any:
    if not issubclass(value, np.generic):
        raise _unwritable(value, where)
    return {"dtype": np.dtype(value).name}


@_written.register
def _(value: slice, where: str) -> Any:
    return {"slice": [_written(one, where) for one in (value.start, value.stop, value.step)]}


@_written.register
def _(value: np.ufunc, where: str) -> Any:
    if getattr(np, value.__name__, None) is not value:
        raise _unwritable(value, where)
    return {"ufunc": value.__name__}


def _unwritable(value: Any, where: str) -> ConfigError:
    return ConfigError(
        "This argument of an estimator cannot be written into a configuration.",
        where=where,
        found=repr(value),
        hint="Use a name that scikit-learn knows or a ufunc of NumPy, or make a subclass that needs no such "
        "argument.",
    )


def _defaults(target: Any) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in _parameters(target).items()
        if parameter.default is not inspect.Parameter.empty
    }


def _parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        # Some callables written in C do not tell; they are then called unchecked.
        return {}


def _check_names(target: Any, values: Mapping[str, Any], node: str | None) -> None:
    parameters = _parameters(target)
    kinds = inspect.Parameter
    if not parameters or any(
        one.kind in (kinds.VAR_KEYWORD, kinds.VAR_POSITIONAL) for one in parameters.values()
    ):
        return
    title = getattr(target, "__name__", repr(target))
    for name in values:
        if name not in parameters:
            raise ModelError(
                f"{title} takes no argument {name!r}.",
                where={"node": node},
                hint=did_you_mean(name, parameters),
            )
    missing = [name for name, one in parameters.items() if one.default is kinds.empty and name not in values]
    if missing:
        raise ModelError(f"{title} needs {listed(missing)}.", where={"node": node}, found=listed(values))


def _same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    if type(value) is not type(default):
        return False
    if isinstance(value, float) and math.isnan(value):
        return math.isnan(default)
    if isinstance(value, np.ndarray):
        return bool(value.dtype == default.dtype and np.array_equal(value, default))
    same = value == default
    return bool(same) if isinstance(same, bool | np.bool_) else False
