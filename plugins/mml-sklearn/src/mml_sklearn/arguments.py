"""Constructor arguments of estimators as JSON and back, and estimators made from them.

What plain JSON lacks is written as a dictionary of one mark: ``{"tuple": [...]}``, ``{"items": [[k, v]]}``
(dictionaries with other than string keys), ``{"float": "nan"}``, ``{"array": ..., "dtype": ...}``,
``{"dtype": "float32"}``, ``{"slice": [...]}``, and ``{"model": name, "kwargs": {...}}`` for estimators inside
estimators. Functions and other objects have no such form and are refused by name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
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


def arguments_of(estimator: Any, *, where: str) -> dict[str, Any]:
    """Return the constructor arguments that differ from their defaults, as JSON.

    Parameters
    ----------
    estimator : object with `get_params`
    where : str
        The place, for messages.

    Raises
    ------
    ConfigError
        Naming the argument that JSON cannot hold.
    """
    return {
        name: _written(value, f"{where}, argument {name!r}") for name, value in chosen_of(estimator).items()
    }


def chosen_of(estimator: Any) -> dict[str, Any]:
    """Return the constructor arguments that differ from their defaults, as they are, sorted by name."""
    defaults = _defaults(type(estimator))
    return {
        name: value
        for name, value in sorted(estimator.get_params(deep=False).items())
        if name not in defaults or not _same(value, defaults[name])
    }


def make(target: Callable[..., Any], kwargs: Mapping[str, Any], *, node: str) -> Any:
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
    match value:
        case {"tuple": parts}:
            return tuple(read(one, where=where) for one in parts)
        case {"items": pairs}:
            return {read(key, where=where): read(one, where=where) for key, one in pairs}
        case {"float": text}:
            return float(text)
        case {"slice": parts}:
            return slice(*parts)
        case {"array": parts, "dtype": dtype}:
            return np.array(read(parts, where=where), dtype=np.dtype(dtype))
        case {"dtype": dtype}:
            return np.dtype(dtype).type
    return _made(value["model"], value.get("kwargs", {}), where)


def _made(name: str, kwargs: Mapping[str, Any], where: str) -> Any:
    cls = registry("models").load(name, backend=_BACKEND)
    # Nothing but a class that has parameters is called: a path to any other callable is no estimator.
    if not isinstance(cls, type) or not hasattr(cls, "get_params"):
        raise ConfigError(f"{name!r} is no class of estimators.", where=where, found=repr(cls))
    return make(cls, kwargs, node=where)


def _written(value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, list):
        return [_written(one, where) for one in value]
    if type(value) is tuple:
        return {"tuple": [_written(one, where) for one in value]}
    if isinstance(value, dict):
        return _written_dict(value, where)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        return {"array": _written(value.tolist(), where), "dtype": value.dtype.str}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"dtype": np.dtype(value).name}
    if isinstance(value, slice):
        return {"slice": [_written(one, where) for one in (value.start, value.stop, value.step)]}
    if hasattr(value, "get_params") and not isinstance(value, type):
        inner = f"{where}: {type(value).__name__}"
        return {"model": name_of(type(value)), "kwargs": arguments_of(value, where=inner)}
    raise ConfigError(
        "This argument of an estimator cannot be written into a configuration.",
        where=where,
        found=repr(value),
        hint="Use a name that scikit-learn knows, or make a subclass that needs no such argument.",
    )


def _written_dict(value: dict[Any, Any], where: str) -> dict[str, Any]:
    if all(isinstance(key, str) for key in value) and set(value) not in _MARKS:
        return {key: _written(one, where) for key, one in value.items()}
    return {"items": [[_written(key, where), _written(one, where)] for key, one in value.items()]}


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


def _check_names(target: Any, values: Mapping[str, Any], node: str) -> None:
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
    if isinstance(value, np.ndarray):
        return bool(value.dtype == default.dtype and np.array_equal(value, default))
    same = value == default
    return bool(same) if isinstance(same, bool | np.bool_) else False
