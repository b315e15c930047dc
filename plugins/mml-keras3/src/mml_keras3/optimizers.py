"""Keras' own optimizer classes in the form of a rule, with the meaning that Keras gave them.

Optimizers by name are core's canonical formulas. A class of Keras is made once for each parameter, so that
each counts its own updates and keeps its own slots; its step is run as a function, on values that Keras is
told for the time of the call. What works over all parameters at once is refused, with what core has instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mml.errors import OptimizerError
from mml_keras3 import convert, random_state
from mml_keras3.engines import engine
from mml_keras3.framework import keras
from mml_keras3.internals import BaseOptimizer
from mml_keras3.probe import reason_of

ops = keras.ops

# What engines override for the sake of their own variables, which a function has none of.
_ENGINES_OWN = (
    "assign",
    "assign_add",
    "assign_sub",
    "_var_key",
    "_apply_weight_decay",
    "_backend_apply_gradients",
    "_backend_update_step",
)
_REPLACED = {
    "global_clipnorm": "Optimizer(..., clip_norm=...)",
    "gradient_accumulation_steps": "Optimizer(..., accumulate=...)",
    "use_ema": "a callback that averages the node's state",
    "loss_scale_factor": "AppliedLoss(..., weight=...)",
}


class FrameworkOptimizer:
    """An optimizer class of Keras.

    Parameters
    ----------
    factory : type
        A subclass of ``keras.optimizers.Optimizer``.
    kwargs : mapping
        Settings; the learning rate comes with each step.
    """

    def __init__(self, factory: Any, kwargs: Mapping[str, Any]) -> None:
        if not (isinstance(factory, type) and issubclass(factory, BaseOptimizer)):
            raise OptimizerError(
                f"{factory!r} is no optimizer class of Keras.",
                expected="a subclass of keras.optimizers.Optimizer, or a registered name such as 'adam'",
            )
        self.name = factory.__name__
        for setting, instead in _REPLACED.items():
            if kwargs.get(setting):
                raise OptimizerError(
                    f"Keras' {self.name} got {setting!r}, which works over all parameters or steps at once.",
                    hint=f"Use {instead}.",
                )
        self.factory = _as_function(factory)
        self.kwargs = dict(kwargs)
        self.default_rate = self._probed()

    def bound_to(self, variable: Any) -> BoundOptimizer:
        """Return the optimizer of one Keras variable."""
        return BoundOptimizer(self._made(), variable)

    def coefficients(self, *, rate: float, step: int) -> dict[str, float]:
        """Return the rate, and how many updates the parameter got so far."""
        return {"rate": rate, "iterations": float(step - 1)}

    def _made(self) -> Any:
        try:
            with random_state.seeded(0):
                return self.factory(**self.kwargs)
        except Exception as cause:
            raise OptimizerError(
                f"Keras' {self.name} could not be made: {reason_of(cause)}",
                found=f"the settings {sorted(self.kwargs)}",
            ) from cause

    def _probed(self) -> float:
        """Make one for a few numbers and let it step, to learn its rate and whether it runs as a function."""
        optimizer = self._made()
        if not isinstance(optimizer._learning_rate, keras.Variable):
            raise OptimizerError(
                f"Keras' {self.name} got a schedule of its own.",
                hint="Give MML the schedule: Optimizer(..., lr=..., schedule='cosine').",
            )
        rate = float(convert.to_numpy(engine().value_of(optimizer._learning_rate)))
        variable = keras.Variable(np.zeros((2, 2), dtype=np.float32), name="probe")
        bound = BoundOptimizer(optimizer, variable)
        value = engine().to_array(np.zeros((2, 2), dtype=np.float32))
        try:
            bound.apply(value, value, bound.make_slots(), self.coefficients(rate=rate, step=1))
        except Exception as cause:
            raise OptimizerError(
                f"Keras' {self.name} cannot be stepped on {engine().name!r}.",
                found=f"{type(cause).__name__}: {reason_of(cause)}",
                hint="Use a registered name such as 'adam', whose formula is core's own.",
            ) from cause
        return rate


class BoundOptimizer:
    """An optimizer of Keras for one variable.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        Not built yet.
    variable : keras.Variable
    """

    def __init__(self, optimizer: Any, variable: Any) -> None:
        with random_state.seeded(0):
            optimizer.build([variable])
        self.optimizer = optimizer
        self.variable = variable
        state = self._state(optimizer)
        self.kept = {_slot_name(one, variable, number): one for number, one in enumerate(state)}

    def make_slots(self) -> dict[str, Any]:
        """Return the slots before the first update."""
        return {
            name: convert.to_array(convert.to_numpy(engine().value_of(one)))
            for name, one in self.kept.items()
        }

    def apply(
        self, value: Any, gradient: Any, slots: Mapping[str, Any], numbers: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Return the new value and slots; nothing is assigned."""
        optimizer = self.optimizer
        mapping = [
            (self.variable, value),
            (optimizer._iterations, ops.cast(numbers["iterations"], optimizer._iterations.dtype)),
            (optimizer._learning_rate, ops.cast(numbers["rate"], optimizer._learning_rate.dtype)),
            *((one, slots[name]) for name, one in self.kept.items()),
        ]
        with keras.StatelessScope(mapping) as scope:
            optimizer.apply([gradient], [self.variable])
        if len(scope.state_mapping) > len(mapping):
            raise OptimizerError(f"Keras' {type(optimizer).__name__} keeps state that it does not show.")
        moved = {name: scope.get_current_value(one) for name, one in self.kept.items()}
        return scope.get_current_value(self.variable), moved

    def _state(self, optimizer: Any) -> list[Any]:
        """Return all that it keeps between updates; some optimizers do not list it in `variables`."""
        found = list(optimizer.variables)
        for value in vars(optimizer).values():
            found += value if isinstance(value, list | tuple) else [value]
        left_out = {id(optimizer._iterations), id(optimizer._learning_rate), id(self.variable)}
        variables = {id(one): one for one in found if isinstance(one, keras.Variable)}
        return [one for key, one in variables.items() if key not in left_out]


def _slot_name(slot: Any, variable: Any, number: int) -> str:
    """Return a name that is equal in every process: Keras' own, or the place where it made one up."""
    prefix = f"{variable.path.replace('/', '_')}_"
    return str(slot.name).removeprefix(prefix) if slot.name.startswith(prefix) else f"slot_{number}"


def _as_function(factory: type) -> type:
    """Return the class without its engine's overrides, so that it reads and writes through Keras' scope."""
    found = {
        name: next(
            vars(base)[name]
            for base in factory.__mro__
            if name in vars(base) and not base.__module__.startswith("keras.src.backend.")
        )
        for name in _ENGINES_OWN
    }
    return type(factory.__name__, (factory,), found)
