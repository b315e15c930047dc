"""Callback values as state: JSON values, arrays and phase results, tagged so that they come back alike.

Anything else is refused by the name of its callback: a value that would silently come back as something
else is worse than one that cannot be saved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mml.errors import StateError
from mml.experiment.results.callback_result import CallbackResult, MetricResult
from mml.experiment.results.state_fields import field
from mml.protocols import State, Stateful

_PLAIN = (str, int, bool, type(None))


def encode_result(result: CallbackResult) -> State:
    """Write down a callback's result as arrays and JSON."""
    try:
        value = _encode(result.value)
    except StateError as error:
        raise error.located({"callback": result.callback}) from error.__cause__
    state: State = {"callback": result.callback, "value": value}
    if isinstance(result, MetricResult):
        state["name"] = result.name
    return state


def decode_result(state: State, *, results: Callable[[State], Any]) -> CallbackResult:
    """Read a callback's result; `results` builds phase results from their state."""
    callback = field(state, "callback", kind=str)
    value = _decode(field(state, "value", kind=dict), results)
    if "name" in state:
        return MetricResult(field(state, "name", kind=str), value, callback=callback)
    return CallbackResult(callback, value)


def _encode(value: Any) -> State:
    kind = type(value)
    if kind in _PLAIN:
        return {"type": "plain", "value": value}
    if kind is float or isinstance(value, np.generic):  # JSON has no NaN, and an array keeps every bit
        return {"type": "float" if kind is float else "scalar", "value": np.array(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {"type": "array", "value": value.copy()}
    if kind in (list, tuple):
        return {"type": kind.__name__, "value": [_encode(one) for one in value]}
    if kind is dict and all(isinstance(key, str) for key in value):
        return {"type": "dict", "value": {key: _encode(one) for key, one in value.items()}}
    if isinstance(value, Stateful) and hasattr(value, "metric_store"):
        return {"type": "results", "value": value.get_state()}
    raise StateError(
        "A callback returned a value that cannot be saved.",
        expected="JSON values, NumPy arrays or phase results",
        found=kind.__name__,
        hint="Return numbers, strings, lists, dicts with string keys, or arrays.",
    )


def _decode(state: State, results: Callable[[State], Any]) -> Any:
    decoders: dict[str, tuple[type | tuple[type, ...], Callable[[Any], Any]]] = {
        "plain": (_PLAIN, lambda value: value),
        "float": (np.ndarray, float),
        "scalar": (np.ndarray, lambda value: value[()]),
        "array": (np.ndarray, np.copy),
        "list": (list, lambda value: [_decode(one, results) for one in value]),
        "tuple": (list, lambda value: tuple(_decode(one, results) for one in value)),
        "dict": (dict, lambda value: {key: _decode(one, results) for key, one in value.items()}),
        "results": (dict, results),
    }
    kind = field(state, "type", kind=str)
    if kind not in decoders:
        raise StateError(f"A callback value of unknown type {kind!r}.", expected=", ".join(decoders))
    stored, decode = decoders[kind]
    return decode(field(state, "value", kind=stored))
