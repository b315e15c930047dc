"""The values of a graph: taken out of its models and optimizers, and put back all or none.

Bits in, bits out. Nothing here knows wiring or plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mml.errors import StateError
from mml.graph.nodes import ModelNode
from mml.graph.optimizers.optimizer import Optimizer
from mml.protocols import State

_FROZEN_BY = (None, "user", "fit")


class GraphStates:
    """Takes out and puts back what the models and optimizers of one graph hold.

    Parameters
    ----------
    nodes : mapping of str to ModelNode
        In topological order.
    optimizers : mapping of str to Optimizer
        The graph's under ``"graph"``, a node's under its label.
    build, unbuild : callable
        ``build()`` builds what can be built by now; ``unbuild(node)`` returns a node to before that.
    """

    def __init__(
        self,
        nodes: Mapping[str, ModelNode],
        optimizers: Mapping[str, Optimizer],
        *,
        build: Callable[[], object],
        unbuild: Callable[[ModelNode], None],
    ) -> None:
        self._nodes = nodes
        self._optimizers = optimizers
        self._build = build
        self._unbuild = unbuild

    def get(self) -> State:
        """Return the values of all models and optimizers, bit for bit."""
        return {
            "nodes": {label: node.get_state() for label, node in self._nodes.items()},
            "optimizers": {name: optimizer.get_state() for name, optimizer in self._optimizers.items()},
        }

    def put(self, state: State) -> None:
        """Put values back; where an entry does not fit, nothing is changed."""
        self._check(state)
        before = {label: node.get_state() for label, node in self._nodes.items()}
        done: list[str] = []
        try:
            for label in before:
                done.append(label)
                self._put_node(label, state["nodes"][label])
        except Exception:
            for label in done:
                self._put_node(label, before[label])
            raise
        for name, optimizer in self._optimizers.items():
            optimizer.set_state(state["optimizers"][name])

    def get_trainable(self) -> State:
        """Return the values of all that a TrainPhase can change: models that can learn, and optimizers."""
        return {
            "nodes": {
                label: node.model.get_state()
                for label, node in self._nodes.items()
                if node.model is not None and node.model.is_built and node.model.can_learn
            },
            "optimizers": {name: optimizer.get_state() for name, optimizer in self._optimizers.items()},
        }

    def put_trainable(self, state: State) -> None:
        """Put back what `get_trainable` returned; who is frozen by now stays so."""
        for label, values in state["nodes"].items():
            model = self._nodes[label].model if label in self._nodes else None
            if model is None:
                raise StateError("A node lost its model since the state was taken.", where={"node": label})
            model.set_state(values)
        for name, optimizer in self._optimizers.items():
            optimizer.set_state(state["optimizers"][name])

    def _put_node(self, label: str, state: State) -> None:
        node = self._nodes[label]
        if state["model"] is None:
            self._unbuild(node)
        elif not node.is_built:
            self._build()
        node.set_state(state)

    def _check(self, state: State) -> None:
        for kind, expected in (("nodes", list(self._nodes)), ("optimizers", list(self._optimizers))):
            found = state.get(kind) if isinstance(state, dict) else None
            if not isinstance(found, dict) or set(found) != set(expected):
                raise StateError(
                    f"The state is that of another graph: its {kind} differ.",
                    expected=str(sorted(expected)),
                    found=str(sorted(found)) if isinstance(found, dict) else repr(found),
                )
        for label in self._nodes:
            _check_entry(label, state["nodes"][label])
        for name, optimizer in self._optimizers.items():
            optimizer.check_state(state["optimizers"][name])


def _check_entry(label: str, entry: State) -> None:
    if isinstance(entry, dict) and set(entry) == {"model", "frozen"} and entry["frozen"] in _FROZEN_BY:
        return
    raise StateError(
        "The state of a node holds its model's values and who froze it.",
        where={"node": label},
        expected=f"keys 'model' and 'frozen', one of {_FROZEN_BY}",
        found=f"{sorted(entry)}, frozen {entry.get('frozen')!r}" if isinstance(entry, dict) else repr(entry),
    )
