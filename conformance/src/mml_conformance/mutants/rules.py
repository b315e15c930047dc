"""Mutants whose optimizers are another framework's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mml.backends import Program, Segment, SegmentOptimizer
from mml.backends.default_program import DefaultProgram
from mml.graph.optimizers.canonical import Adagrad, Adam, AdamW, RMSprop, Sgd
from mml_conformance.checks.optimizers import AXES, VARIANTS
from mml_conformance.mutants.mutant import Mutant
from mml_conformance.reference.backend import ReferenceBackend

Update = Callable[..., tuple[Any, dict[str, Any]]]


class _Rule:
    """A rule with its update replaced; `update` gets the true rule first."""

    def __init__(self, true: Any, update: Update) -> None:
        self.true = true
        self.slot_names = true.slot_names
        self.default_rate = true.default_rate
        self._update = update

    def update(self, _ops: Any, variable: Any, gradient: Any, slots: Mapping[str, Any], **when: Any) -> Any:
        return self._update(self.true, variable, gradient, slots, **when)


def _with(update: Update, *kinds: type) -> type[ReferenceBackend]:
    class Other(ReferenceBackend):
        def compile(self, segment: Segment) -> Program:
            optimizers = tuple(
                replace(one, rule=_Rule(one.rule, update)) if isinstance(one.rule, kinds) else one
                for one in segment.optimizers
            )
            return super().compile(replace(segment, optimizers=optimizers))

    return Other


def _true(rule: Any, p: Any, g: Any, slots: Any, *, rate: float, step: int) -> Any:
    return rule.update(ReferenceBackend.ops, p, g, slots, rate=rate, step=step)


def _dampened(rule: Any, p: Any, g: Any, slots: Any, **when: Any) -> Any:
    # (1 - momentum) · g from the second step on, as dampening does.
    share = 1.0 - rule.momentum if rule.momentum and np.any(slots["velocity"]) else 1.0
    return _true(rule, p, g * share, slots, **when)


def _rate_in_velocity(rule: Any, p: Any, g: Any, slots: Any, *, rate: float, step: int) -> Any:
    if not rule.momentum or rule.nesterov:
        return _true(rule, p, g, slots, rate=rate, step=step)
    velocity = rule.momentum * slots["velocity"] + rate * (g + rule.weight_decay * p)
    return p - velocity, {"velocity": velocity}


def _eps_in_root(rule: Any, p: Any, g: Any, slots: Any, *, rate: float, step: int) -> Any:
    _, moved = _true(rule, p, g, slots, rate=rate, step=step)
    c1, c2 = 1 - rule.betas[0] ** step, 1 - rule.betas[1] ** step
    root = np.sqrt(moved["second_moment"] / c2 + rule.eps**2)
    # eps² alone is nearly right; the common mistake is eps.
    root = np.sqrt(root * root + rule.eps)
    decay = getattr(rule, "weight_decay", 0.0) if isinstance(rule, AdamW) else 0.0
    return p - rate * decay * p - rate * (moved["first_moment"] / c1) / root, moved


def _coupled(rule: Any, p: Any, g: Any, slots: Any, **when: Any) -> Any:
    other = Adam(betas=rule.betas, eps=rule.eps, weight_decay=rule.weight_decay)
    return _true(other, p, g, slots, **when)


def _later_step(rule: Any, p: Any, g: Any, slots: Any, *, rate: float, step: int) -> Any:
    return _true(rule, p, g, slots, rate=rate, step=step + 1)


def _wrong_rate(rule: Any, p: Any, g: Any, slots: Any, *, rate: float, step: int) -> Any:
    return _true(rule, p, g, slots, rate=rate * 1.001, step=step)


def _eps_of_another(rule: Any, p: Any, g: Any, slots: Any, **when: Any) -> Any:
    other = (
        RMSprop(rho=rule.rho, eps=1e-7, momentum=rule.momentum)
        if isinstance(rule, RMSprop)
        else Adagrad(eps=1e-7)
    )
    return _true(other, p, g, slots, **when)


def _no_nesterov(rule: Any, p: Any, g: Any, slots: Any, **when: Any) -> Any:
    return _true(replace(rule, nesterov=False), p, g, slots, **when)


class OneStepCount(ReferenceBackend):
    """Counts updates once for all parameters."""

    class program_type(DefaultProgram):  # noqa: N801 -- the name of the attribute that it replaces
        """Steps by the largest count in the store."""

        def _apply(self, optimizer: SegmentOptimizer, name: str, gradient: Any, **rest: Any) -> None:
            steps = [self._slots(optimizer, one)["step"] for one in self._parameters(optimizer)]
            rest["slots"]["step"] = max(*steps, rest["slots"]["step"] + 1) - 1
            super()._apply(optimizer, name, gradient, **rest)


class HalfSlots(ReferenceBackend):
    """Keeps the optimizer's state in half precision."""

    class program_type(DefaultProgram):  # noqa: N801 -- as above
        """Rounds the slots after each update."""

        def _apply(self, optimizer: SegmentOptimizer, name: str, gradient: Any, **rest: Any) -> None:
            super()._apply(optimizer, name, gradient, **rest)
            for slot, value in rest["slots"].items():
                if isinstance(value, np.ndarray):
                    rest["slots"][slot] = value.astype(np.float16).astype(value.dtype)


_EVERY = tuple(f"OPT-{variant}-{axis.name}" for variant in VARIANTS for axis in AXES)

MUTANTS = (
    Mutant("momentum dampened", _with(_dampened, Sgd), ("OPT-sgd-momentum-twenty-steps",)),
    Mutant("learning rate in the velocity", _with(_rate_in_velocity, Sgd), ("OPT-sgd-momentum-schedule",)),
    Mutant("eps inside the root", _with(_eps_in_root, Adam, AdamW), ("OPT-adam-tiny-gradients",)),
    Mutant(
        "eps of another framework", _with(_eps_of_another, RMSprop, Adagrad), ("OPT-rmsprop-tiny-gradients",)
    ),
    Mutant("AdamW coupled", _with(_coupled, AdamW), ("OPT-adamw-decay-twenty-steps",)),
    Mutant("step count off by one", _with(_later_step, Adam, AdamW), ("OPT-adam-one-step",)),
    Mutant("nesterov ignored", _with(_no_nesterov, Sgd), ("OPT-sgd-nesterov-one-step",)),
    Mutant("learning rate rounded", _with(_wrong_rate, Sgd, Adam, AdamW, RMSprop, Adagrad), _EVERY),
    Mutant("one step count for all parameters", OneStepCount, ("OPT-own-steps",)),
    Mutant("half-precision slots", HalfSlots, ("OPT-adam-tiny-gradients",)),
)
