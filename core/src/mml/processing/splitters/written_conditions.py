"""Conditions as JSON and back.

A plain value stands as it is; what JSON lacks is a dictionary of one mark: ``{"float": "nan"}``,
``{"time": "2024-05-01T12:00", "unit": "s"}``, ``{"duration": 90, "unit": "s"}``. Functions are written by
name; lambdas and pyarrow expressions have none and are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from mml.data.comparisons import is_missing
from mml.data.conditions import MANY
from mml.errors import ConfigError, MMLError
from mml.plugins import registry
from mml.protocols import Config

_PLAIN = (bool, int, float, str)


def written_conditions(conditions: Any, *, split: str) -> Config:
    """Return the conditions of one split as JSON.

    Raises
    ------
    ConfigError
        If they are an expression, or hold a lambda or another value that cannot be written down.
    """
    if not isinstance(conditions, Mapping):
        raise ConfigError(
            f"The condition of the split {split!r} is an expression and cannot be written down.",
            hint="Use scalars, sets or a registered function.",
        )
    return {column: _written(condition, split, column) for column, condition in conditions.items()}


def read_conditions(written: Any, *, split: str) -> dict[str, Any]:
    """Return conditions that `written_conditions` wrote; plain values and lists are taken as they are.

    Raises
    ------
    ConfigError
        If they are no such conditions.
    """
    if not isinstance(written, Mapping):
        raise ConfigError(
            f"The conditions of the split {split!r} are no mapping from columns.", found=repr(written)[:80]
        )
    try:
        return {column: _read(one) for column, one in written.items()}
    except MMLError:
        raise
    except (KeyError, TypeError, ValueError) as cause:
        raise ConfigError(
            f"A condition of the split {split!r} cannot be read.", found=repr(written)[:80]
        ) from cause


def _written(condition: Any, split: str, column: str) -> Config:
    if isinstance(condition, MANY):
        condition = condition.reshape(-1) if isinstance(condition, np.ndarray) else condition
        written = [_scalar(one, split, column) for one in condition]
        if isinstance(condition, (set, frozenset)):
            # Sets have no order; a config must not depend on the hash seed.
            written.sort(key=_rank)
        return {"one_of": written}
    if callable(condition):
        return {"function": registry("splitters").name_of(condition)}
    return {"equals": _scalar(condition, split, column)}


def _rank(written: Any) -> tuple[str, Any]:
    return type(written).__name__, written if isinstance(written, _PLAIN) else repr(written)


def _scalar(value: Any, split: str, column: str) -> Any:
    if hasattr(value, "to_datetime64") and not is_missing(value):
        value = value.to_datetime64()
    if isinstance(value, (np.datetime64, np.timedelta64, datetime, date, timedelta)):
        return None if is_missing(value) else _written_time(value)
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, _PLAIN):
        return value
    raise ConfigError(
        f"A condition of the split {split!r} cannot be written down.",
        where={"column": column},
        found=repr(value)[:80],
    )


def _written_time(value: Any) -> Config:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return {"time": value.astimezone(UTC).isoformat()}
    if isinstance(value, (timedelta, np.timedelta64)):
        exact = np.timedelta64(value)
        return {"duration": int(exact.astype(np.int64)), "unit": np.datetime_data(exact.dtype)[0]}
    moment = np.datetime64(value)
    return {"time": str(moment), "unit": np.datetime_data(moment.dtype)[0]}


def _read(written: Any) -> Any:
    if not isinstance(written, Mapping):
        return [_value(one) for one in written] if isinstance(written, list) else _value(written)
    if "one_of" in written:
        # A list, because marks of missing values are not equal to themselves.
        return [_value(one) for one in written["one_of"]]
    if "function" in written:
        return registry("splitters").load(written["function"])
    return _value(written.get("equals", written))


def _value(written: Any) -> Any:
    if not isinstance(written, Mapping):
        return written
    if "time" in written:
        text = written["time"]
        return np.datetime64(text, written["unit"]) if "unit" in written else datetime.fromisoformat(text)
    if "duration" in written:
        return np.timedelta64(written["duration"], written["unit"])
    return float(written["float"])
