"""A raw optimizer class behind the same face as the named ones, with the framework's own meaning.

Its state is the very dictionary that core holds for each variable, so that it survives programs and is saved
like any other. An optimizer that counts no steps itself gets them counted.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mml.errors import OptimizerError
from mml_torch import convert
from mml_torch.slots import Slots


class FrameworkOptimizer:
    """An optimizer of the framework, or a class or factory in its form.

    Parameters
    ----------
    factory : type or callable
        ``factory(params, **kwargs)`` giving a ``torch.optim.Optimizer``.
    kwargs : mapping
        Settings; the learning rate comes with each step.
    """

    def __init__(self, factory: Callable[..., Any], kwargs: Mapping[str, Any]) -> None:
        self.factory = factory
        self.kwargs = dict(kwargs)
        self.default_rate, self.counts_steps = self._probe()
        self._bound: tuple[Sequence[Tensor], torch.optim.Optimizer] | None = None

    @property
    def slot_names(self) -> tuple[str, ...]:
        """None: the optimizer makes its own slots at its first step."""
        return ()

    def make_slots(self) -> Slots:
        """Return what there is before the first step: nothing, which is how the optimizer knows."""
        return {}

    def bind(
        self, variables: Sequence[Tensor], slots: Sequence[Slots]
    ) -> Callable[[list[Tensor], float], None]:
        """Return the update of these variables."""
        optimizer = self._made_for(variables)
        for variable, held in zip(variables, slots, strict=True):
            _make_native(held, variable)
            optimizer.state[variable] = held

        def update(gradients: list[Tensor], rate: float) -> None:
            for group in optimizer.param_groups:
                group["lr"] = rate
            for variable, gradient in zip(variables, gradients, strict=True):
                variable.grad = gradient
            try:
                with torch.enable_grad():
                    optimizer.step()
            finally:
                for variable in variables:
                    variable.grad = None
            if not self.counts_steps:
                for held in slots:
                    held["step"] = int(held.get("step", 0)) + 1

        return update

    def _made_for(self, variables: Sequence[Tensor]) -> torch.optim.Optimizer:
        if self._bound is None or self._bound[0] is not variables:
            self._bound = (variables, self._make(list(variables)))
        return self._bound[1]

    def _make(self, variables: list[Tensor]) -> torch.optim.Optimizer:
        try:
            optimizer = self.factory(variables, **self.kwargs)
        except Exception as cause:
            raise OptimizerError(
                f"The optimizer {_name(self.factory)!r} could not be made: {cause}",
                found=f"the settings {sorted(self.kwargs)}",
            ) from cause
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise OptimizerError(
                f"{_name(self.factory)!r} is no optimizer of PyTorch.",
                expected="torch.optim.Optimizer",
                found=f"{type(optimizer).__module__}.{type(optimizer).__qualname__}",
            )
        return optimizer

    def _probe(self) -> tuple[float, bool]:
        """Make one for a single number and let it step, to learn its rate and whether it counts."""
        if isinstance(self.factory, torch.optim.Optimizer):
            raise OptimizerError(
                "An optimizer that holds parameters already cannot step a graph's.",
                found=f"an instance of {type(self.factory).__name__}",
                hint="Pass the class and its settings.",
            )
        variable = torch.zeros(1)
        optimizer = self._make([variable])
        if "closure" in _required_arguments(optimizer.step):
            raise OptimizerError(
                f"The optimizer {_name(self.factory)!r} evaluates the loss several times a step.",
                hint="Use one that steps once from given gradients, such as torch.optim.Adam.",
            )
        variable.grad = torch.zeros(1)
        optimizer.step()
        rate = optimizer.param_groups[0].get("lr", 1.0)
        return float(rate), "step" in optimizer.state[variable]


def _make_native(slots: Slots, variable: Tensor) -> None:
    for name, value in slots.items():
        if isinstance(value, np.ndarray | np.generic):
            slots[name] = convert.to_tensor(np.asarray(value))
    for name, value in slots.items():
        # Scalars stay on the host, where the framework keeps its counts.
        if isinstance(value, Tensor) and value.shape == variable.shape and value.device != variable.device:
            slots[name] = value.to(variable.device)


def _required_arguments(function: Any) -> set[str]:
    parameters = inspect.signature(inspect.unwrap(function)).parameters.values()
    return {
        one.name for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    }


def _name(factory: Any) -> str:
    return str(getattr(factory, "__name__", factory))
