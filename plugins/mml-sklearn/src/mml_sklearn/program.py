"""A segment of estimators made executable: whole splits to `fit`, batches to `partial_fit`, rows to outputs.

Every step runs on its own rows, so results do not depend on how steps are cut into blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mml.backends import Block, BlockResult, Call, Controls, Program, Segment, SegmentInput, loss_on_rows
from mml.errors import BackendError, ModelError
from mml_sklearn.models import ScikitWrapper
from mml_sklearn.random_state import global_generator

if TYPE_CHECKING:
    from mml_sklearn.backend import SklearnBackend

Values = dict[str, np.ndarray]


class SklearnProgram(Program):
    """A segment run step by step on NumPy arrays.

    In mode ``fit`` a block has one step with all rows, and host arrays go to the estimators uncopied; in the
    other modes a block is copied once when it is staged. In mode ``train`` the outputs and losses of a step
    are those after its update: before the first one an estimator has none.

    Parameters
    ----------
    backend : SklearnBackend
    segment : Segment

    Raises
    ------
    BackendError
        If the segment asks for what estimators cannot do.
    """

    def __init__(self, backend: SklearnBackend, segment: Segment) -> None:
        self.backend = backend
        self.segment = segment
        backend.device_name(segment.device)
        if segment.optimizers:
            raise BackendError(
                "Estimators learn by themselves and take no optimizer.",
                where={"nodes": ", ".join(label for one in segment.optimizers for label in one.nodes)},
                hint="Leave the optimizer out.",
            )
        for call in segment.calls:
            _check_call(call, segment)
        self._consumed = _consumed(segment)

    def stage(self, block: Block) -> Block:
        """Take over the live rows of a block, one array a step: read-only copies, except to `fit`."""
        values = {entry.name: self._staged(entry, block) for entry in self.segment.inputs}
        return Block(values=values, rows=block.rows.copy())

    def run(self, staged: Block, start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute a range of steps, one after the other."""
        losses = np.full((stop - start, len(self.segment.losses)), np.nan)
        outputs: dict[str, list[Any]] = {key: [] for key in self.segment.outputs}
        with global_generator() as seed_global:
            for position, step in enumerate(range(start, stop)):
                seed_global(int(controls.seeds[step]))
                values = self._step(staged, step)
                losses[position] = self._losses(values, staged.rows[step])
                for key in self.segment.outputs:
                    outputs[key].append(values.get(key))
        return BlockResult(losses=losses, outputs=outputs)

    def _staged(self, entry: SegmentInput, block: Block) -> list[np.ndarray | None]:
        value = block.values[entry.name]
        counts = block.rows[:, entry.rows]
        if not isinstance(value, list):
            host = value if self.segment.mode == "fit" else _read_only(np.array(value))
            return [host[step, :count] if count else None for step, count in enumerate(counts)]
        return [None if one is None else _read_only(one) for one in value]

    def _step(self, staged: Block, step: int) -> Values:
        rows = staged.rows[step]
        values: Values = {
            name: steps[step] for name, steps in staged.values.items() if steps[step] is not None
        }
        for call in self.segment.calls:
            count = int(rows[call.rows])
            if count:
                self._run_call(call, values, count)
            elif call.learns and self.segment.mode == "fit":
                raise ModelError("There is no row to fit on.", where={"node": call.node})
        return values

    def _run_call(self, call: Call, values: Values, count: int) -> None:
        arrays = [values[name][:count] for name in call.sources]
        if call.merge is not None:
            values[call.key] = np.asarray(call.merge.merge(self.backend.ops, arrays))
            return
        if call.learns:
            self._learn(call, arrays[0], None if call.targets is None else values[call.targets][:count])
        if call.key in self._consumed and call.model is not None:
            values[call.key] = call.model.forward(arrays[0])

    def _learn(self, call: Call, inputs: np.ndarray, targets: np.ndarray | None) -> None:
        model = call.model
        if not isinstance(model, ScikitWrapper):  # `_check_call` has refused it already
            raise BackendError("Only estimators learn here.", where={"node": call.node})
        if self.segment.mode == "fit":
            model.fit(inputs, targets)
        else:
            model.partial_fit(inputs, targets, classes=_classes(self.segment).get(call.node))

    def _losses(self, values: Values, rows: np.ndarray) -> np.ndarray:
        result = np.full(len(self.segment.losses), np.nan)
        for index, loss in enumerate(self.segment.losses):
            count = int(rows[loss.rows])
            if count:
                result[index] = float(loss_on_rows(loss, values, count))
        return result


def _check_call(call: Call, segment: Segment) -> None:
    if not call.learns:
        return
    if not isinstance(call.model, ScikitWrapper):
        raise BackendError("Only estimators learn in this backend.", where={"node": call.node})
    if segment.mode == "train":
        _check_trains(call, segment)
    elif not call.model.can_fit:
        raise BackendError("This estimator has no fit.", where={"node": call.node})
    elif sum(other.node == call.node and other.learns for other in segment.calls) > 1:
        raise BackendError(
            "A node would be fitted several times in one FitPhase, and keep only the last.",
            where={"node": call.node},
            hint="Fit it on one role.",
        )


def _check_trains(call: Call, segment: Segment) -> None:
    model = call.model
    if not isinstance(model, ScikitWrapper) or not model.can_learn:
        raise BackendError(
            "This estimator cannot learn batch by batch: it has no partial_fit.",
            where={"node": call.node},
            hint="Fit it in a FitPhase, and leave it out of this TrainPhase's active nodes.",
        )
    if model.needs_classes and call.node not in _classes(segment) and not model.is_fitted:
        raise BackendError(
            "A classifier that learns batch by batch must know all classes beforehand.",
            where={"node": call.node},
            expected="targets that stand in columns of the data, so that the whole split tells the classes",
            hint="Name the target columns in the reference that feeds the node; those that a merge joins by "
            "an axis tell no classes.",
        )


def _classes(segment: Segment) -> Mapping[str, Any]:
    classes: Mapping[str, Any] = segment.options.get("classes", {})
    return classes


def _consumed(segment: Segment) -> frozenset[str]:
    """Return the keys of calls whose results anybody reads, so that no other output is computed."""
    names = set(segment.outputs)
    for call in segment.calls:
        names.update(call.sources)
    for loss in segment.losses:
        names.update(loss.arguments)
    return frozenset(names)


def _read_only(array: np.ndarray) -> np.ndarray:
    # An estimator that writes into its input spoils it for other nodes. The one array of a fit stays as it
    # came: scikit-learn copies some read-only arrays, which is what a fit must not cost.
    view = array.view()
    view.flags.writeable = False
    return view
