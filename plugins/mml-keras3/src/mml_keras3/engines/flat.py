"""A learner's parameters as one flat tensor for each group that updates alike, stepped by the rule at once.

The canonical rules are arithmetic element by element, so that one pass over all elements gives the bits that
a pass for each parameter would. Slots are views of flat tensors; core's dictionaries hold those views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mml.graph.optimizers.canonical import CanonicalRule
from mml_keras3.learner import Learner
from mml_keras3.slots import ACCUMULATED, STEP, Slots


class FlatLearner:
    """The learning parameters of one optimizer, on the user's own tensors.

    Parameters
    ----------
    learner : Learner
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.variables: list[Tensor] = []
        self._slots: list[Slots] = []
        self._groups: dict[tuple[int, ...], list[_Group]] = {}
        self._bound: list[_Group] | None = None

    def begin(self) -> None:
        """Look parameters and slots up, as they are now."""
        self.variables = [one.value for one in self.learner.variables]
        self._slots = self.learner.slots()
        self._bound = None

    def end(self) -> None:
        """Give core the slots as they are now."""
        if self._bound is not None:
            for group in self._bound:
                group.hand_back()
            self._bound = None

    def step(self, gradients: Sequence[Tensor | None], rate: float, *, apply: bool) -> None:
        """Take one step's gradients, in the order of `variables`; update if the step applies them.

        Parameters
        ----------
        gradients : sequence of tensor or None
            None for a parameter that no loss reached: it gets no update and counts no step.
        rate : float
        apply : bool
        """
        if not apply or any(ACCUMULATED in held for held in self._slots):
            gradients = self._accumulated(gradients, apply=apply)
            if not apply:
                return
        present = tuple([place for place, one in enumerate(gradients) if one is not None])
        if not present:
            return
        chosen = self.learner.clipped([one for one in gradients if one is not None])
        by_place = dict(zip(present, chosen, strict=True))
        for group in self._bind(present):
            group.step([by_place[place] for place in group.places], rate)

    def _accumulated(self, gradients: Sequence[Tensor | None], *, apply: bool) -> list[Tensor | None]:
        """Add gradients to those that wait; hand them out, and let none wait, where the step applies them."""
        whole: list[Tensor | None] = []
        for held, gradient in zip(self._slots, gradients, strict=True):
            waiting = held.pop(ACCUMULATED, None)
            total = gradient if waiting is None else waiting if gradient is None else waiting + gradient
            whole.append(total)
            if total is not None and not apply:
                held[ACCUMULATED] = total
        return whole

    def _bind(self, present: tuple[int, ...]) -> list[_Group]:
        """Return the groups of these parameters, by dtype, device and number of updates so far."""
        if self._bound is not None and self._bound_places == present:
            return self._bound
        self.end()
        alike: dict[Any, list[int]] = {}
        for place in present:
            variable = self.variables[place]
            is_flat = isinstance(self.learner.rule, CanonicalRule)
            alone = None if is_flat else place
            key = (variable.dtype, variable.device, self._slots[place][STEP], alone)
            alike.setdefault(key, []).append(place)
        self._bound = [_Group(self, places) for places in alike.values()]
        self._bound_places = present
        return self._bound


class _Group:
    """Parameters of one dtype, device and count of updates."""

    def __init__(self, owner: FlatLearner, places: list[int]) -> None:
        self.learner = owner.learner
        self.places = places
        self.slots = [owner._slots[place] for place in places]
        self.variables = [owner.variables[place].detach() for place in places]
        self.constraints = [owner.learner.variables[place].constraint for place in places]
        self.count: int = self.slots[0][STEP]
        self.sizes = [one.numel() for one in self.variables]
        self.is_alone = len(places) == 1
        self.values = self._joined(self.variables)
        self.arrays = {
            name: self._joined([held[name] for held in self.slots]) for name in self.learner.slot_names
        }
        self.views = self._views(self.values)

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Update all of them."""
        self.count += 1
        numbers = self.learner.coefficients(rate=rate, step=self.count)
        wide = torch.float32 if self.values.dtype in (torch.float16, torch.bfloat16) else self.values.dtype
        new, moved = self.learner.apply(
            self.places[0],
            self.values.to(wide),
            self._joined(gradients).to(wide),
            {name: value.to(wide) for name, value in self.arrays.items()},
            numbers,
        )
        for name, value in moved.items():
            self.arrays[name] = value.to(self.arrays[name].dtype)
        self.values = new.to(self.values.dtype)
        torch._foreach_copy_(self.variables, self._views(self.values))
        self._constrain()

    def hand_back(self) -> None:
        """Put the slots where core keeps them."""
        for name, array in self.arrays.items():
            for held, view in zip(self.slots, self._views(array), strict=True):
                held[name] = view
        for held in self.slots:
            held[STEP] = self.count

    def _constrain(self) -> None:
        if not any(one is not None for one in self.constraints):
            return
        for variable, constraint in zip(self.variables, self.constraints, strict=True):
            if constraint is not None:
                variable.copy_(constraint(variable))
        self.values = self._joined(self.variables)

    def _joined(self, tensors: Sequence[Tensor]) -> Tensor:
        if self.is_alone:
            return tensors[0].detach()
        return torch.cat([one.detach().reshape(-1) for one in tensors])

    def _views(self, flat: Tensor) -> list[Tensor]:
        if self.is_alone:
            return [flat]
        return [
            part.view(variable.shape)
            for part, variable in zip(flat.split(self.sizes), self.variables, strict=True)
        ]
