"""What a program knows of its segment before any step: models and variables, who learns, what is computed.

A `Division` tells it for one choice of live rows: which calls train, which only pass values on, which losses
count. Both kinds of runner, compiled and eager, go by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mml.backends import Segment, SegmentLoss
from mml.errors import BackendError
from mml_keras3 import random_state
from mml_keras3.base_model import KerasBaseModel
from mml_keras3.calls import CompiledCall, CompiledLoss, compile_calls, compile_losses
from mml_keras3.engines import engine
from mml_keras3.learner import Learner, Parameter
from mml_keras3.structure import NamedVariable, named_variables


@dataclass(frozen=True, slots=True)
class Division:
    """What happens in a step, for one choice of rows that are live.

    Parameters
    ----------
    constant : list of CompiledCall
        No learning node precedes them: they run in inference mode and take no gradients.
    reached : list of CompiledCall
        Gradients of losses with live rows flow through them.
    idle : list of CompiledCall
        No loss with live rows asks for them, nor for any call after them; they run last, in inference mode.
    losses : list of (int, CompiledLoss)
        Those with live rows, by their place in the segment.
    learning : frozenset of str
        The nodes that learn.
    regularized : list of keras.Variable
        Their parameters that Keras adds a penalty for.
    """

    constant: list[CompiledCall]
    reached: list[CompiledCall]
    idle: list[CompiledCall]
    losses: list[tuple[int, CompiledLoss]]
    learning: frozenset[str]
    regularized: list[Any]


class StepPlan:
    """A segment of built Keras models, ready to be stepped through.

    Parameters
    ----------
    segment : Segment
    run_model : callable
        From a Keras model to what runs it on an array, told whether it trains.
    """

    def __init__(self, segment: Segment, run_model: Callable[[Any], Callable[[Any, bool], Any]]) -> None:
        self.segment = segment
        self.run_model = run_model
        self.trains = segment.mode == "train"
        self.models = _models_of(segment)
        learning = frozenset(segment.learning) if self.trains else frozenset[str]()
        self.variables = {node: named_variables(model) for node, model in self.models.items()}
        self._refuse_shared(learning)
        self.constant, self.behind_learning = compile_calls(segment, run_model)
        self.losses = compile_losses(segment)
        self.has_context = any(loss.context for loss in self.losses)
        self.learners = [Learner(one, self._parameters(one.nodes, learning)) for one in segment.optimizers]
        self.generators = self._generators()
        self.dtype = self._widest_dtype()
        self._divisions: dict[tuple[bool, ...], Division] = {}

    def division(self, live: tuple[bool, ...]) -> Division:
        """Return what happens in a step.

        Parameters
        ----------
        live : tuple of bool
            For each column of counts, whether it has any live row.
        """
        if live not in self._divisions:
            self._divisions[live] = self._divided(live)
        return self._divisions[live]

    def used_columns(self) -> list[int]:
        """Return the columns of counts that anything in the segment goes by."""
        parts = (*self.segment.inputs, *self.segment.calls, *self.segment.losses)
        return sorted({one.rows for one in parts})

    def used_counts(self, counts: np.ndarray) -> tuple[int, ...]:
        """Return a step's counts, 0 in columns that nothing goes by."""
        used = set(self.used_columns())
        return tuple(int(count) if column in used else 0 for column, count in enumerate(counts))

    def flags(self) -> tuple[bool, ...]:
        """Return the switches of the user's that change who learns; a program made under others is stale."""
        return tuple([one.variable.trainable for named in self.variables.values() for one in named])

    def all_variables(self) -> list[Any]:
        """Return every variable but the states of generators, each once."""
        found = {
            id(one.variable): one.variable
            for named in self.variables.values()
            for one in named
            if one.role != "random"
        }
        return list(found.values())

    def buffers_of(self, nodes: frozenset[str]) -> list[Any]:
        """Return what these nodes' models move otherwise than by gradient, each once."""
        found = {
            id(one.variable): one.variable
            for node in self.models
            if node in nodes
            for one in self.variables[node]
            if one.role == "buffer"
        }
        return list(found.values())

    def labels_of(self, division: Division) -> str:
        """Return the labels of a division's losses, for messages."""
        return ", ".join(self.segment.losses[number].label for number, _ in division.losses)

    def _divided(self, live: tuple[bool, ...]) -> Division:
        scored = [number for number, loss in enumerate(self.losses) if live[loss.rows]]
        keys = self.segment.reached_by(_picked(self.segment.losses, scored))
        behind = [call for call in self.behind_learning if live[call.rows]]
        reached = [call for call in behind if call.key in keys] if self.trains else behind
        learning = frozenset(call.node for call in reached if call.learns)
        return Division(
            constant=[call for call in self.constant if live[call.rows]],
            reached=reached,
            idle=[call for call in behind if call not in reached],
            losses=[(number, self.losses[number]) for number in scored],
            learning=learning,
            regularized=self._regularized(learning),
        )

    def _regularized(self, nodes: frozenset[str]) -> list[Any]:
        found = {
            id(one.variable): one.variable
            for node in self.models
            if node in nodes
            for one in self.variables[node]
            if one.variable.trainable and one.variable.regularizer is not None
        }
        return list(found.values())

    def _parameters(self, nodes: tuple[str, ...], learning: frozenset[str]) -> list[Parameter]:
        found: dict[int, Parameter] = {}
        for node in nodes:
            for one in self.variables.get(node, ()) if node in learning else ():
                if one.role == "param" and one.variable.trainable:
                    found.setdefault(id(one.variable), Parameter(f"{node}/{one.name}", node, one.variable))
        return list(found.values())

    def _widest_dtype(self) -> str:
        """Return the dtype of losses and of optimizers' numbers: float64 where a model has any."""
        dtypes = {str(one.compute_dtype) for one in self.models.values()}
        dtypes |= {str(one.variable.dtype) for named in self.variables.values() for one in named}
        return "float64" if "float64" in dtypes else "float32"

    def _generators(self) -> list[Any]:
        states = {
            id(one.variable): one.variable
            for named in self.variables.values()
            for one in named
            if one.role == "random"
        }
        shared = [random_state.own_generator().state] if engine().draws_globally else []
        return [*states.values(), *shared]

    def _refuse_shared(self, learning: frozenset[str]) -> None:
        """Refuse a variable that two nodes hold and that not the same optimizer steps for both."""
        stepped_by = {
            node: number for number, one in enumerate(self.segment.optimizers) for node in one.nodes
        }
        holders: dict[int, str] = {}
        for node, named in self.variables.items():
            for one in named:
                other = holders.setdefault(id(one.variable), node)
                same = (other in learning, stepped_by.get(other)) == (node in learning, stepped_by.get(node))
                if learning and not same:
                    raise BackendError(
                        "Two nodes hold the same variable, and not the same optimizer steps it for both.",
                        where={"nodes": f"{other}, {node}"},
                        found=one.name,
                        hint="Freeze both or neither, or give the second node a copy of the model.",
                    )


def _models_of(segment: Segment) -> dict[str, Any]:
    models: dict[str, Any] = {}
    for call in segment.calls:
        if call.model is None:
            continue
        if not isinstance(call.model, KerasBaseModel) or not call.model.is_built:
            raise BackendError(
                "A program of Keras runs built models.",
                where={"node": call.node},
                found=f"{type(call.model).__name__}, built: {call.model.is_built}",
            )
        models[call.node] = call.model.native
    return models


def _picked(losses: tuple[SegmentLoss, ...], chosen: list[int]) -> list[SegmentLoss]:
    return [losses[number] for number in chosen]


__all__ = ["Division", "NamedVariable", "StepPlan"]
