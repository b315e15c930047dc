"""Who learns in a segment: the parameters of one optimizer, and how they are grouped for its update.

Parameters belong to the user's modules. Slots belong to core, and so does the count of updates, which lives
on the host: what it changes in a step is known before the step runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from mml.backends import SegmentOptimizer
from mml_tf import optimizers
from mml_tf.native import Native
from mml_tf.slots import ACCUMULATED, STEP, GroupSlots, Slots, check_slots, slot_maker


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that are updated together: of one node, of one dtype, with equally many updates behind them.

    Parameters
    ----------
    learner : int
        Number of the optimizer in the segment.
    members : tuple of int
        Positions among the learner's variables.
    present : bool
        The step's losses reach them. Others stand here only while gradients of earlier steps wait.
    """

    learner: int
    members: tuple[int, ...]
    present: bool


class Progress(NamedTuple):
    """How far a group is: its number of updates, and whether gradients wait for the next one."""

    count: int
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One learning variable, and how core's dictionary of its slots is asked for."""

    node: str
    name: str
    variable: tf.Variable
    make: Callable[[], Mapping[str, Any]]


class Learner:
    """The learning parameters of one optimizer.

    Parameters
    ----------
    number : int
    optimizer : SegmentOptimizer
    natives : mapping of str to Native
        The learning nodes' models by label.
    """

    def __init__(self, number: int, optimizer: SegmentOptimizer, natives: Mapping[str, Native]) -> None:
        self.number = number
        self.optimizer = optimizer
        self.rule = optimizer.rule
        self._natives = [(node, natives[node]) for node in optimizer.nodes if node in natives]
        self._parameters: list[_Parameter] = []
        self._slots: dict[tuple[int, ...], GroupSlots] = {}
        self._level: dict[tuple[int, ...], list[Group]] = {}
        self.find()

    def find(self) -> None:
        """Look the parameters up; one that two nodes hold counts for the first."""
        found: dict[int, _Parameter] = {}
        for node, native in self._natives:
            for name, (variable, role) in native.values().items():
                if role == "param":
                    make = slot_maker(tuple(self.rule.slot_names), tuple(variable.shape), variable.dtype)
                    found.setdefault(id(variable), _Parameter(node, f"{node}/{name}", variable, make))
        self._parameters = list(found.values())
        self._slots.clear()
        self._level.clear()

    @property
    def nodes(self) -> list[str]:
        """The node of each parameter."""
        return [one.node for one in self._parameters]

    @property
    def variables(self) -> list[tf.Variable]:
        """The parameters themselves."""
        return [one.variable for one in self._parameters]

    def groups(self, present: Sequence[int], *, windowed: bool) -> list[Group]:
        """Return the groups of a range of steps, as the slots stand now.

        Parameters
        ----------
        present : sequence of int
            Positions of the variables that gradients reach.
        windowed : bool
            Gradients may wait, so that variables without one in these steps may get an update, too.
        """
        chosen = range(len(self._parameters)) if windowed else present
        held = {index: self._held(self._parameters[index]) for index in chosen}
        level = not windowed and len({one[STEP] for one in held.values()}) <= 1
        if level and tuple(present) in self._level:
            return self._level[tuple(present)]
        groups = self._grouped(held, set(present), windowed=windowed)
        if level:
            self._level[tuple(present)] = groups
        return groups

    def slots(self, group: Group) -> GroupSlots:
        """Return the slots of a group, made at first sight."""
        if group.members not in self._slots:
            members = [self._parameters[index] for index in group.members]
            self._slots[group.members] = GroupSlots(
                self.optimizer, [one.name for one in members], [one.variable for one in members]
            )
        return self._slots[group.members]

    def _held(self, parameter: _Parameter) -> Slots:
        held: Slots = self.optimizer.slots.slots_of(parameter.name, parameter.make)
        if STEP not in held:
            check_slots(self.optimizer, parameter.name, held)
        return held

    def _grouped(self, held: Mapping[int, Slots], present: set[int], *, windowed: bool) -> list[Group]:
        found: dict[tuple[object, ...], list[int]] = {}
        for index, slots in held.items():
            waiting = windowed and ACCUMULATED in slots
            if index not in present and not waiting:
                continue
            parameter = self._parameters[index]
            # A rule that is no formula over elements sees one parameter at a time.
            apart = None if optimizers.is_tabular(self.rule) else index
            kind = (
                parameter.node,
                parameter.variable.dtype,
                int(slots[STEP]),
                waiting,
                index in present,
                apart,
            )
            found.setdefault(kind, []).append(index)
        return [Group(self.number, tuple(members), members[0] in present) for members in found.values()]


def update_counts(
    progress: Progress, n_steps: int, *, present: bool, applied: Sequence[bool] | None
) -> tuple[list[Progress], list[int]]:
    """Return how far a group is before each of a range of steps and after it, and each step's update.

    Parameters
    ----------
    progress : Progress
        Before the first step.
    n_steps : int
    present : bool
        Whether the steps' losses reach the group.
    applied : sequence of bool or None
        Whether each step ends with an update; None where every step does.

    Returns
    -------
    list of Progress, one more than steps; list of int, the number of each step's update, 0 for none
    """
    if applied is None:
        counts = list(range(progress.count, progress.count + n_steps + 1))
        return [Progress(count) for count in counts], counts[1:]
    path, updates = [progress], []
    for apply in applied:
        count, waiting = path[-1].count, path[-1].waiting or present
        moves = bool(apply) and waiting
        path.append(Progress(count + moves, waiting and not moves))
        updates.append(count + 1 if moves else 0)
    return path, updates
