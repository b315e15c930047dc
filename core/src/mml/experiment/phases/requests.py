"""What a phase asks of a graph: its bindings resolved, the heads that it needs, the outputs that it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mml.context import ExperimentContext
from mml.experiment.phases.bound_inputs import BoundInputs, bind_inputs
from mml.graph import ModelGraph
from mml.graph.elsewhere import columns_elsewhere
from mml.graph.plan import Request
from mml.graph.topology import heads, with_ancestors

if TYPE_CHECKING:
    from mml.experiment.phases.phase import ExperimentPhase


def bound_request(
    phase: ExperimentPhase,
    graph: ModelGraph,
    *,
    context: ExperimentContext,
    seed: int = 0,
    deterministic: bool = False,
) -> tuple[BoundInputs, Request]:
    """Resolve a phase's bindings, and put what it asks of a graph into words of the graph's.

    Parameters
    ----------
    phase : ExperimentPhase
    graph : ModelGraph
    context : ExperimentContext
        Where FeatureSets are looked up.
    seed : int
        That samplers without a seed of their own derive theirs from.
    deterministic : bool
        Ask backends for deterministic kernels.

    Raises
    ------
    MMLError
        If a binding means nothing.
    """
    inputs = bind_inputs(
        phase.input_sources,
        graph,
        phase=phase.label,
        context=context,
        seed=seed,
        default_batch_size=phase.default_batch_size,
        heads=_needed_heads(phase, graph),
    )
    request = Request(
        mode=phase.mode,
        lanes=inputs.lanes,
        active=phase.active_nodes,
        losses=phase.losses,
        record=_recorded(phase, graph),
        device=phase.device,
        deterministic=deterministic,
        elsewhere=columns_elsewhere(phase.losses, context=context),
    )
    return inputs, request


def _needed_heads(phase: ExperimentPhase, graph: ModelGraph) -> tuple[str, ...]:
    """Return the heads that a phase needs data for: all, or those above its active nodes and losses."""
    if phase.active_nodes is None:
        return graph.head_nodes
    wanted = [label for label in (*phase.active_nodes, *(loss.on for loss in phase.losses)) if label in graph]
    running = with_ancestors(graph.nodes, wanted)
    return tuple(label for label in heads(graph.nodes) if label in running)


def _recorded(phase: ExperimentPhase, graph: ModelGraph) -> tuple[str, ...]:
    """Return the nodes whose outputs are kept: those with losses, the tails, and those of metrics."""
    if phase.result_recording == "none" or phase.mode == "fit":
        return ()
    wanted = [loss.on for loss in phase.losses if loss.on in graph]
    named = [metric.node for metric in getattr(phase, "metrics", ()) if getattr(metric, "node", None)]
    tails = graph.tail_nodes if phase.active_nodes is None else phase.active_nodes
    return tuple(dict.fromkeys([*wanted, *named, *tails]))
