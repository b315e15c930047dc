"""The state of an estimator: the whole of it as one array of bytes, and what it must fit to come back."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from mml.errors import ConfigError, StateError, listed
from mml.protocols import State
from mml_sklearn.arguments import arguments_of, chosen_of
from mml_sklearn.blob import estimator_bytes, estimator_from_bytes
from mml_sklearn.convert import n_features_of
from mml_sklearn.trust import parts_inside

_KEY = "estimator"


def state_of(estimator: Any) -> State:
    """Return an estimator's state: equal arrays of bytes for equal estimators.

    Raises
    ------
    StateError
        If it holds what skops cannot write.
    """
    return {_KEY: np.frombuffer(estimator_bytes(estimator), dtype=np.uint8).copy()}


def estimator_of(state: State, *, like: Any, input_shape: tuple[int, ...] | None) -> Any:
    """Return a new estimator from a state, of the class, arguments and width of the one at hand.

    Raises
    ------
    StateError
        If the state is damaged, not trusted, or that of another estimator.
    """
    loaded = estimator_from_bytes(_bytes(state), like=like)
    _check_kind(loaded, like)
    _check_width(loaded, input_shape)
    return loaded


def lay_out(estimator: Any) -> None:
    """Lay the arrays of a fitted estimator out as its state does: products of them then have the same bits.

    Components are often rows of a wider array; written and read, they stand by themselves, and a processor
    adds up in another order.
    """
    try:
        arrays = [part for part, _ in parts_inside(vars(estimator)) if isinstance(part, np.ndarray)]
        if not all(one.flags.c_contiguous or one.flags.f_contiguous for one in arrays):
            vars(estimator).update(copied_values(vars(estimator)))
    except RecursionError:
        # Birch is a long chain of leaves, which cannot be written either.
        return


def copied_values(values: dict[str, Any]) -> dict[str, Any]:
    """Return a deep copy of an estimator's attributes with its arrays laid out as a state lays them out.

    A plain deep copy may turn a slice into a Fortran-ordered array, which is another state.
    """
    arrays = [
        part for part, _ in parts_inside(values) if isinstance(part, np.ndarray) and part.dtype != object
    ]
    laid_out = {id(array): array.copy(order="F" if np.isfortran(array) else "C") for array in arrays}
    return copy.deepcopy(values, laid_out)


def _check_kind(loaded: Any, own: Any) -> None:
    if type(loaded) is not type(own):
        raise StateError(
            "The state is that of another estimator.",
            expected=type(own).__qualname__,
            found=type(loaded).__qualname__,
        )
    first, second = _comparable(own), _comparable(loaded)
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            raise StateError(
                f"The state is that of a {type(own).__name__} with other arguments.",
                expected=f"{name}={first[name]!r}" if name in first else f"{name} left at its default",
                found=f"{name}={second[name]!r}" if name in second else f"{name} left at its default",
            )


def _check_width(loaded: Any, input_shape: tuple[int, ...] | None) -> None:
    width = getattr(loaded, "n_features_in_", None)
    if input_shape is None or width is None:
        return
    expected = n_features_of(input_shape, node="")
    if width != expected:
        raise StateError(
            f"The state is that of a {type(loaded).__name__} fitted on other inputs.",
            expected=f"{expected} features",
            found=f"{width} features",
        )


def _comparable(estimator: Any) -> dict[str, Any]:
    """Return the chosen arguments as JSON; those without a written form are compared by type."""
    try:
        return arguments_of(estimator)
    except ConfigError:
        return {name: type(value).__qualname__ for name, value in chosen_of(estimator).items()}


def _bytes(state: State) -> bytes:
    if set(state) != {_KEY}:
        raise StateError(
            "The state of an estimator has exactly one entry.",
            expected=repr(_KEY),
            found=listed(sorted(state)),
        )
    array = state[_KEY]
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 1:
        raise StateError(
            "The state of an estimator is an array of bytes.",
            expected="uint8 of shape (n,)",
            found=f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else repr(array),
        )
    return array.tobytes()
