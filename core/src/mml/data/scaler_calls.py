"""Calling scalers that others wrote: whatever they raise becomes a `ScalerError` that names them.

Nothing here knows of columns or records; who calls says where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mml.data.protocols import ScalerLike, is_per_sample
from mml.errors import MMLError, ScalerError
from mml.protocols import State


@contextmanager
def explained(scaler: object, method: str, where: dict[str, Any] | None = None) -> Iterator[None]:
    """Turn what a method of a scaler raises into a ScalerError; errors of MML get the place.

    Parameters
    ----------
    scaler : object
    method : str
        What the body calls, for the message.
    where : dict, optional
        The place.
    """
    try:
        yield
    except MMLError as error:
        if where is not None:
            error.located(where)
        raise
    except Exception as cause:
        raise ScalerError(f"The scaler {scaler!r} failed in {method}: {cause}", where=where) from cause


def mapped(scaler: ScalerLike, values: np.ndarray, *, where: dict[str, Any] | None = None) -> np.ndarray:
    """Return what a scaler makes of values ``(k, *shape)``, as an array of whatever shape."""
    with explained(scaler, "transform", where):
        return np.asarray(scaler.transform(values))


def state_of(scaler: ScalerLike) -> State:
    """Return what a scaler learnt.

    Raises
    ------
    ScalerError
        If ``get_state`` fails, or returns no mapping.
    """
    with explained(scaler, "get_state"):
        state: Any = scaler.get_state()
    if not isinstance(state, Mapping):
        raise ScalerError(
            f"The scaler {scaler!r} has a state that is no mapping.",
            expected="a dict of arrays and JSON from get_state, empty where nothing is learnt",
            found=repr(state)[:80],
        )
    return dict(state)


def learns(scaler: ScalerLike) -> bool:
    """Return whether a fitted scaler carries anything from the rows that it saw to others.

    The scaler says so itself, by an attribute ``learns``; without one, what has a state has learnt.
    """
    if is_per_sample(scaler):
        return False
    with explained(scaler, "learns"):
        told = getattr(scaler, "learns", None)
    return bool(state_of(scaler)) if told is None else bool(told)
