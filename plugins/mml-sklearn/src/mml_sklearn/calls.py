"""Calls into scikit-learn with their errors told in MML's words: the node, the method, and what to do."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from mml.errors import MMLError, ModelError


@contextmanager
def explained(estimator: Any, method: str, *, node: str | None) -> Iterator[None]:
    """Turn what an estimator raises into a `ModelError` that names the node and chains the cause."""
    from sklearn.exceptions import NotFittedError

    title = f"{type(estimator).__name__}.{method}"
    try:
        yield
    except MMLError as error:
        error.located({"node": node})
        raise
    except NotFittedError as cause:
        raise not_fitted(estimator, node=node) from cause
    except Exception as cause:
        raise ModelError(f"{title} failed: {cause}", where={"node": node}, hint=_hint(str(cause))) from cause


def not_fitted(estimator: Any, *, node: str | None) -> ModelError:
    """Return the error for an estimator that is asked for output before it was fitted."""
    asked = "it" if node is None else repr(node)
    return ModelError(
        f"{type(estimator).__name__} is not fitted yet.",
        where={"node": node},
        hint=f"Add a FitPhase for {asked} before this phase, or pass a fitted estimator.",
    )


def _hint(message: str) -> str | None:
    if "NaN" in message or "infinity" in message:
        return (
            "Put an imputer before this node (sklearn/SimpleImputer), clean the data, or take an estimator "
            "that accepts missing values (sklearn/HistGradientBoostingClassifier)."
        )
    if "requires y" in message or "'y'" in message:
        return "Give the FeatureSet's reference targets, or bind the phase to one that has them."
    return None


def takes_targets(method: Any) -> bool:
    """Whether a learning method has a place for targets after its inputs."""
    return _targets_of(getattr(method, "__func__", method))[0]


def must_have_targets(method: Any) -> bool:
    """Whether a learning method cannot do without targets."""
    return _targets_of(getattr(method, "__func__", method))[1]


@cache
def _targets_of(function: Any) -> tuple[bool, bool]:
    parameters = inspect.signature(function).parameters
    kinds = inspect.Parameter
    positional = [
        one for one in parameters.values() if one.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    several = len(positional) > (2 if "self" in parameters else 1)
    open_ended = any(one.kind is kinds.VAR_POSITIONAL for one in parameters.values())
    must = "y" in parameters and parameters["y"].default is kinds.empty and several
    return several or open_ended, must
