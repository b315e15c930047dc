"""A step traced into a loop over a dynamic range of steps, as one `ConcreteFunction`.

Everything that changes comes in as tensors: two tables with a row a step, the staged inputs, the flat slots.
Parameters and buffers are read and written where the user's model keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import tensorflow as tf

from mml.errors import ModelError
from mml_tf import optimizers, random_state
from mml_tf.learner import Group
from mml_tf.precision import products_in
from mml_tf.slots import GroupSlots
from mml_tf.step import GroupState, Parts, Step, update

_CONVOLUTIONS = ("Conv", "DepthwiseConv")


class RegroupError(Exception):
    """Gradients reach other parameters than it seemed: not all of those behind the losses.

    Parameters
    ----------
    present : list of list of int
        For each learner, the positions of the variables that they reach.
    """

    def __init__(self, present: list[list[int]]) -> None:
        super().__init__("gradients reach other parameters than expected")
        self.present = present


@dataclass(frozen=True)
class Layout:
    """What one executable is made for.

    Parameters
    ----------
    groups : tuple of Group
    slots : tuple of GroupSlots
        One for each group.
    windowed : bool
        Gradients accumulate over several steps.
    counts : tuple of int or None
        Rows of every step by column, where the program is compiled for fixed shapes.
    table_dtype : tf.DType
        Of the table of coefficients.
    """

    groups: tuple[Group, ...]
    slots: tuple[GroupSlots, ...]
    windowed: bool
    counts: tuple[int, ...] | None
    table_dtype: tf.DType

    def n_coefficients(self, parts: Parts) -> int:
        """Return how many columns the groups' coefficients take."""
        rules = [parts.learners[group.learner].rule for group in self.groups]
        return sum(len(optimizers.coefficient_names(rule)) for rule in rules)

    def n_scales(self, parts: Parts) -> int:
        """Return how many columns the losses' factors take."""
        return len(parts.losses) if self.windowed else 0


@dataclass(slots=True)
class Ran:
    """What a range of steps gave: losses, outputs by key (rows of all steps, or stacked), and states."""

    losses: tf.Tensor
    outputs: dict[str, tf.Tensor]
    states: list[GroupState]


class Executable:
    """A step and its loop, traced.

    Parameters
    ----------
    step : Step
    layout : Layout
    staged : mapping of str to tensor
        The inputs with live rows; their dtypes and row shapes count, not how many rows and steps they hold.
    compiler : bool
        Hand it to the optimising compiler.

    Raises
    ------
    RegroupError
        If the groups are not those that gradients reach.
    """

    def __init__(
        self, step: Step, layout: Layout, staged: Mapping[str, tf.Tensor], *, compiler: bool
    ) -> None:
        self.step = step
        self.layout = layout
        self.compiler = compiler
        self.inputs = {one.name: one.rows for one in step.parts.segment.inputs if one.name in staged}
        self.outputs = [key for key in step.parts.segment.outputs if any(c.key == key for c in step.calls)]
        self._output_specs = self._rehearsed(staged) if self.outputs else {}
        self.is_loop = True
        self._function = self._traced(staged)
        if compiler and _has_convolution(self._function.graph):
            # Inside a loop this compiler's convolutions for CPUs are twenty times slower.
            self.is_loop = False
            self._function = self._traced(staged)
        _refuse_unrepeatable(step, self._function.graph)

    def run(
        self,
        staged: Mapping[str, tf.Tensor],
        tables: tuple[tf.Tensor, tf.Tensor],
        states: Sequence[GroupState],
        *,
        first: int,
        n_steps: int,
    ) -> Ran:
        """Execute steps.

        Parameters
        ----------
        staged : mapping of str to tensor
        tables : (int64 tensor, tensor)
            With a row for each staged step: seed, counts, and whether each optimizer updates; a column of
            zeros, the coefficients by group, and the factors of the losses in a window.
        states : sequence of GroupState
        first, n_steps : int
            The first step among the staged ones, and how many.
        """
        arguments = [
            _integer(first),
            _integer(n_steps),
            *tables,
            *(staged[name] for name in self.inputs),
        ]
        for state in states:
            arguments += state.slots
            if self.layout.windowed:
                arguments += [state.accumulated, tf.constant(bool(state.waiting))]
        losses, *rest = self._call(arguments)
        outputs = dict(zip(self.outputs, rest, strict=False))
        return Ran(losses, outputs, self._states(rest[len(self.outputs) :]))

    def _call(self, arguments: list[tf.Tensor]) -> list[tf.Tensor]:
        # The framework's public way checks every argument anew, which takes longer than a small step.
        flat = getattr(self._function, "_call_flat", None)
        if flat is None:
            return list(self._function(*arguments))
        return list(flat(arguments, self._function.captured_inputs))

    def _traced(self, staged: Mapping[str, tf.Tensor]) -> Any:
        parts = self.step.parts
        columns = 1 + len(self.step.live) + len(parts.segment.optimizers)
        n_numbers = 1 + self.layout.n_coefficients(parts) + self.layout.n_scales(parts)
        specs = [
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None, columns], tf.int64),
            tf.TensorSpec([None, n_numbers], self.layout.table_dtype),
            *(
                tf.TensorSpec([None, None, *staged[name].shape[2:]], staged[name].dtype)
                for name in self.inputs
            ),
        ]
        for slots in self.layout.slots:
            specs += [tf.TensorSpec([slots.size], slots.dtype)] * len(slots.slot_names)
            if self.layout.windowed:
                specs += [tf.TensorSpec([slots.size], slots.dtype), tf.TensorSpec([], tf.bool)]
        function = tf.function(self._loop, autograph=False, jit_compile=True if self.compiler else None)
        return function.get_concrete_function(*specs)

    def _loop(
        self, first: tf.Tensor, n_steps: tf.Tensor, integers: tf.Tensor, numbers: tf.Tensor, *rest: tf.Tensor
    ) -> list[tf.Tensor]:
        staged = dict(zip(self.inputs, rest, strict=False))
        carried = list(rest[len(self.inputs) :])
        # Shapes that the optimising compiler fixes may not depend on how many steps are run.
        rows = n_steps if self.layout.counts is None else tf.shape(integers)[0]
        losses = tf.fill([rows, len(self.step.parts.losses)], tf.constant(float("nan"), tf.float64))
        buffers = [self._buffer(key, rows, n_steps) for key in self.outputs]

        def body(position: tf.Tensor, losses: tf.Tensor, *others: Any) -> list[Any]:
            buffers, states = others[: len(self.outputs)], self._states(others[len(self.outputs) :])
            found = self._one(staged, (integers, numbers), states, at=first + position)
            at = tf.reshape(position, [1, 1])
            if self.step.parts.losses:
                losses = tf.tensor_scatter_nd_update(losses, at, tf.stack(found.losses)[None])
            buffers = [
                self._kept(buffer, found.outputs[key], position)
                for key, buffer in zip(self.outputs, buffers, strict=True)
            ]
            return [position + 1, losses, *buffers, *self._flattened(found.states)]

        start = [tf.constant(0), losses, *buffers, *carried]
        if self.is_loop:
            end = tf.while_loop(lambda position, *_: position < n_steps, body, start)
        else:
            end = body(*start)
        _, losses, *others = end
        n_outputs = len(self.outputs)
        recorded = [one if isinstance(one, tf.Tensor) else one.concat() for one in others[:n_outputs]]
        return [losses, *recorded, *others[n_outputs:]]

    def _one(
        self,
        staged: Mapping[str, tf.Tensor],
        tables: tuple[tf.Tensor, tf.Tensor],
        states: list[GroupState],
        *,
        at: tf.Tensor,
    ) -> _One:
        seed, *whole = tf.unstack(tf.gather(tables[0], at))
        n_rows = len(self.step.live)
        counts: Sequence[Any] = self.layout.counts or whole[:n_rows]
        applied = [one > 0 for one in whole[n_rows:]] if self.layout.windowed else None
        coefficients, scales = self._columns(tf.unstack(tf.gather(tables[1], at)))
        values = {name: tf.gather(staged[name], at)[: counts[column]] for name, column in self.inputs.items()}
        trains = self.step.parts.segment.mode == "train"
        stream = random_state.Stream(seed, tf.compat.v1.get_default_graph())
        with random_state.drawing_from(stream), products_in(self.step.parts.segment.precision):
            found = self.step.forward(values, counts, seed=seed, scales=scales, training=trains)
        if trains:
            self._check_groups(found.gradients)
            states = update(
                self.step.parts,
                self.layout.groups,
                found.gradients,
                states=states,
                numbers=coefficients,
                applied=applied,
            )
        return _One(found.losses, {key: found.values[key] for key in self.outputs}, states)

    def _check_groups(self, gradients: list[list[Any]]) -> None:
        present = [[index for index, one in enumerate(mine) if one is not None] for mine in gradients]
        expected: list[list[int]] = [[] for _ in gradients]
        for group in self.layout.groups:
            if group.present:
                expected[group.learner] += group.members
        if [sorted(one) for one in expected] != present:
            raise RegroupError(present)

    def _columns(self, columns: list[tf.Tensor]) -> tuple[list[dict[str, tf.Tensor]], list[tf.Tensor] | None]:
        """Name the columns of a step's row: coefficients by group, in the group's dtype, and scales."""
        rest = iter(columns[1:])
        coefficients = [
            {
                name: tf.cast(next(rest), slots.dtype)
                for name in optimizers.coefficient_names(self._rule(group))
            }
            for group, slots in zip(self.layout.groups, self.layout.slots, strict=True)
        ]
        return coefficients, list(rest) if self.layout.windowed else None

    def _rule(self, group: Group) -> Any:
        return self.step.parts.learners[group.learner].rule

    def _states(self, tensors: Sequence[tf.Tensor]) -> list[GroupState]:
        rest = iter(tensors)
        return [
            GroupState(
                [next(rest) for _ in slots.slot_names],
                *([next(rest), next(rest)] if self.layout.windowed else []),
            )
            for slots in self.layout.slots
        ]

    def _flattened(self, states: Sequence[GroupState]) -> list[Any]:
        return [
            one
            for state in states
            for one in (*state.slots, *([state.accumulated, state.waiting] if self.layout.windowed else []))
        ]

    def _buffer(self, key: str, rows: tf.Tensor, n_steps: tf.Tensor) -> Any:
        spec = self._output_specs[key]
        if self.layout.counts is not None:
            return tf.zeros([rows, *spec.shape], spec.dtype)
        return tf.TensorArray(
            spec.dtype, size=n_steps, infer_shape=False, element_shape=[None, *spec.shape[1:]]
        )

    def _kept(self, buffer: Any, output: tf.Tensor, position: tf.Tensor) -> Any:
        if self.layout.counts is None:
            return buffer.write(position, output)
        return tf.tensor_scatter_nd_update(buffer, tf.reshape(position, [1, 1]), output[None])

    def _rehearsed(self, staged: Mapping[str, tf.Tensor]) -> dict[str, tf.TensorSpec]:
        """Trace the forward alone, to learn the shapes and dtypes of what is recorded."""
        n_rows = len(self.step.live)

        def forward(seed: tf.Tensor, counts: tf.Tensor, *arrays: tf.Tensor) -> list[tf.Tensor]:
            known: Sequence[Any] = self.layout.counts or tf.unstack(counts, num=n_rows)
            values = {
                name: array[: known[column]]
                for (name, column), array in zip(self.inputs.items(), arrays, strict=True)
            }
            stream = random_state.Stream(seed, tf.compat.v1.get_default_graph())
            with random_state.drawing_from(stream):
                found = self.step.forward(values, known, seed=seed, training=False)
            return [found.values[key] for key in self.outputs]

        specs = [
            tf.TensorSpec([], tf.int64),
            tf.TensorSpec([n_rows], tf.int64),
            *(tf.TensorSpec([None, *staged[name].shape[2:]], staged[name].dtype) for name in self.inputs),
        ]
        traced = tf.function(forward, autograph=False).get_concrete_function(*specs)
        found = dict(zip(self.outputs, traced.outputs, strict=True))
        for key, one in found.items():
            if self.layout.counts is not None:
                column = next(call.rows for call in self.step.calls if call.key == key)
                one.set_shape([self.layout.counts[column], *one.shape[1:]])
        return {key: tf.TensorSpec(one.shape, one.dtype) for key, one in found.items()}


@dataclass(slots=True)
class _One:
    losses: list[tf.Tensor]
    outputs: dict[str, tf.Tensor]
    states: list[GroupState]


@lru_cache(maxsize=1024)
def _integer(value: int) -> tf.Tensor:
    return tf.constant(value, tf.int32)


def _has_convolution(graph: tf.Graph) -> bool:
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for one in definition.library.function for node in one.node_def)]
    return any(node.op.startswith(_CONVOLUTIONS) for node in nodes)


def _refuse_unrepeatable(step: Step, graph: tf.Graph) -> None:
    found = random_state.unrepeatable_operations(graph)
    if found:
        raise ModelError(
            "A model draws random numbers that cannot be repeated: their position is kept inside a kernel.",
            where={"nodes": ", ".join(dict.fromkeys(call.node for call in step.calls))},
            found=", ".join(found),
            hint="Use mml_tf.Dropout, tf.random.Generator or tf.random.stateless_*. Leave tf.function out of "
            "the model, as MML compiles the whole step, and draw before a tf.while_loop, not inside it.",
        )
