"""`Described`: a graph for people: as a table, in words, and as a picture.

Nothing here changes a graph. One that is not built yet is built for the look, and unbuilt after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from mml.backends.segment import Mode
from mml.context import ExperimentContext, ExperimentNode
from mml.errors import MMLError
from mml.graph.building import build_for_a_look
from mml.graph.explanation import explain
from mml.graph.nodes import ComputeNode
from mml.graph.optimizers.optimizer import Optimizer
from mml.graph.outline import Outline, Outliner
from mml.graph.plan import Request
from mml.graph.summary import summary_html, summary_text


class Asking(Protocol):
    """A phase, as far as a graph knows one."""

    label: str

    @property
    def mode(self) -> Mode:
        """What the phase does."""
        ...

    def request_for(self, graph: Described, *, context: ExperimentContext) -> Request:
        """Return what it asks of a graph."""
        ...


class Described(ExperimentNode, ABC):
    """A graph that can be looked at."""

    optimizer: Optimizer | None
    jit_compile: bool
    _nodes: dict[str, ComputeNode]
    _seed: int

    @abstractmethod
    def _looked_up_in(self) -> ExperimentContext:
        """Return where FeatureSets are looked up."""

    def summary(self) -> str:
        """Return a table of nodes with shapes, parameters, backend, device and freezing, 80 columns wide."""
        return summary_text(self._nodes, label=self.label, optimizer=self.optimizer)

    def _repr_html_(self) -> str:
        return summary_html(self._nodes, label=self.label, optimizer=self.optimizer)

    def outline(self, phase: Asking | None = None) -> Outline:
        """Return how the graph runs, as plain data: what `explain` tells and `visualize` draws.

        Parameters
        ----------
        phase : ExperimentPhase, optional
            Where left out, every node learns that can.
        """
        context = self._looked_up_in()
        outliner = Outliner(
            self.label,
            self._nodes,
            optimizer=self.optimizer,
            jit_compile=self.jit_compile,
            context=context,
        )
        with self._built_for_a_look(context) as problem:
            if phase is None:
                found = outliner.in_general()
            else:
                try:
                    found = outliner.of(phase.request_for(self, context=context), phase=phase.label)
                except MMLError as error:
                    found = Outline(self.label, phase.label, phase.mode, refusals=(error,))
            return found.completed(self._nodes, problem=problem)

    def explain(self, phase: Asking | None = None) -> str:
        """Tell how the graph runs: stages and backends, where gradients stop, what is cast, what is refused.

        Parameters
        ----------
        phase : ExperimentPhase, optional
            Explain the graph in this phase. Where left out, every node learns that can.

        Returns
        -------
        str
            A line a fact.
        """
        return explain(self.outline(phase))

    @contextmanager
    def _built_for_a_look(self, context: ExperimentContext) -> Iterator[MMLError | None]:
        """Build what is not built, as far as that goes; yield what stands against it, and put all back."""
        put_back = [node.remember() for node in self._nodes.values()]
        try:
            yield build_for_a_look(self._nodes, seed=self._seed, context=context)
        finally:
            for one in put_back:
                one()
