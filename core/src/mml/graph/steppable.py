"""`Steppable`: single steps on arrays given by hand, through planner, programs and optimizers of phases."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mml.backends import Controls, get_backend
from mml.backends.segment import Mode
from mml.context import ExperimentContext, ExperimentNode
from mml.errors import GraphError, LossError, MMLError, OptimizerError
from mml.graph.execution import Execution, LoadedBlock
from mml.graph.given_arrays import given_step, inputs_of
from mml.graph.learning import choose_learning, running_nodes
from mml.graph.loss_placement import check_losses
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.nodes import ComputeNode, GraphNode
from mml.graph.plan import PlannedSegment, Request
from mml.graph.routes import Routes
from mml.graph.run_lock import RunLock
from mml.graph.topology import labels_of, tails
from mml.random import derive_seed


@dataclass(frozen=True)
class StepOutcome:
    """What one step gave.

    Parameters
    ----------
    outputs : dict of str to ndarray
        By node label, ``<label>:<role>`` for a stream of several roles: the output of the live rows.
    losses : dict of str to float
        By loss label, before its weight; NaN where a loss had no live row.
    weights : dict of str to float
    """

    outputs: dict[str, np.ndarray]
    losses: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """The weighted sum of the losses that had live rows; NaN where there are none."""
        known = [self.weights[label] * value for label, value in self.losses.items() if not math.isnan(value)]
        return sum(known) if known else math.nan


class Steppable(ExperimentNode, ABC):
    """A graph that can be run a step at a time, without an experiment."""

    run_lock: RunLock
    _nodes: dict[str, ComputeNode]
    _seed: int
    _n_steps: int

    @abstractmethod
    def prepare(self, request: Request, *, context: ExperimentContext | None = None) -> Execution:
        """Make a request executable."""

    @abstractmethod
    def build(self, *, seed: int | None = None, context: ExperimentContext | None = None) -> Any:
        """Build every node whose input is known."""

    def train_step(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        losses: AppliedLoss | Iterable[AppliedLoss],
        tags: Any = None,
        active_nodes: str | GraphNode | Iterable[str | GraphNode] | None = None,
        learning_rate: float | None = None,
        seed: int | None = None,
    ) -> StepOutcome:
        """Run forward, backward and an update on one batch, as a TrainPhase does.

        Parameters
        ----------
        inputs : array, mapping of str to array, or Batch; or a mapping from inputs of the graph to such
            An array ``(rows, *input_shape)`` goes in as it is; columns by key become one input as the node's
            reference says; a Batch brings targets, tags, roles and masks. A graph with several inputs takes
            them by name, which is the head's label, as in `ExecutionContext.inputs`.
        targets : array or mapping of str to array; or a mapping from inputs of the graph to such, optional
            An array is the column that the node's reference selects. Given alone, they are every input's.
        losses : AppliedLoss or iterable of AppliedLoss
        tags : like targets, optional
        active_nodes : str, node, or iterable of them, optional
            The nodes that learn; all that can where left out.
        learning_rate : float, optional
            In place of the optimizers' own. Schedules belong to phases and do not count here.
        seed : int, optional
            Of what is random in the step, such as dropout. By default it derives from the graph's seed and
            the number of steps by hand before.

        Returns
        -------
        StepOutcome
            Losses, and outputs of the nodes that losses are applied on, from before the update.

        Raises
        ------
        MMLError
            What a phase with the same losses would refuse, and arrays that do not fit.
        """
        with self._alone():
            applied = _applied(losses)
            return self._step(
                "train",
                (inputs, targets, tags),
                losses=applied,
                active=active_nodes,
                record=[loss.on for loss in applied],
                rate=_checked_rate(learning_rate),
                seed=seed,
            )

    def eval_step(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        losses: AppliedLoss | Iterable[AppliedLoss] = (),
        tags: Any = None,
        active_nodes: str | GraphNode | Iterable[str | GraphNode] | None = None,
    ) -> StepOutcome:
        """Run forward in inference mode on one batch, and compute losses; nothing changes.

        Parameters
        ----------
        inputs, targets, tags
            See `train_step`.
        losses : AppliedLoss or iterable of AppliedLoss
        active_nodes : str, node, or iterable of them, optional
            The nodes whose outputs are wanted; the tails of the graph where left out.

        Returns
        -------
        StepOutcome
            Losses, and outputs of the wanted nodes and of those that losses are applied on.
        """
        with self._alone():
            applied = _applied(losses)
            wanted = tails(self._nodes) if active_nodes is None else labels_of(active_nodes)
            return self._step(
                "eval",
                (inputs, targets, tags),
                losses=applied,
                active=wanted,
                record=[*(loss.on for loss in applied), *wanted],
            )

    def fit_step(
        self,
        inputs: Any,
        targets: Any = None,
        *,
        active_nodes: str | GraphNode | Iterable[str | GraphNode] | None = None,
        seed: int | None = None,
    ) -> StepOutcome:
        """Fit nodes in one pass over the rows that are given, as a FitPhase does; build what waits for them.

        Parameters
        ----------
        inputs, targets
            See `train_step`.
        active_nodes : str, node, or iterable of them, optional
            The nodes that are fitted, in topological order; all that can be where left out.
        seed : int, optional
            See `train_step`.

        Returns
        -------
        StepOutcome
            Without losses, and with the outputs of no node: run `forward` on what it is wanted for.
        """
        with self._alone():
            outcome = self._step("fit", (inputs, targets, None), active=active_nodes, seed=seed)
            self.build()
        return outcome

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one thread at a time run the graph, and name it in errors."""
        if not self.run_lock.acquire(blocking=False):
            raise GraphError("The graph is being run by another thread.", where={"graph": self.label})
        try:
            yield
        except MMLError as error:
            raise error.located({"graph": self.label}) from error.__cause__
        finally:
            self.run_lock.release()

    def _step(
        self,
        mode: Mode,
        given: tuple[Any, Any, Any],
        *,
        losses: Sequence[AppliedLoss] = (),
        active: Any = None,
        record: Sequence[str] = (),
        rate: float | None = None,
        seed: int | None = None,
    ) -> StepOutcome:
        labels = None if active is None else tuple(labels_of(active))
        self._check_built()
        inputs, targets, tags = given
        step = given_step(self._nodes, inputs, targets=targets, tags=tags)
        request = Request(
            mode, lanes=step.lanes, active=labels, losses=tuple(losses), record=tuple(dict.fromkeys(record))
        )
        self._check_given(request)
        execution = self.prepare(request)
        fed = execution.feed.block([step.views])
        controls = [
            _controls(planned, seed=self._step_seed(seed), rate=rate) for planned in execution.plan.segments
        ]
        result = execution.run(LoadedBlock(fed, controls), 0, 1)
        self._n_steps += 1
        values = result.losses()[0]
        return StepOutcome(
            outputs={Routes.key(one.node, one.role): one.outputs for one in result.outputs[0]},
            losses={loss.label: float(value) for loss, value in zip(losses, values, strict=True)},
            weights={loss.label: loss.weight for loss in losses},
        )

    def _step_seed(self, seed: int | None) -> int:
        return derive_seed(self._seed, "step by hand", self._n_steps) if seed is None else seed

    def _check_built(self) -> None:
        if not any(node.is_built for node in self._nodes.values()):
            raise GraphError("The graph is not built yet.", hint="Call graph.build() first.")

    def _check_given(self, request: Request) -> None:
        """Refuse a step for which a head that runs is given nothing."""
        check_losses(self._nodes, request.losses)
        running = running_nodes(self._nodes, request, choose_learning(self._nodes, request))
        names = {lane.name for lane in request.lanes}
        for name, (node, _) in inputs_of(self._nodes).items():
            if node.label in running and name not in names:
                raise GraphError(
                    "A node that reads data got none.",
                    where={"node": node.label},
                    expected=f"an input {name!r}",
                    found=f"inputs {sorted(names)}",
                    hint="Give it, or leave the node out through active_nodes.",
                )


def _checked_rate(rate: float | None) -> float | None:
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if rate is not None and not (is_number and 0 <= rate < math.inf):
        raise OptimizerError("`learning_rate` is a number of at least zero.", found=repr(rate))
    return rate


def _applied(losses: AppliedLoss | Iterable[AppliedLoss]) -> tuple[AppliedLoss, ...]:
    found = (losses,) if isinstance(losses, AppliedLoss | str) else tuple(losses)
    for one in found:
        if not isinstance(one, AppliedLoss):
            raise LossError(
                "A step takes applied losses.",
                found=f"{type(one).__name__}: {one!r}",
                hint="Say where: AppliedLoss('mse', on='<node>').",
            )
    return tuple(one for one in found if isinstance(one, AppliedLoss))


def _controls(planned: PlannedSegment, *, seed: int, rate: float | None) -> Controls:
    """Return the controls of a step that is a phase of its own: optimizers that accumulate apply now."""
    for loss in planned.segment.losses:
        if loss.context:
            raise LossError(
                "A loss asks for the context of a step of a phase, and a step by hand has none.",
                where={"loss": loss.label, "node": loss.node},
                hint="Run it in a phase, or give a loss without a parameter `context`.",
            )
    backend = get_backend(planned.segment.backend)
    rates = [
        float(one.resolve(backend).default_rate if one.lr is None else one.lr) if rate is None else rate
        for one in planned.optimizers
    ]
    return Controls(seeds=np.array([seed], dtype=np.int64), rates=np.array([rates]).reshape(1, -1))
