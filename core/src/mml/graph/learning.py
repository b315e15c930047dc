"""Who learns in a phase, and what has to run for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mml.backends import get_backend
from mml.errors import PhaseError, did_you_mean, listed
from mml.graph.nodes import ComputeNode, ModelNode
from mml.graph.plan import Request
from mml.graph.topology import with_ancestors


def choose_learning(nodes: Mapping[str, ComputeNode], request: Request) -> tuple[str, ...]:
    """Return the labels of the nodes that learn or are fitted, in the order of the graph.

    Raises
    ------
    PhaseError
        If a node is named that cannot learn so, is frozen, or does not exist; or if none is left.
    """
    for label in request.active or ():
        if label not in nodes:
            raise PhaseError(
                f"active_nodes names {label!r}, which the graph does not have.",
                hint=did_you_mean(label, nodes),
            )
    if request.mode == "eval":
        return ()
    able = can_be_fitted if request.mode == "fit" else can_be_trained
    chosen = []
    for label, node in nodes.items():
        named = request.active is not None and label in request.active
        if not isinstance(node, ModelNode) or not (named or request.active is None):
            continue
        if named and not able(node):
            raise _unable(node, request.mode)
        if named and _is_kept(node, request.mode):
            raise PhaseError(
                "A node that shall learn is frozen.",
                where={"node": label},
                hint=f"Call {label}.unfreeze() first, or leave it out of active_nodes.",
            )
        if able(node) and not _is_kept(node, request.mode):
            chosen.append(label)
    if not chosen:
        doing = "fitted" if request.mode == "fit" else "trained"
        raise PhaseError(
            f"No node of the graph can be {doing} in this phase.",
            found=", ".join(f"{label!r} ({_state(node)})" for label, node in nodes.items()),
            hint=_mend(nodes, request),
        )
    return tuple(chosen)


def running_nodes(nodes: Mapping[str, ComputeNode], request: Request, learning: Sequence[str]) -> set[str]:
    """Return the labels of all nodes that run: who learns, what losses read, and their dependencies."""
    wanted = set(learning) | {loss.on for loss in request.losses if loss.on in nodes}
    for loss in request.losses:
        wanted |= {str(one.name) for one in loss.routed if one.domain == "node" and one.name in nodes}
    if request.mode == "eval":
        wanted |= set(nodes if request.active is None else request.active)
    wanted |= {label for label in request.record if label in nodes}
    return with_ancestors(nodes, wanted)


def check_ready(
    nodes: Mapping[str, ComputeNode], request: Request, *, learning: Sequence[str], running: Collection[str]
) -> None:
    """Refuse nodes that run as they are, though they have to be fitted first.

    Raises
    ------
    PhaseError
    """
    for label in nodes:
        fitted_first = request.mode == "fit" and set(learning) & with_ancestors(nodes, [label])
        if label in running and label not in learning and not fitted_first:
            _check_ready(nodes[label])


def _check_ready(node: ComputeNode) -> None:
    if not node.is_built:
        raise PhaseError(
            "A node is not built: the width of its input is known only after fitting what is upstream.",
            where={"node": node.label},
            hint="Run a FitPhase for the upstream nodes first.",
        )
    if node.model is not None and not node.model.is_fitted:
        raise PhaseError(
            "A node that this phase reads from is not fitted yet.",
            where={"node": node.label},
            hint=f"Run a FitPhase with active_nodes=[{node.label!r}] before.",
        )


def _mend(nodes: Mapping[str, ComputeNode], request: Request) -> str:
    other, phase = (can_be_trained, "TrainPhase") if request.mode == "fit" else (can_be_fitted, "FitPhase")
    named = [label for label in nodes if request.active is None or label in request.active]
    able = [label for label in named if isinstance(node := nodes[label], ModelNode) and other(node)]
    frozen = any(nodes[label].is_frozen for label in named)
    if able and not frozen:
        return f"A {phase} can do it for {listed(able)}."
    return "Unfreeze a node, or change active_nodes."


def _is_kept(node: ModelNode, mode: str) -> bool:
    return node.frozen_by == "user" or (mode == "train" and node.is_frozen)


def can_be_fitted(node: ModelNode) -> bool:
    """Whether a FitPhase can fit the node."""
    return node.model is not None and get_backend(node.backend).capabilities.fit and node.model.can_fit


def can_be_trained(node: ModelNode) -> bool:
    """Whether a TrainPhase can train the node, freezing left aside."""
    capabilities = get_backend(node.backend).capabilities
    return (
        node.model is not None
        and (capabilities.gradients or capabilities.partial_fit)
        and node.model.can_learn
    )


def _state(node: ComputeNode) -> str:
    if node.is_frozen:
        return "frozen"
    return "merge" if node.model is None else type(node.model).__name__


def _unable(node: ModelNode, mode: str) -> PhaseError:
    if mode == "fit":
        return PhaseError(
            "This node cannot be fitted in one pass.",
            where={"node": node.label},
            found=f"a model of the backend {node.backend!r}",
            hint="Train it in a TrainPhase.",
        )
    return PhaseError(
        "This node cannot learn batch by batch: it has no trainable parameters and no partial_fit.",
        where={"node": node.label},
        found=f"a model of the backend {node.backend!r}",
        hint="Fit it in a FitPhase before, or leave it out of active_nodes.",
    )
