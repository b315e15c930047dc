"""Which of an estimator's methods gives a node's output."""

from __future__ import annotations

from typing import Any

from mml.errors import ModelError, listed

OUTPUTS = ("transform", "predict_proba", "predict", "predict_log_proba", "decision_function", "score_samples")
"""Methods that may give a node's output; the first three in the order of preference."""

_ONLY_FITTED = ("fit_transform", "fit_predict", "fit")


def output_method(estimator: Any, output: str | None, *, node: str) -> str:
    """Return the method that was asked for, or the first of the three preferred ones.

    Raises
    ------
    ModelError
        If the estimator has no such method; the error lists those that it has.
    """
    present = [name for name in OUTPUTS if hasattr(estimator, name)]
    title = type(estimator).__name__
    if output is None:
        if present:
            return present[0]
        raise ModelError(
            f"{title} has no output for rows that it was not fitted on.",
            where={"node": node},
            expected="an estimator with transform, predict_proba or predict",
            found=f"{title} has {listed([name for name in _ONLY_FITTED if hasattr(estimator, name)])}",
            hint="Take an estimator that can be applied to new rows.",
        )
    if output not in present:
        raise ModelError(
            f"{title} has no output {output!r}.",
            where={"node": node},
            expected=f"one of {listed(present)}" if present else "another estimator",
            found=repr(output),
            hint="Some methods appear only with certain arguments, as in SVC(probability=True).",
        )
    return output
