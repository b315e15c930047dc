"""`GraphNode`: identity, label and wiring; `ComputeNode`: a node that turns arrays into arrays.

Nodes know whom they read from, by reference. They do not know the graph that owns them; it tells them who
reads from them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from mml.backends import BaseModel, InputShape
from mml.context import ExperimentNode
from mml.errors import ConfigError, GraphError
from mml.graph.references import ModelIOReference, Reference, as_reference
from mml.protocols import Config

Shape = tuple[int, ...]


class GraphNode(ExperimentNode, ABC):
    """A node of a model graph.

    Parameters
    ----------
    label : str
        Unique in its context; without ``/``.
    upstream : sequence
        What it reads: nodes, references, FeatureSets.
    uuid : str, optional
        Identity, new where it is left out.
    """

    min_upstream: ClassVar[int] = 1
    max_upstream: ClassVar[int | None] = 1
    changing: ClassVar[tuple[str, ...]] = ("upstream", "downstream")
    """The attributes that a mutation of the graph may change."""

    def __init__(self, label: str, upstream: Sequence[Any], *, uuid: str | None = None) -> None:
        super().__init__(label, uuid=uuid)
        if "/" in label:
            raise GraphError(
                "A node's label stands before '/' in the names of its losses and variables.",
                expected="a label without '/'",
                found=repr(label),
            )
        if not isinstance(upstream, Iterable) or isinstance(upstream, str):
            raise GraphError(
                f"A {type(self).__name__} takes its upstreams as a list.",
                where={"node": label},
                found=f"{type(upstream).__name__}: {upstream!r}",
            )
        self.upstream: tuple[Reference, ...] = tuple(as_reference(one, node=label) for one in upstream)
        self.downstream: tuple[ModelIOReference, ...] = ()
        self._check_limits()

    def reference(self) -> ModelIOReference:
        """Return a symbolic pointer to the node's output."""
        return ModelIOReference(label=self.label, uuid=self.uuid)

    def rewire(self, upstream: Sequence[Any], *, renamed: Mapping[str, str] | None = None) -> None:
        """Read from other places; a graph made of the node after this checks and follows the new wiring.

        Parameters
        ----------
        upstream : sequence
            Nodes, references, FeatureSets.
        renamed : mapping of str to str, optional
            Label of an upstream → label of what stands in its place, for settings that name upstreams.

        Raises
        ------
        GraphError
            If the node cannot read these; it is then as it was.
        """
        before = self.upstream
        self.upstream = tuple(as_reference(one, node=self.label) for one in upstream)
        try:
            self._check_limits()
            self._upstream_changed(renamed or {})
        except GraphError:
            self.upstream = before
            raise

    def remember(self) -> Callable[[], None]:
        """Return a function that puts wiring and building back to what they are now."""
        kept = {name: getattr(self, name) for name in self.changing}

        def put_back() -> None:
            for name, value in kept.items():
                setattr(self, name, value)

        return put_back

    def _upstream_changed(self, renamed: Mapping[str, str]) -> None:
        """Follow new upstreams, or refuse them: nothing to do for a node that names none of them."""

    def _check_limits(self) -> None:
        count, most = len(self.upstream), self.max_upstream
        if count < self.min_upstream or (most is not None and count > most):
            wanted = f"{self.min_upstream}" if most == self.min_upstream else f"at least {self.min_upstream}"
            raise GraphError(
                f"A {type(self).__name__} reads from {wanted} upstream.",
                where={"node": self.label},
                found=f"{count} upstream",
            )

    @abstractmethod
    def get_config(self) -> Config:
        """Return the node's structure: JSON only."""

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, GraphNode):
            return NotImplemented
        try:
            return self.get_config() == other.get_config()
        except ConfigError:
            return False

    def __hash__(self) -> int:
        return hash(self.uuid)


class ComputeNode(GraphNode):
    """A node that is built for a shape and turns arrays into arrays."""

    is_frozen: bool = False

    @property
    def model(self) -> BaseModel | None:
        """The wrapped model, None for a merge or before it is wrapped."""
        return None

    @property
    @abstractmethod
    def is_built(self) -> bool:
        """Whether shapes are known and the node can run."""

    @property
    @abstractmethod
    def output_shape(self) -> Shape | None:
        """Shape of one output sample, None where it is not known yet."""

    @abstractmethod
    def build(self, input_shapes: Sequence[InputShape], *, seed: int = 0) -> None:
        """Make the node ready for upstreams of these shapes of a sample, by key where columns come so."""
