"""The named optimizers: core's canonical formulas, over all parameters of a group at once.

What depends on the learning rate and the number of updates is computed on the host in float64 and sent as a
table with a row a step, so that no number of Python's becomes part of a program. Every formula works element
by element, so parameters may stand behind each other in one vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mml.errors import OptimizerError
from mml.graph.optimizers import canonical
from mml_tf.ops import TensorflowOps

# They use the parameter for nothing but to add the step to it, unless weights decay.
_ADDITIVE = (canonical.Sgd, canonical.Adam, canonical.AdamW, canonical.RMSprop, canonical.Adagrad)


def is_tabular(rule: Any) -> bool:
    """Whether a rule says what changes from step to step as plain numbers, which a program can be sent."""
    return isinstance(rule, canonical.CanonicalRule)


def coefficient_names(rule: canonical.CanonicalRule) -> tuple[str, ...]:
    """Return the names of a rule's coefficients, in the order of the table's columns."""
    return tuple(rule.coefficients(rate=1.0, step=1))


def coefficients(rule: canonical.CanonicalRule, rates: Sequence[float], counts: Sequence[int]) -> np.ndarray:
    """Return the table of a rule's coefficients, float64 ``(steps, coefficients)``.

    Parameters
    ----------
    rates : sequence of float
    counts : sequence of int
        For each step, the number of the update that it makes; 0 where it makes none.
    """
    names = coefficient_names(rule)
    table = np.zeros((len(rates), len(names)))
    for row, (rate, count) in enumerate(zip(rates, counts, strict=True)):
        if count:
            found = rule.coefficients(rate=rate, step=count)
            table[row] = [found[name] for name in names]
    return table


def flat(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """Put tensors of one dtype behind each other."""
    return tf.concat([tf.reshape(one, [-1]) for one in tensors], 0)


def apply_flat(
    rule: canonical.CanonicalRule,
    variables: Sequence[tf.Variable],
    gradient: tf.Tensor,
    slots: Mapping[str, tf.Tensor],
    numbers: Mapping[str, Any],
) -> dict[str, tf.Tensor]:
    """Update variables in place from their flat gradient; return the new flat slots."""
    ops = TensorflowOps()
    additive = type(rule) in _ADDITIVE and not getattr(rule, "weight_decay", 0.0)
    if additive:
        # 0 - step, added below: the same numbers, without gathering and replacing every parameter.
        change, moved = rule.apply(ops, 0.0, gradient, slots, numbers)
    else:
        change, moved = rule.apply(ops, flat(variables), gradient, slots, numbers)
    sizes = [math.prod(one.shape) for one in variables]
    for variable, part in zip(variables, tf.split(change, sizes), strict=True):
        value = tf.reshape(part, variable.shape)
        if additive:
            variable.assign_add(value)
        else:
            variable.assign(value)
    return moved


def clipped(
    gradients: Sequence[tf.Tensor], *, clip_value: float | None, clip_norm: float | None
) -> list[tf.Tensor]:
    """Cut each element to ±clip_value, then scale all by min(1, clip_norm / (norm + 1e-6))."""
    found = list(gradients)
    if clip_value is not None:
        found = [tf.clip_by_value(one, -clip_value, clip_value) for one in found]
    if clip_norm is not None:
        wide = max((one.dtype for one in found), key=lambda dtype: dtype.size)
        total = tf.sqrt(tf.add_n([tf.cast(tf.reduce_sum(one * one), wide) for one in found]))
        factor = tf.minimum(clip_norm / (total + 1e-6), tf.constant(1.0, wide))
        found = [one * tf.cast(factor, one.dtype) for one in found]
    return found


def refuse_framework_optimizer(optimizer: Any) -> OptimizerError:
    """Return the refusal of an optimizer of Keras, whose state belongs to itself and to its own variables."""
    name = getattr(optimizer, "__name__", type(optimizer).__name__)
    return OptimizerError(
        f"The backend 'tensorflow' takes no optimizer given as the class {name!r}.",
        expected="a registered name: 'sgd', 'adam', 'adamw', 'rmsprop', 'adagrad'",
        found=repr(optimizer),
        hint=f"Use Optimizer({_nearest(name)!r}, ...); Keras' own optimizers step models of mml[keras3].",
    )


def _nearest(name: str) -> str:
    known = ("sgd", "adam", "adamw", "rmsprop", "adagrad")
    return name.lower() if name.lower() in known else "adam"
