"""One step of a segment as a function of tensors: seed, forward, losses, gradients, update.

The same function is traced into a program's loop and run by hand where something must see values. Which calls
run, which losses count and who learns follows from which rows are live: that is fixed here, so that a call or
parameter without a part in the step is simply not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from mml.backends import Segment
from mml.errors import LossError
from mml_tf import optimizers
from mml_tf.calls import CompiledCall, CompiledLoss, Values
from mml_tf.learner import Group, Learner
from mml_tf.ops import TensorflowOps

Live = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """What all steps of a program share.

    Parameters
    ----------
    segment : Segment
    calls, losses, learners : sequence
        In the segment's order.
    seed_states : sequence of tf.Variable
        Positions of generators that a framework keeps, set from the step's seed.
    """

    segment: Segment
    calls: Sequence[CompiledCall]
    losses: Sequence[CompiledLoss]
    learners: Sequence[Learner]
    seed_states: Sequence[tf.Variable] = ()


@dataclass(slots=True)
class Forward:
    """What a step computes before the update.

    Parameters
    ----------
    losses : list of scalar tensor
        Before their weights; NaN without live rows.
    values : dict of str to tensor
    gradients : list of list of tensor or None
        For each learner, by variable.
    """

    losses: list[tf.Tensor]
    values: Values
    gradients: list[list[tf.Tensor | None]] = field(default_factory=list)


@dataclass(slots=True)
class GroupState:
    """A group's tensors between two steps: flat slots, and in a window what waits and whether it does."""

    slots: list[tf.Tensor]
    accumulated: tf.Tensor | None = None
    waiting: Any = False


class Step:
    """One step, for one choice of columns with live rows.

    Parameters
    ----------
    parts : Parts
    live : tuple of bool
        For each column of the counts, whether it has live rows.
    """

    def __init__(self, parts: Parts, live: Live) -> None:
        self.parts = parts
        self.live = live
        self.calls = [call for call in parts.calls if live[call.rows]]
        scored = [loss for loss in parts.segment.losses if live[loss.rows]]
        self.reached = parts.segment.reached_by(scored)
        learning = {call.node for call in self.calls if call.learns and call.key in self.reached}
        self.expected = [
            [index for index, node in enumerate(learner.nodes) if node in learning]
            for learner in parts.learners
        ]

    def forward(
        self,
        values: Values,
        counts: Sequence[Any],
        *,
        seed: Any,
        scales: Sequence[Any] | None = None,
        context: Any = None,
        training: bool = True,
    ) -> Forward:
        """Run calls and losses, and differentiate where somebody learns.

        Parameters
        ----------
        values : dict of str to tensor
            Live rows of the inputs.
        counts : sequence of int or tensor
            Live rows by column.
        seed : scalar int64 tensor
        scales : sequence, optional
            Factor of each loss in the total; the weights where left out.
        context : object, optional
            What losses receive that ask for it.
        training : bool
            False runs everything in inference mode.
        """
        variables = [[learner.variables[i] for i in chosen] for learner, chosen in self._learning(training)]
        watched = [one for chosen in variables for one in chosen]
        if training:
            self._set_seed_states(seed)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            for call in self.calls:
                learns = training and call.learns and call.key in self.reached
                values[call.key] = call.run(values, counts[call.rows], learns)
            losses, total = self._losses(values, counts, scales, context)
        found = Forward(losses, values)
        if watched and total is not None:
            found.gradients = self._gradients(tape, total, watched)
        elif training:
            found.gradients = [[None] * len(learner.variables) for learner in self.parts.learners]
        return found

    def _learning(self, training: bool) -> list[tuple[Learner, list[int]]]:
        return list(zip(self.parts.learners, self.expected, strict=True)) if training else []

    def _set_seed_states(self, seed: Any) -> None:
        for number, state in enumerate(self.parts.seed_states):
            state.assign(tf.cast(tf.stack([seed, tf.constant(number << 32, tf.int64)]), state.dtype))

    def _losses(
        self, values: Values, counts: Sequence[Any], scales: Sequence[Any] | None, context: Any
    ) -> tuple[list[tf.Tensor], tf.Tensor | None]:
        losses, total = [], None
        for index, loss in enumerate(self.parts.losses):
            if not self.live[loss.rows]:
                losses.append(tf.constant(float("nan"), tf.float64))
                continue
            value = loss.run(values, counts[loss.rows], context)
            losses.append(tf.cast(value, tf.float64))
            scale = loss.weight if scales is None else scales[index]
            if scales is not None or scale != 1.0:
                value = value * (tf.cast(scale, value.dtype) if isinstance(scale, tf.Tensor) else scale)
            if total is not None and total.dtype != value.dtype:
                total, value = tf.cast(total, tf.float64), tf.cast(value, tf.float64)
            total = value if total is None else total + value
        return losses, total

    def _gradients(
        self, tape: tf.GradientTape, total: tf.Tensor, watched: list[tf.Variable]
    ) -> list[list[tf.Tensor | None]]:
        found = tape.gradient(total, watched)
        if all(one is None for one in found):
            raise LossError(
                "No gradient flows from the losses back to what learns.",
                where={"loss": ", ".join(loss.label for loss in self.parts.losses)},
                expected="a loss made of differentiable operations on the outputs",
                found="values cut off from the outputs, as by stop_gradient, argmax, rounding or NumPy",
                hint="Compute it with TensorFlow's operations; what is only to be watched is a metric.",
            )
        rest = iter(found)
        gradients: list[list[tf.Tensor | None]] = []
        for learner, chosen in zip(self.parts.learners, self.expected, strict=True):
            by_index: dict[int, tf.Tensor | None] = {index: next(rest) for index in chosen}
            gradients.append([_dense(by_index.get(index)) for index in range(len(learner.variables))])
        return gradients


def update(
    parts: Parts,
    groups: Sequence[Group],
    gradients: Sequence[Sequence[tf.Tensor | None]],
    *,
    states: Sequence[GroupState],
    numbers: Sequence[Mapping[str, Any]],
    applied: Sequence[Any] | None,
) -> list[GroupState]:
    """Take one step's gradients and update the parameters in place; return the groups' next states.

    Parameters
    ----------
    parts : Parts
    groups : sequence of Group
    gradients : sequence of sequence of tensor or None
        For each learner, by variable.
    states : sequence of GroupState
    numbers : sequence of mapping
        For each group, the coefficients of its update.
    applied : sequence of bool or tensor, or None
        For each learner, whether the step ends with an update; None where every step does.
    """
    after = list(states)
    for learner in parts.learners:
        chosen = [index for index, group in enumerate(groups) if group.learner == learner.number]
        if not chosen:
            continue
        mine, before = [groups[index] for index in chosen], [states[index] for index in chosen]
        coefficients = [numbers[index] for index in chosen]
        fresh = [
            optimizers.flat([gradients[learner.number][i] for i in group.members]) if group.present else None
            for group in mine
        ]
        if applied is None:
            slots = _apply(learner, mine, fresh, slots=[one.slots for one in before], numbers=coefficients)
            moved = [GroupState(one) for one in slots]
        else:
            apply = applied[learner.number]
            moved = _accumulate(learner, mine, fresh, before=before, numbers=coefficients, apply=apply)
        for index, state in zip(chosen, moved, strict=True):
            after[index] = state
    return after


def _apply(
    learner: Learner,
    groups: Sequence[Group],
    gradients: Sequence[tf.Tensor],
    *,
    slots: Sequence[Sequence[tf.Tensor]],
    numbers: Sequence[Mapping[str, Any]],
    waiting: Sequence[Any] | None = None,
) -> list[list[tf.Tensor]]:
    """Clip over all groups and update each, where gradients wait for it."""
    optimizer = learner.optimizer
    gradients = optimizers.clipped(gradients, clip_value=optimizer.clip_value, clip_norm=optimizer.clip_norm)
    moved = []
    for index, group in enumerate(groups):
        arguments = (learner, group, gradients[index], list(slots[index]), numbers[index])
        if waiting is None or waiting[index] is True:
            moved.append(_update_group(*arguments))
        else:
            moved.append(
                tf.cond(
                    waiting[index],
                    lambda arguments=arguments: _update_group(*arguments),
                    lambda arguments=arguments: [tf.identity(one) for one in arguments[3]],
                )
            )
    return moved


def _update_group(
    learner: Learner,
    group: Group,
    gradient: tf.Tensor,
    slots: list[tf.Tensor],
    numbers: Mapping[str, Any],
) -> list[tf.Tensor]:
    rule, names = learner.rule, learner.rule.slot_names
    variables = [learner.variables[index] for index in group.members]
    held = dict(zip(names, slots, strict=True))
    if optimizers.is_tabular(rule):
        moved = optimizers.apply_flat(rule, variables, gradient, held, numbers)
        return [moved[name] for name in names]
    (variable,) = variables
    shaped = {name: tf.reshape(one, variable.shape) for name, one in held.items()}
    new, changed = rule.update(
        TensorflowOps(), variable.read_value(), tf.reshape(gradient, variable.shape), shaped, **numbers
    )
    variable.assign(new)
    return [tf.reshape(changed[name], [-1]) for name in names]


def _accumulate(
    learner: Learner,
    groups: Sequence[Group],
    fresh: Sequence[tf.Tensor | None],
    *,
    before: Sequence[GroupState],
    numbers: Sequence[Mapping[str, Any]],
    apply: Any,
) -> list[GroupState]:
    """Add the step's gradients to those that wait, and update if it is time."""
    waiting = [True if group.present else state.waiting for group, state in zip(groups, before, strict=True)]
    summed = [
        state.accumulated if new is None else state.accumulated + new
        for new, state in zip(fresh, before, strict=True)
    ]
    slots = [state.slots for state in before]

    def updated() -> list[Any]:
        moved = _apply(learner, groups, summed, slots=slots, numbers=numbers, waiting=waiting)
        return [moved, [tf.zeros_like(one) for one in summed], [tf.constant(False)] * len(groups)]

    def kept() -> list[Any]:
        same = [[tf.identity(one) for one in group] for group in slots]
        return [same, [tf.identity(one) for one in summed], [tf.convert_to_tensor(one) for one in waiting]]

    moved, left, wait = tf.cond(apply, updated, kept)
    return [GroupState(list(s), a, w) for s, a, w in zip(moved, left, wait, strict=True)]


def _dense(gradient: Any) -> tf.Tensor | None:
    return gradient if gradient is None else tf.convert_to_tensor(gradient)
