"""The canonical optimizers: one formula for each name, written once over a backend's array operations.

A rule is pure: variable, gradient and slots go in, the new ones come out. Whatever changes with the learning
rate or the step count is computed here in float64 as plain numbers (`coefficients`), so that a program may
send it to a device as data; what is left (`apply`) is arithmetic on arrays. Rules know no backend, hold no
state, and leave learning rate, schedule, clipping and accumulation to the program.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mml.backends.ops import ArrayOps
from mml.errors import OptimizerError

Slots = dict[str, Any]
Coefficients = dict[str, float]


class CanonicalRule(ABC):
    """An update rule in two halves: numbers in float64, arrays in their own dtype.

    Attributes
    ----------
    default_rate : float
        Learning rate where the user gave none.
    slot_names : tuple of str
        Arrays kept for each variable, of its shape and dtype, zero at the start.
    """

    default_rate: ClassVar[float]

    @property
    @abstractmethod
    def slot_names(self) -> tuple[str, ...]:
        """Names of the arrays kept for each variable."""

    @abstractmethod
    def coefficients(self, *, rate: float, step: int) -> Coefficients:
        """Return what depends on the learning rate and on `step`, the number of this update from 1."""

    @abstractmethod
    def apply(
        self,
        ops: ArrayOps,
        variable: Any,
        gradient: Any,
        slots: Mapping[str, Any],
        numbers: Mapping[str, Any],
    ) -> tuple[Any, Slots]:
        """Return the new variable and slots; `numbers` are the coefficients, as floats or native scalars."""

    def update(
        self, ops: ArrayOps, variable: Any, gradient: Any, slots: Mapping[str, Any], *, rate: float, step: int
    ) -> tuple[Any, Slots]:
        """Return the new variable and slots after update number `step` of this variable.

        Parameters
        ----------
        ops : ArrayOps
        variable, gradient : native array, equal shapes
        slots : mapping of str to native array
            The arrays of `slot_names`; other keys are ignored.
        rate : float
        step : int
            Counted from 1.
        """
        return self.apply(ops, variable, gradient, slots, self.coefficients(rate=rate, step=step))


@dataclass(frozen=True, kw_only=True)
class Sgd(CanonicalRule):
    """Stochastic gradient descent: g += decay·p; v = momentum·v + g; p -= lr·v.

    The learning rate stays outside the velocity, and nothing is dampened. With `nesterov`,
    p -= lr·(g + momentum·v).

    Parameters
    ----------
    momentum : float
        From 0 to below 1.
    nesterov : bool
        Needs a momentum above 0.
    weight_decay : float
        L2, at least 0.
    """

    default_rate: ClassVar[float] = 0.01

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _require("sgd", "momentum", self.momentum, below=1.0)
        _require("sgd", "weight_decay", self.weight_decay)
        if not isinstance(self.nesterov, bool):
            raise OptimizerError(
                "sgd got a bad nesterov.", expected="True or False", found=repr(self.nesterov)
            )
        if self.nesterov and self.momentum == 0:
            raise OptimizerError(
                "sgd with nesterov=True needs a momentum.", expected="momentum above 0 and below 1", found="0"
            )

    @property
    def slot_names(self) -> tuple[str, ...]:
        """``velocity`` where there is momentum."""
        return ("velocity",) if self.momentum else ()

    def coefficients(self, *, rate: float, step: int) -> Coefficients:  # noqa: ARG002 -- one signature for all
        """Return ``rate``."""
        return {"rate": rate}

    def apply(
        self,
        ops: ArrayOps,  # noqa: ARG002 -- one signature for all
        variable: Any,
        gradient: Any,
        slots: Mapping[str, Any],
        numbers: Mapping[str, Any],
    ) -> tuple[Any, Slots]:
        """Step along the gradient or the velocity."""
        if self.weight_decay:
            gradient = gradient + self.weight_decay * variable
        if not self.momentum:
            return variable - numbers["rate"] * gradient, {}
        velocity = self.momentum * slots["velocity"] + gradient
        direction = gradient + self.momentum * velocity if self.nesterov else velocity
        return variable - numbers["rate"] * direction, {"velocity": velocity}


@dataclass(frozen=True, kw_only=True)
class Adam(CanonicalRule):
    """Adam: p -= lr·m̂ / (√v̂ + eps), with bias-corrected moments; `weight_decay` is L2.

    Parameters
    ----------
    betas : (float, float)
        Each from 0 to below 1.
    eps : float
        Above 0; outside the root.
    weight_decay : float
        Added to the gradient times the parameter, at least 0.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """

    default_rate: ClassVar[float] = 1e-3

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        # A configuration read from a file brings a list.
        object.__setattr__(self, "betas", _moment_settings("adam", self))

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Both moments."""
        return ("first_moment", "second_moment")

    def coefficients(self, *, rate: float, step: int) -> Coefficients:
        """Return the corrected ``rate`` and the scale of the second moment's ``root``."""
        return _corrections(self.betas, rate, step)

    def apply(
        self,
        ops: ArrayOps,
        variable: Any,
        gradient: Any,
        slots: Mapping[str, Any],
        numbers: Mapping[str, Any],
    ) -> tuple[Any, Slots]:
        """Step along the corrected first moment, scaled by the second."""
        if self.weight_decay:
            gradient = gradient + self.weight_decay * variable
        direction, moved = _moments(self, ops, gradient, slots, numbers)
        return variable - numbers["rate"] * direction, moved


@dataclass(frozen=True, kw_only=True)
class AdamW(CanonicalRule):
    """Adam with decoupled weight decay: p -= lr·weight_decay·p, then as Adam.

    Parameters
    ----------
    betas, eps
        As in `Adam`.
    weight_decay : float
        Share of the parameter that goes at each update, times the learning rate; at least 0.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    default_rate: ClassVar[float] = 1e-3

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", _moment_settings("adamw", self))

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Both moments."""
        return ("first_moment", "second_moment")

    def coefficients(self, *, rate: float, step: int) -> Coefficients:
        """Return the corrected ``rate``, the scale of the ``root``, and the ``decay`` of the parameter."""
        # The small number itself and not one minus it, which float32 would round by a per cent of the decay.
        return {**_corrections(self.betas, rate, step), "decay": rate * self.weight_decay}

    def apply(
        self,
        ops: ArrayOps,
        variable: Any,
        gradient: Any,
        slots: Mapping[str, Any],
        numbers: Mapping[str, Any],
    ) -> tuple[Any, Slots]:
        """Shrink the parameter, then step as Adam."""
        direction, moved = _moments(self, ops, gradient, slots, numbers)
        kept = variable - numbers["decay"] * variable
        return kept - numbers["rate"] * direction, moved


@dataclass(frozen=True, kw_only=True)
class RMSprop(CanonicalRule):
    """RMSprop: v = rho·v + (1 - rho)·g²; p -= lr·g / (√v + eps).

    Parameters
    ----------
    rho : float
        From 0 to below 1.
    eps : float
        Above 0; outside the root.
    momentum : float
        As in `Sgd`, over g / (√v + eps); from 0 to below 1.

    References
    ----------
    Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture 6e, 2012.
    """

    default_rate: ClassVar[float] = 0.01

    rho: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _require("rmsprop", "rho", self.rho, below=1.0)
        _require("rmsprop", "eps", self.eps, open_low=True)
        _require("rmsprop", "momentum", self.momentum, below=1.0)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """``mean_square``, and ``velocity`` where there is momentum."""
        return ("mean_square", "velocity") if self.momentum else ("mean_square",)

    def coefficients(self, *, rate: float, step: int) -> Coefficients:  # noqa: ARG002 -- one signature for all
        """Return ``rate``."""
        return {"rate": rate}

    def apply(
        self,
        ops: ArrayOps,
        variable: Any,
        gradient: Any,
        slots: Mapping[str, Any],
        numbers: Mapping[str, Any],
    ) -> tuple[Any, Slots]:
        """Step along the gradient, scaled by its running root mean square."""
        square = self.rho * slots["mean_square"] + (1.0 - self.rho) * (gradient * gradient)
        direction = gradient / (ops.sqrt(square) + self.eps)
        if not self.momentum:
            return variable - numbers["rate"] * direction, {"mean_square": square}
        velocity = self.momentum * slots["velocity"] + direction
        return variable - numbers["rate"] * velocity, {"mean_square": square, "velocity": velocity}


@dataclass(frozen=True, kw_only=True)
class Adagrad(CanonicalRule):
    """Adagrad: s += g²; p -= lr·g / (√s + eps).

    Parameters
    ----------
    eps : float
        Above 0; outside the root.

    References
    ----------
    Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011.
    """

    default_rate: ClassVar[float] = 0.01

    eps: float = 1e-10

    def __post_init__(self) -> None:
        _require("adagrad", "eps", self.eps, open_low=True)

    @property
    def slot_names(self) -> tuple[str, ...]:
        """``square_sum``."""
        return ("square_sum",)

    def coefficients(self, *, rate: float, step: int) -> Coefficients:  # noqa: ARG002 -- one signature for all
        """Return ``rate``."""
        return {"rate": rate}

    def apply(
        self,
        ops: ArrayOps,
        variable: Any,
        gradient: Any,
        slots: Mapping[str, Any],
        numbers: Mapping[str, Any],
    ) -> tuple[Any, Slots]:
        """Step along the gradient, scaled by the root of all its squares so far."""
        square = slots["square_sum"] + gradient * gradient
        return variable - numbers["rate"] * (gradient / (ops.sqrt(square) + self.eps)), {"square_sum": square}


def _corrections(betas: tuple[float, float], rate: float, step: int) -> Coefficients:
    first, second = betas
    return {"rate": rate / (1.0 - first**step), "root": 1.0 / math.sqrt(1.0 - second**step)}


def _moments(
    rule: Adam | AdamW, ops: ArrayOps, gradient: Any, slots: Mapping[str, Any], numbers: Mapping[str, Any]
) -> tuple[Any, Slots]:
    """Return the direction of the step, before the corrected rate, and both new moments."""
    beta1, beta2 = rule.betas
    first = beta1 * slots["first_moment"] + (1.0 - beta1) * gradient
    second = beta2 * slots["second_moment"] + (1.0 - beta2) * (gradient * gradient)
    # √v̂ is √v times the correction's root: the same value, without a division for each element.
    direction = first / (ops.sqrt(second) * numbers["root"] + rule.eps)
    return direction, {"first_moment": first, "second_moment": second}


def _moment_settings(name: str, rule: Adam | AdamW) -> tuple[float, float]:
    if not isinstance(rule.betas, tuple | list) or len(rule.betas) != 2:
        raise OptimizerError(
            f"{name} got bad betas.", expected="two numbers, each from 0 to below 1", found=repr(rule.betas)
        )
    for position, beta in enumerate(rule.betas):
        _require(name, f"betas[{position}]", beta, below=1.0)
    _require(name, "eps", rule.eps, open_low=True)
    _require(name, "weight_decay", rule.weight_decay)
    return (rule.betas[0], rule.betas[1])


def _require(
    name: str, argument: str, value: Any, *, below: float = math.inf, open_low: bool = False
) -> None:
    """Hold one setting to its range; the message names the optimizer, the argument and the range."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (value > 0.0 if open_low else value >= 0.0) and value < below:
        return
    low = "a number above 0" if open_low else "a number of at least 0"
    high = "" if below == math.inf else f" and below {below:g}"
    raise OptimizerError(
        f"{name} got a bad {argument}.", expected=f"{argument}: {low}{high}", found=repr(value)
    )
