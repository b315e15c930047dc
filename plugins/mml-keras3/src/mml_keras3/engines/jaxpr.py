"""What can be read off a traced JAX function: gradients that are zero whatever goes in, and convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

# What differentiation wraps around the zero that it writes for a parameter without a gradient.
_PASSING = ("broadcast_in_dim", "convert_element_type", "reshape", "transpose", "squeeze", "copy")


def is_always_zero(jaxpr: Jaxpr, place: int) -> bool:
    """Whether one output is a zero that depends on nothing.

    Differentiation gives such an output for a parameter that the result does not depend on, or only through
    operations that pass no gradient.
    """
    made_by = {output: equation for equation in jaxpr.eqns for output in equation.outvars}
    value = jaxpr.outvars[place]
    while not isinstance(value, Literal):
        equation = made_by.get(value)
        if equation is None or equation.primitive.name not in _PASSING:
            return False
        value = equation.invars[0]
    return not np.any(value.val)


def has_convolution(jaxpr: Jaxpr) -> bool:
    """Whether a convolution stands anywhere in it."""
    return any(
        equation.primitive.name == "conv_general_dilated" or any(map(has_convolution, _inner(equation)))
        for equation in jaxpr.eqns
    )


def narrows(jaxpr: Jaxpr) -> bool:
    """Whether float64 is cast to a narrower floating dtype anywhere in it."""
    return any(_is_narrowing(equation) or any(map(narrows, _inner(equation))) for equation in jaxpr.eqns)


def _is_narrowing(equation: Any) -> bool:
    if equation.primitive.name != "convert_element_type":
        return False
    source, target = (np.dtype(one.aval.dtype) for one in (equation.invars[0], equation.outvars[0]))
    return source == np.float64 and target.kind in "fV" and target.itemsize < source.itemsize


def _inner(equation: Any) -> Iterator[Jaxpr]:
    for value in equation.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, Jaxpr):
                yield one
