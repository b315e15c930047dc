"""Who learns in a segment: the parameters of one optimizer, their gradients on the way to it, and its update.

Parameters belong to the user's modules and are looked up at the start of every run: one that was replaced,
or whose gradients were turned off, is seen. Slots belong to core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mml.backends import SegmentOptimizer
from mml_torch.modes import parts_of
from mml_torch.ops import TorchOps
from mml_torch.slots import Slots, fresh_slots, make_native

Update = Callable[[list[Tensor], float], None]


class Learner:
    """The learning parameters of one optimizer.

    Parameters
    ----------
    optimizer : SegmentOptimizer
    modules : mapping of str to nn.Module
        The learning nodes' modules by label.
    ops : TorchOps
    """

    def __init__(self, optimizer: SegmentOptimizer, modules: Mapping[str, nn.Module], ops: TorchOps) -> None:
        self.optimizer = optimizer
        self.modules = [(node, modules[node]) for node in optimizer.nodes if node in modules]
        self.ops = ops
        self.names: list[str] = []
        self.variables: list[Tensor] = []
        self._aliases: list[Tensor] = []
        self._seen: list[int] = []
        self._pending: dict[str, Tensor] = {}
        self._bound: list[int] | None = None
        self._slots: list[tuple[str, Callable[[], Mapping[str, Any]], Slots, tuple[Any, ...]]] = []
        self._update: Update = _unbound

    def begin(self) -> None:
        """Look the parameters and slots up; what is no longer the same is bound anew at the next update."""
        seen = [
            id(one)
            for _, module in self.modules
            for part in parts_of(module)
            for one in part._parameters.values()
            if one is not None and one.requires_grad
        ]
        if seen != self._seen:
            self._find()
            self._seen, self._bound = seen, None
        elif any(
            alias.data_ptr() != variable.data_ptr()
            for alias, variable in zip(self._aliases, self.variables, strict=True)
        ):
            self._aliases, self._bound = [one.detach() for one in self.variables], None
        if self._bound is not None and not self._holds_current_slots():
            self._bound = None

    def forget(self) -> None:
        """Drop gradients that wait for their update."""
        self._pending.clear()

    def step(self, gradients: Sequence[Tensor | None], rate: float, *, apply: bool) -> None:
        """Take one step's gradients, in the order of `variables`; update if the step applies them.

        Parameters
        ----------
        gradients : sequence of tensor or None
            None for a parameter that no loss reached: it gets no update and counts no step.
        rate : float
        apply : bool
        """
        if self._pending or not apply:
            self._accumulate(gradients)
            if not apply:
                return
            gradients = [self._pending.get(name) for name in self.names]
            self._pending.clear()
        present = [index for index, one in enumerate(gradients) if one is not None]
        if not present:
            return
        if present != self._bound:
            self._bind(present)
        chosen = [_dense(one) for one in gradients if one is not None]
        self._update(self._clipped(chosen), rate)

    def _find(self) -> None:
        found: dict[int, tuple[str, Tensor]] = {}
        for node, module in self.modules:
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    found.setdefault(id(parameter), (f"{node}/{name}", parameter))
        self.names = [name for name, _ in found.values()]
        self.variables = [parameter for _, parameter in found.values()]
        # Updates go through aliases of the same memory that take no gradients themselves.
        self._aliases = [one.detach() for one in self.variables]

    def _accumulate(self, gradients: Sequence[Tensor | None]) -> None:
        for name, gradient in zip(self.names, gradients, strict=True):
            if gradient is not None:
                waiting = self._pending.get(name)
                self._pending[name] = gradient if waiting is None else waiting + gradient

    def _bind(self, present: list[int]) -> None:
        rule = self.optimizer.rule
        whole = len(present) == len(self.names)
        variables = self._aliases if whole else [self._aliases[index] for index in present]
        names = [self.names[index] for index in present]
        makes = [self._maker(variable) for variable in variables]
        slots = [self.optimizer.slots.slots_of(name, make) for name, make in zip(names, makes, strict=True)]
        if not hasattr(rule, "make_slots"):
            for name, variable, held in zip(names, variables, slots, strict=True):
                make_native(held, rule.slot_names, variable, label=name)
        if hasattr(rule, "bind"):
            self._update = rule.bind(variables, slots)
        else:
            self._update = _bind_canonical(rule, variables, slots, self.ops)
        identities = [_identity(held) for held in slots]
        self._slots = list(zip(names, makes, slots, identities, strict=True))
        self._bound = present

    def _holds_current_slots(self) -> bool:
        """Whether nobody restored, dropped or regrouped the slots since they were bound."""
        slots_of = self.optimizer.slots.slots_of
        return all(
            slots_of(name, make) is held and _identity(held) == bound
            for name, make, held, bound in self._slots
        )

    def _maker(self, variable: Tensor) -> Callable[[], Mapping[str, Any]]:
        rule = self.optimizer.rule
        make: Callable[[], Mapping[str, Any]] | None = getattr(rule, "make_slots", None)
        return make or (lambda: fresh_slots(rule.slot_names, variable))

    def _clipped(self, gradients: list[Tensor]) -> list[Tensor]:
        limit, norm = self.optimizer.clip_value, self.optimizer.clip_norm
        # Never in place: autograd may hand out one tensor as the gradient of two parameters.
        if limit is not None:
            gradients = [one.clamp(-limit, limit) for one in gradients]
        if norm is not None:
            total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            factor = (norm / (total + 1e-6)).clamp(max=1.0)
            gradients = list(torch._foreach_mul(gradients, factor))
        return gradients


def _identity(slots: Slots) -> tuple[Any, ...]:
    """Return what changes when a slot is replaced; a count in Python moves on by itself."""
    return tuple(0 if type(value) is int else id(value) for value in slots.values())


def _dense(gradient: Tensor) -> Tensor:
    return gradient if gradient.layout is torch.strided else gradient.to_dense()


def _unbound(_gradients: list[Tensor], _rate: float) -> None:
    raise AssertionError("an update before its slots were bound")


def _bind_canonical(rule: Any, variables: Sequence[Tensor], slots: Sequence[Slots], ops: TorchOps) -> Update:
    """Bind a rule of core's kind, which is pure and takes one variable at a time."""

    def update(gradients: list[Tensor], rate: float) -> None:
        for variable, gradient, held in zip(variables, gradients, slots, strict=True):
            held["step"] = int(held["step"]) + 1
            new, moved = rule.update(ops, variable, gradient, held, rate=rate, step=held["step"])
            variable.copy_(new)
            held.update(moved)

    return update
