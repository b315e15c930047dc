"""`TensorflowProgram`: a segment as compiled loops over ranges of steps.

Which loop runs a step depends on the step alone: on which of its columns have live rows. A range is cut
where that changes, and nothing else decides, so that results do not depend on blocks, ranges or listeners.
A segment that needs to see values (a loss that takes the context, a rule that is no formula) runs step by
step in Python instead, always.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mml.backends import Block, BlockResult, Controls, Program, Segment
from mml.errors import BackendError, LossError, MMLError, ModelError
from mml_tf import optimizers, random_state
from mml_tf.base_model import TensorflowBaseModel
from mml_tf.calls import compile_calls, compile_losses
from mml_tf.executable import Executable, Layout, RegroupError
from mml_tf.learner import Group, Learner, Progress, update_counts
from mml_tf.native import Native
from mml_tf.slots import GroupSlots
from mml_tf.staging import Chunk, FixedShapes, Piece, row_capacity, stage
from mml_tf.step import GroupState, Live, Parts, Step, update
from mml_tf.tables import Tables, loss_scales, make_tables

if TYPE_CHECKING:
    from mml_tf.backend import TensorflowBackend

# How many steps a loop of fixed shapes holds, and how many bytes it may be padded to.
_FIXED_STEPS = 128
_FIXED_BYTES = 4 << 20


class TensorflowProgram(Program):
    """A segment, ready to run.

    Parameters
    ----------
    backend : TensorflowBackend
    segment : Segment
        Its models are built.
    """

    def __init__(self, backend: TensorflowBackend, segment: Segment) -> None:
        if segment.mode == "fit":
            raise BackendError(
                f"The backend {backend.name!r} fits nothing: its models learn by gradient.",
                where={"nodes": ", ".join(segment.learning) or None},
                hint="Train these nodes in a TrainPhase.",
            )
        self.backend = backend
        self.segment = segment
        self.trains = segment.mode == "train"
        self.device = backend.device_name(segment.device)
        self.natives = _natives_of(segment)
        learning = set(segment.learning) if self.trains else set()
        _refuse_shared(segment, self.natives, learning)
        mine = {node: native for node, native in self.natives.items() if node in learning}
        learners = [Learner(number, one, mine) for number, one in enumerate(segment.optimizers)]
        seed_states = [state for native in mine.values() for state in native.seed_states()]
        self.parts = Parts(
            segment,
            compile_calls(segment, self.natives, backend.ops),
            compile_losses(segment),
            learners if self.trains else [],
            seed_states,
        )
        self.sees_values = any(loss.context for loss in segment.losses) or not all(
            optimizers.is_tabular(learner.rule) for learner in self.parts.learners
        )
        _refuse_half_precision_by_hand(segment, sees_values=self.sees_values)
        self._steps: dict[Live, Step] = {}
        self._present: dict[Live, list[list[int]]] = {}
        self._executables: dict[Any, Executable] = {}
        self._fixed: FixedShapes | None = None

    def stage(self, block: Block) -> list[Chunk]:
        """Copy a block's inputs, once each."""
        with self._placed():
            if self.segment.jit_compile and not self.sees_values:
                self._fixed = _fixed_shapes(block, self.segment, self._fixed)
            return stage(block, self.segment.inputs, fixed=self._fixed)

    def run(self, staged: list[Chunk], start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute a range of steps.

        A piece of it that fails leaves the optimizer's state as it was before the piece.
        """
        losses: list[tf.Tensor] = []
        outputs: dict[str, list[Any]] = {key: [] for key in self.segment.outputs}
        with self.backend.scope(deterministic=self.segment.deterministic), self._placed():
            self._refresh()
            for chunk in staged:
                for piece in chunk.overlapping(start, stop):
                    result = self._run_piece(chunk, piece, controls)
                    losses.append(result.losses)
                    for key, kept in outputs.items():
                        kept.extend(result.outputs[key])
            if not losses:
                losses = [tf.zeros([0, len(self.segment.losses)], tf.float64)]
            return BlockResult(losses[0] if len(losses) == 1 else tf.concat(losses, 0), outputs)

    def _refresh(self) -> None:
        """Find parameters again that were replaced, or whose gradients were turned off."""
        if all(native.is_current() for native in self.natives.values()):
            return
        for native in self.natives.values():
            native.values()
        for learner in self.parts.learners:
            learner.find()
        for known in (self._steps, self._present, self._executables):
            known.clear()

    def _run_piece(self, chunk: Chunk, piece: Piece, controls: Controls) -> BlockResult:
        try:
            if self.sees_values:
                return self._run_seeing(chunk, piece, controls)
            executable = self._executable(chunk, piece, windowed=controls.apply is not None and self.trains)
            if executable.is_loop:
                return self._run_loop(executable, chunk, piece, controls)
            return self._run_one_by_one(executable, chunk, piece, controls)
        except MMLError as error:
            self._explain(chunk, piece, error)
            raise
        except tf.errors.OpError as cause:
            raise _failure(self.segment, cause) from cause

    def _step(self, live: Live) -> Step:
        if live not in self._steps:
            self._steps[live] = Step(self.parts, live)
        return self._steps[live]

    def _executable(self, chunk: Chunk, piece: Piece, *, windowed: bool) -> Executable:
        """Return what runs such steps, traced at first need."""
        step = self._step(piece.live)
        present = self._present.get(piece.live, step.expected)
        groups = tuple(
            group
            for learner, mine in zip(self.parts.learners, present, strict=True)
            for group in learner.groups(mine, windowed=windowed)
        )
        key = (piece.live, piece.counts, groups, windowed, tuple(chunk.specs.items()))
        if key not in self._executables:
            slots = tuple(self.parts.learners[group.learner].slots(group) for group in groups)
            layout = Layout(groups, slots, windowed, piece.counts, _table_dtype(slots))
            live = {one.name for one in self.segment.inputs if piece.live[one.rows]}
            inputs = {name: one for name, one in chunk.values.items() if name in live}
            try:
                self._executables[key] = Executable(step, layout, inputs, compiler=self.segment.jit_compile)
            except RegroupError as found:
                # Now it is known which parameters gradients reach; they are grouped by that.
                self._present[piece.live] = found.present
                return self._executable(chunk, piece, windowed=windowed)
        return self._executables[key]

    def _run_one_by_one(
        self, executable: Executable, chunk: Chunk, piece: Piece, controls: Controls
    ) -> BlockResult:
        steps = [
            self._run_loop(executable, chunk, replace(piece, first=step, last=step + 1), controls)
            for step in range(piece.first, piece.last)
        ]
        outputs = {key: [one for step in steps for one in step.outputs[key]] for key in self.segment.outputs}
        return BlockResult(tf.concat([step.losses for step in steps], 0), outputs)

    def _run_loop(
        self, executable: Executable, chunk: Chunk, piece: Piece, controls: Controls
    ) -> BlockResult:
        layout, n_steps = executable.layout, piece.last - piece.first
        states = [_state(slots, windowed=layout.windowed) for slots in layout.slots]
        tables = self._tables(executable, chunk, piece, controls)
        ran = executable.run(
            chunk.values, (tables.integers, tables.numbers), states, first=piece.first, n_steps=n_steps
        )
        after = tables.progress_before(piece.last)
        for slots, state, one in zip(layout.slots, ran.states, after, strict=True):
            slots.store(state.slots, count=one.count, accumulated=state.accumulated if one.waiting else None)
        return BlockResult(
            ran.losses if layout.counts is None else ran.losses[:n_steps],
            {key: self._split(ran.outputs.get(key), key, chunk, piece) for key in self.segment.outputs},
        )

    def _tables(self, executable: Executable, chunk: Chunk, piece: Piece, controls: Controls) -> Tables:
        """Return the tables of a piece's steps, those of the range before where they go on here."""
        layout = executable.layout
        progress = [Progress(slots.count, slots.is_waiting) for slots in layout.slots]
        known: Tables | None = chunk.tables.get(executable)
        if known is None or not known.are_for(controls, piece.first, progress):
            known = make_tables(
                self.parts,
                layout,
                chunk,
                controls,
                first=piece.first,
                last=chunk.piece_end(piece.first),
                progress=progress,
                n_steps=len(chunk.rows) if self._fixed is None else self._fixed.steps,
            )
            chunk.tables[executable] = known
        return known

    def _split(self, recorded: Any, key: str, chunk: Chunk, piece: Piece) -> list[Any]:
        """Return one tensor of live rows a step, None where the call did not run."""
        rows = chunk.rows[piece.first : piece.last]
        if recorded is None:
            return [None] * len(rows)
        if piece.counts is not None:
            return list(tf.unstack(recorded[: len(rows)]))
        column = next(call.rows for call in self.parts.calls if call.key == key)
        return list(tf.split(recorded, rows[:, column].tolist()))

    def _run_seeing(self, chunk: Chunk, piece: Piece, controls: Controls) -> BlockResult:
        """Run step by step in Python, every tensor with its values."""
        step = self._step(piece.live)
        losses: list[tf.Tensor] = []
        outputs: dict[str, list[Any]] = {key: [] for key in self.segment.outputs}
        for number in range(piece.first, piece.last):
            at = slice(chunk.first + number, chunk.first + number + 1)
            windowed = controls.apply is not None and self.trains
            scales = loss_scales(self.parts, chunk.rows[number : number + 1], controls, at)
            seed = int(controls.seeds[at.start])
            with random_state.seeded(seed):
                found = step.forward(
                    _rows_of(chunk, self.segment, number),
                    chunk.rows[number].tolist(),
                    seed=tf.constant(seed, tf.int64),
                    scales=scales[0].tolist() if windowed else None,
                    context=None if controls.contexts is None else controls.contexts[at.start],
                    training=self.trains,
                )
            if self.trains:
                self._learn_seeing(found.gradients, at.start, controls)
            losses.append(tf.stack(found.losses) if found.losses else tf.zeros([0], tf.float64))
            for key, kept in outputs.items():
                kept.append(found.values.get(key))
        return BlockResult(tf.stack(losses), outputs)

    def _learn_seeing(self, gradients: list[list[Any]], number: int, controls: Controls) -> None:
        """Update after one step whose gradients are there."""
        apply = None if controls.apply is None else controls.apply[number].tolist()
        groups: list[Group] = []
        for learner, mine in zip(self.parts.learners, gradients, strict=True):
            present = [index for index, one in enumerate(mine) if one is not None]
            groups += learner.groups(present, windowed=apply is not None)
        held = [self.parts.learners[group.learner].slots(group) for group in groups]
        states = [_state(slots, windowed=apply is not None) for slots in held]
        after, numbers = [], []
        for group, slots in zip(groups, held, strict=True):
            learner = self.parts.learners[group.learner]
            applied = None if apply is None else [apply[group.learner]]
            now = Progress(slots.count, slots.is_waiting)
            (_, then), (count,) = update_counts(now, 1, present=group.present, applied=applied)
            after.append(then)
            numbers.append(_numbers_by_hand(learner, float(controls.rates[number, group.learner]), count))
        moved = update(self.parts, groups, gradients, states=states, numbers=numbers, applied=apply)
        for slots, state, one in zip(held, moved, after, strict=True):
            slots.store(state.slots, count=one.count, accumulated=state.accumulated if one.waiting else None)

    def _explain(self, chunk: Chunk, piece: Piece, error: MMLError) -> None:
        """Raise a mistake again with the sizes of the first step, which a traced function does not know."""
        try:
            with random_state.seeded(0):
                self._step(piece.live).forward(
                    _rows_of(chunk, self.segment, piece.first),
                    chunk.rows[piece.first].tolist(),
                    seed=tf.constant(0, tf.int64),
                    training=False,
                )
        except type(error) as better:
            raise better from error.__cause__
        except Exception:  # noqa: BLE001 -- the first error is the one to tell
            return

    @contextmanager
    def _placed(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self.device is not None:
                stack.enter_context(tf.device(self.device))
            yield


def _state(slots: GroupSlots, *, windowed: bool) -> GroupState:
    loaded = slots.load()
    if not windowed:
        return GroupState(loaded)
    return GroupState(loaded, slots.load_accumulated(), slots.is_waiting)


def _rows_of(chunk: Chunk, segment: Segment, number: int) -> dict[str, tf.Tensor]:
    rows = chunk.rows[number]
    return {
        one.name: chunk.values[one.name][number, : int(rows[one.rows])]
        for one in segment.inputs
        if one.name in chunk.values and rows[one.rows]
    }


def _numbers_by_hand(learner: Learner, rate: float, count: int) -> Mapping[str, Any]:
    if not optimizers.is_tabular(learner.rule):
        return {"rate": rate, "step": count}
    found: Mapping[str, Any] = learner.rule.coefficients(rate=rate, step=max(count, 1))
    return found


def _table_dtype(slots: Sequence[GroupSlots]) -> tf.DType:
    wide = any(one.dtype == tf.float64 for one in slots)
    return tf.float64 if wide or not slots else tf.float32


def _fixed_shapes(block: Block, segment: Segment, known: FixedShapes | None) -> FixedShapes:
    """Return shapes for a block that are those known before, as long as its rows fit."""
    arrays = [block.values[one.name] for one in segment.inputs]
    rows = max(map(row_capacity, arrays), default=1)
    if known is not None:
        return known if rows <= known.rows else FixedShapes(known.steps, rows)
    step_bytes = sum(one[0].nbytes for one in arrays if isinstance(one, np.ndarray) and len(one))
    return FixedShapes(max(1, min(_FIXED_STEPS, _FIXED_BYTES // max(step_bytes, 1))), rows)


def _natives_of(segment: Segment) -> dict[str, Native]:
    natives: dict[str, Native] = {}
    for call in segment.calls:
        if call.model is None:
            continue
        if not isinstance(call.model, TensorflowBaseModel) or not call.model.is_built:
            raise BackendError(
                "A program of TensorFlow runs built modules.",
                where={"node": call.node},
                found=f"{type(call.model).__name__}, built: {call.model.is_built}",
            )
        natives[call.node] = call.model.call
    return natives


def _refuse_half_precision_by_hand(segment: Segment, *, sees_values: bool) -> None:
    if sees_values and segment.precision != "float32":
        raise BackendError(
            "Steps that run one by one in Python are not run in another precision.",
            where={"loss": ", ".join(loss.label for loss in segment.losses) or None},
            found=f"{segment.precision!r} with a loss that takes the context, or a rule of one's own",
            hint="Use precision='float32', or a loss without a parameter `context`.",
        )


def _refuse_shared(segment: Segment, natives: Mapping[str, Native], learning: set[str]) -> None:
    """Refuse a parameter that two nodes hold and that not the same optimizer steps for both."""
    stepped_by = {node: index for index, one in enumerate(segment.optimizers) for node in one.nodes}
    holders: dict[int, str] = {}
    for node, native in natives.items():
        for variable, role in native.values().values():
            if role != "param":
                continue
            other = holders.setdefault(id(variable), node)
            same = (other in learning, stepped_by.get(other)) == (node in learning, stepped_by.get(node))
            if learning and not same:
                raise BackendError(
                    "Two nodes hold the same parameter, and not the same optimizer steps it for both.",
                    where={"nodes": f"{other}, {node}"},
                    hint="Freeze both or neither, or give the second node a copy of the module.",
                )


def _failure(segment: Segment, cause: Exception) -> MMLError:
    """Turn what the framework found wrong while computing into an error that says where."""
    # Between a heading and the name of the operation stands what happened, behind a traceback of the trace.
    lines = [one.strip() for one in str(cause).splitlines() if one.strip()]
    told = [one for one in lines if not one.startswith(("[[", "File ", "Detected at"))]
    text = told[-1] if told else type(cause).__name__
    where = {"nodes": ", ".join(dict.fromkeys(call.node for call in segment.calls)) or None}
    if "label value" in text or "is not in [0" in text:
        return LossError(
            f"A target is the number of no class: {text}",
            where={"loss": ", ".join(loss.label for loss in segment.losses) or None},
            hint="Set the model's output_shape to the number of classes, or number the classes from 0.",
        )
    return ModelError(f"A step failed: {text}", where=where)
