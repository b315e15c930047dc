"""The named optimizers: the canonical formulas over all parameters at once, in place.

Settings, slots and default rates are core's, and so is the meaning; only the arithmetic is done by the
framework's fused and foreach kernels. `bind` is called at the start of a run and returns the update for its
steps, so that a step itself looks nothing up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mml.graph.optimizers import canonical
from mml_torch.slots import Slots, counts_as_integers, counts_as_tensors, grouped

Update = Callable[[list[Tensor], float], None]

# Below this many parameters, waking other threads costs more than they save.
_ONE_THREAD_ELEMENTS = 1 << 16


class Sgd(canonical.Sgd):
    """Stochastic gradient descent; the learning rate stays outside the velocity."""

    def bind(self, variables: Sequence[Tensor], slots: Sequence[Slots]) -> Update:
        """Return the update of these variables."""
        counts_as_integers(slots)
        params, velocities = list(variables), [one["velocity"] for one in slots] if self.momentum else []

        def update(gradients: list[Tensor], rate: float) -> None:
            if self.weight_decay:
                gradients = list(torch._foreach_add(gradients, params, alpha=self.weight_decay))
            direction = gradients
            if self.momentum:
                torch._foreach_mul_(velocities, self.momentum)
                torch._foreach_add_(velocities, gradients)
                direction = velocities
                if self.nesterov:
                    direction = list(torch._foreach_add(gradients, velocities, alpha=self.momentum))
            torch._foreach_add_(params, direction, alpha=-rate)
            _count(slots)

        return update


class Adam(canonical.Adam):
    """Adam with bias-corrected moments; weight decay is L2."""

    def bind(self, variables: Sequence[Tensor], slots: Sequence[Slots]) -> Update:
        """Return the update of these variables."""
        return _bind_moments(self, variables, slots, kernel="_fused_adam_")


class AdamW(canonical.AdamW):
    """Adam with weight decay on the parameter itself."""

    def bind(self, variables: Sequence[Tensor], slots: Sequence[Slots]) -> Update:
        """Return the update of these variables."""
        return _bind_moments(self, variables, slots, kernel="_fused_adamw_")


class RMSprop(canonical.RMSprop):
    """Steps divided by the running root mean square of the gradient."""

    def bind(self, variables: Sequence[Tensor], slots: Sequence[Slots]) -> Update:
        """Return the update of these variables."""
        counts_as_integers(slots)
        params, squares = list(variables), [one["mean_square"] for one in slots]
        velocities = [one["velocity"] for one in slots] if self.momentum else []

        def update(gradients: list[Tensor], rate: float) -> None:
            torch._foreach_mul_(squares, self.rho)
            torch._foreach_addcmul_(squares, gradients, gradients, value=1.0 - self.rho)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, self.eps)
            if self.momentum:
                torch._foreach_mul_(velocities, self.momentum)
                torch._foreach_addcdiv_(velocities, gradients, roots)
                torch._foreach_add_(params, velocities, alpha=-rate)
            else:
                torch._foreach_addcdiv_(params, gradients, roots, value=-rate)
            _count(slots)

        return update


class Adagrad(canonical.Adagrad):
    """Steps divided by the root of the sum of all squared gradients."""

    def bind(self, variables: Sequence[Tensor], slots: Sequence[Slots]) -> Update:
        """Return the update of these variables."""
        counts_as_integers(slots)
        params, squares = list(variables), [one["square_sum"] for one in slots]

        def update(gradients: list[Tensor], rate: float) -> None:
            torch._foreach_addcmul_(squares, gradients, gradients)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, self.eps)
            torch._foreach_addcdiv_(params, gradients, roots, value=-rate)
            _count(slots)

        return update


def _count(slots: Sequence[Slots]) -> None:
    for one in slots:
        one["step"] += 1


def _bind_moments(
    rule: Adam | AdamW, variables: Sequence[Tensor], slots: Sequence[Slots], *, kernel: str
) -> Update:
    """Bind each group of one device and dtype, fused where the framework can, else by foreach."""
    updates: list[tuple[list[int], Update]] = []
    for indices in grouped(variables):
        params, held = [variables[i] for i in indices], [slots[i] for i in indices]
        fusable = _is_fusable(kernel, params[0].device.type, params[0].dtype) and all(
            one.stride() == slot["first_moment"].stride() == slot["second_moment"].stride()
            for one, slot in zip(params, held, strict=True)
        )
        bind = _bind_fused if fusable else _bind_foreach
        updates.append((indices, bind(rule, params, held, kernel)))
    if len(updates) == 1:
        return updates[0][1]

    def update(gradients: list[Tensor], rate: float) -> None:
        for indices, one in updates:
            one([gradients[i] for i in indices], rate)

    return update


def _bind_fused(rule: Adam | AdamW, params: list[Tensor], slots: list[Slots], kernel: str) -> Update:
    step = getattr(torch, kernel)
    all_counts, counts = counts_as_tensors(slots, params[0].device)
    first, second = [one["first_moment"] for one in slots], [one["second_moment"] for one in slots]
    strides = [one.stride() for one in params]
    beta1, beta2 = rule.betas
    eps, weight_decay = rule.eps, rule.weight_decay

    def update(gradients: list[Tensor], rate: float) -> None:
        # The kernel reads memory in order and never looks at strides.
        for index, (gradient, stride) in enumerate(zip(gradients, strides, strict=True)):
            if gradient.stride() != stride:
                gradients[index] = torch.empty_like(params[index]).copy_(gradient)
        all_counts.add_(1.0)
        step(
            params,
            gradients,
            first,
            second,
            [],
            counts,
            lr=rate,
            beta1=beta1,
            beta2=beta2,
            weight_decay=weight_decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )

    is_small = params[0].device.type == "cpu" and sum(one.numel() for one in params) <= _ONE_THREAD_ELEMENTS
    return _on_one_thread(update) if is_small else update


def _on_one_thread(update: Update) -> Update:
    """Run an update without the framework's thread pool.

    The fused kernel wakes every thread for every parameter, however small. For a small model that costs twice
    the work itself, and ten times on a machine that is busy with something else.
    """

    def alone(gradients: list[Tensor], rate: float) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            update(gradients, rate)
        finally:
            torch.set_num_threads(threads)

    return alone


def _bind_foreach(rule: Adam | AdamW, params: list[Tensor], slots: list[Slots], kernel: str) -> Update:
    counts_as_integers(slots)
    first, second = [one["first_moment"] for one in slots], [one["second_moment"] for one in slots]
    beta1, beta2 = rule.betas
    is_decoupled = kernel == "_fused_adamw_"

    def update(gradients: list[Tensor], rate: float) -> None:
        _count(slots)
        if rule.weight_decay and is_decoupled:
            torch._foreach_mul_(params, 1.0 - rate * rule.weight_decay)
        elif rule.weight_decay:
            gradients = list(torch._foreach_add(gradients, params, alpha=rule.weight_decay))
        torch._foreach_mul_(first, beta1)
        torch._foreach_add_(first, gradients, alpha=1.0 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, value=1.0 - beta2)
        roots = torch._foreach_sqrt(second)
        torch._foreach_div_(roots, [math.sqrt(1.0 - beta2 ** one["step"]) for one in slots])
        torch._foreach_add_(roots, rule.eps)
        torch._foreach_addcdiv_(params, first, roots, [-rate / (1.0 - beta1 ** one["step"]) for one in slots])

    return update


@lru_cache(maxsize=64)
def _is_fusable(kernel: str, device_type: str, dtype: torch.dtype) -> bool:
    """Whether the private kernel is there, takes these arguments, and computes what is expected of it."""
    step: Any = getattr(torch, kernel, None)
    if step is None or not dtype.is_floating_point:
        return False
    param, gradient, first, second = (
        torch.full((1,), value, dtype=dtype, device=device_type) for value in (1.0, 2.0, 0.0, 0.0)
    )
    count = torch.ones((), dtype=torch.float32, device=device_type)
    try:
        step(
            [param],
            [gradient],
            [first],
            [second],
            [],
            [count],
            lr=0.5,
            beta1=0.5,
            beta2=0.5,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )
    except (TypeError, RuntimeError, NotImplementedError):
        return False
    return bool(torch.allclose(param.float().cpu(), torch.tensor([0.5]), atol=1e-2))
