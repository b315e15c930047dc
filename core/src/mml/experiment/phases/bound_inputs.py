"""From symbolic bindings to lanes and running samplers, for one execution of a phase.

Bindings with equal samplers over the same rows share one running sampler, so that it makes its batches once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mml.context import ExperimentContext
from mml.data import FeatureSetReference, FeatureSetView
from mml.errors import MMLError, PhaseError, did_you_mean
from mml.experiment.phases.input_binding import EVERY_HEAD, InputBinding
from mml.graph import GraphNode, ModelGraph
from mml.graph.plan import Lane
from mml.processing import SimpleSampler
from mml.random import derive_seed


@dataclass(frozen=True)
class BoundInputs:
    """What a phase iterates over.

    Parameters
    ----------
    lanes : tuple of Lane
        One for each bound head input.
    samplers : tuple
        Running samplers, each once.
    sampler_of : mapping of str to int
        By lane name: the index of its sampler.
    views : mapping of str to FeatureSetView
        By lane name: the rows it draws from.
    """

    lanes: tuple[Lane, ...]
    samplers: tuple[Any, ...]
    sampler_of: Mapping[str, int]
    views: Mapping[str, FeatureSetView]


@dataclass(frozen=True)
class _Target:
    """One head input that a binding feeds."""

    lane: str
    head: str
    reference: FeatureSetReference
    binding: InputBinding


def bind_inputs(
    bindings: Sequence[InputBinding],
    graph: ModelGraph,
    *,
    phase: str,
    context: ExperimentContext,
    seed: int,
    default_batch_size: int | None,
    heads: Sequence[str] | None = None,
) -> BoundInputs:
    """Resolve bindings against a graph and a context.

    Parameters
    ----------
    bindings : sequence of InputBinding
    graph : ModelGraph
    phase : str
        Label of the phase, for messages and for the seeds of samplers that have none.
    context : ExperimentContext
    seed : int
        The experiment's seed.
    default_batch_size : int or None
        Chunk size where a binding has no sampler; all rows at once where None.
    heads : sequence of str, optional
        The heads that ``"*"`` stands for; all of the graph's where left out.

    Raises
    ------
    PhaseError, SplitError
        If a node, FeatureSet or split does not exist, or a head is bound twice.
    """
    targets = _targets(bindings, graph, list(graph.head_nodes if heads is None else heads), phase)
    lanes: list[Lane] = []
    samplers: list[Any] = []
    keys: dict[Any, int] = {}
    sampler_of: dict[str, int] = {}
    views: dict[str, FeatureSetView] = {}
    for target in targets:
        where = {"phase": phase, "node": target.head}
        try:
            featureset = target.reference.resolve(context)
            split = target.binding.split
            view = featureset.view() if split is None else featureset[split]
            sampler = _sampler(target.binding.sampler, view, default_batch_size)
            key = (sampler.key(), featureset.uuid, split, target.binding.stream)
            if key not in keys:
                keys[key] = len(samplers)
                stream_seed = derive_seed(seed, "sampler", featureset.label, str(split), phase)
                samplers.append(sampler.bind(view, seed=stream_seed, stream=target.binding.stream))
        except MMLError as error:
            raise error.located(where) from error.__cause__
        running = samplers[keys[key]]
        sampler_of[target.lane] = keys[key]
        views[target.lane] = view
        lanes.append(
            Lane(
                name=target.lane,
                head=target.head,
                source=featureset.snapshot(),
                columns=target.reference.columns(featureset),
                combine=target.reference.combine,
                roles=tuple(running.epoch(0).order),
                rows=view.rows,
            )
        )
    return BoundInputs(tuple(lanes), tuple(samplers), sampler_of, views)


def _targets(
    bindings: Sequence[InputBinding], graph: ModelGraph, heads: list[str], phase: str
) -> list[_Target]:
    found: dict[str, _Target] = {}
    for binding in bindings:
        named = heads if binding.node == EVERY_HEAD else [binding.node]
        for head in named:
            for target in _inputs_of(binding, graph, head, phase):
                if target.lane in found:
                    raise PhaseError(
                        "Two bindings feed the same input of a node.",
                        where={"phase": phase, "node": head},
                        hint="Keep one of them, or say which upstream each one is for.",
                    )
                found[target.lane] = target
    return list(found.values())


def _inputs_of(binding: InputBinding, graph: ModelGraph, head: str, phase: str) -> list[_Target]:
    if head not in graph or head not in graph.head_nodes:
        raise PhaseError(
            f"The binding names {head!r}, which is no head node of the graph.",
            where={"phase": phase},
            expected="a node that reads from a FeatureSet",
            hint=did_you_mean(head, graph.head_nodes),
        )
    node: GraphNode = graph[head]
    several = len(node.upstream) > 1
    own = [
        _Target(f"{head}[{number}]" if several else head, head, reference, binding)
        for number, reference in enumerate(node.upstream)
        if isinstance(reference, FeatureSetReference)
    ]
    if binding.upstream is None:
        return own
    wanted = binding.upstream
    chosen = [
        one
        for one in own
        if wanted.label == one.reference.label
        and (None in (wanted.uuid, one.reference.uuid) or wanted.uuid == one.reference.uuid)
    ]
    if chosen:
        return chosen
    if len(own) == 1:
        # Another FeatureSet in place of the node's own: the same columns, other rows.
        return [replace(own[0], reference=replace(own[0].reference, label=wanted.label, uuid=wanted.uuid))]
    raise PhaseError(
        "The binding's upstream is none of those that the node reads.",
        where={"phase": phase, "node": head},
        expected=" or ".join(repr(one.reference.label) for one in own),
        found=repr(wanted.label),
    )


def _sampler(sampler: Any, view: FeatureSetView, batch_size: int | None) -> Any:
    if sampler is not None:
        return sampler
    return SimpleSampler(batch_size=len(view) if batch_size is None else min(batch_size, len(view)))
