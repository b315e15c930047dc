"""Which of an estimator's methods gives a node's output."""

from __future__ import annotations

from typing import Any

from mml.errors import ModelError, did_you_mean, listed

OUTPUTS = ("transform", "predict_proba", "predict", "predict_log_proba", "decision_function", "score_samples")
"""Methods that may give a node's output; the first three in the order of preference."""

_PROBABILITIES = ("predict_proba", "predict_log_proba")
_ONLY_FITTED = ("fit_transform", "fit_predict", "fit")


def output_method(estimator: Any, output: str | None, *, node: str | None) -> str:
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
            hint=_mend(output, present),
        )
    return output


def _mend(output: str, present: list[str]) -> str:
    if output in _PROBABILITIES and "predict" in present:
        return (
            "Let sklearn/CalibratedClassifierCV(estimator=...) estimate probabilities from it, "
            "or take another output."
        )
    if output in OUTPUTS:
        return "Take another output; some methods appear only with certain arguments of the estimator."
    return did_you_mean(output, present)
