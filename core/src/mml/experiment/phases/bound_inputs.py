"""From symbolic bindings to lanes and running samplers, for one execution of a phase.

Bindings with equal samplers over the same rows share one running sampler, so that it makes its batches once.
Bindings with equal aligning samplers share one over the rows of all of them, each taking its stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from mml.context import ExperimentContext
from mml.data import FeatureSet, FeatureSetReference, FeatureSetView
from mml.errors import MMLError, PhaseError, SplitError, did_you_mean
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
    stream_of : mapping of str to (str or None)
        By lane name: which stream of the sampler reaches it; None for the only one.
    views : mapping of str to FeatureSetView
        By lane name: the rows it draws from.
    """

    lanes: tuple[Lane, ...]
    samplers: tuple[Any, ...]
    sampler_of: Mapping[str, int]
    stream_of: Mapping[str, str | None]
    views: Mapping[str, FeatureSetView]


@dataclass(frozen=True)
class _Target:
    """One head input that a binding feeds."""

    lane: str
    head: str
    reference: FeatureSetReference
    binding: InputBinding


@dataclass(frozen=True)
class _Source:
    """The rows and the sampler of one head input, looked up."""

    target: _Target
    featureset: FeatureSet
    view: FeatureSetView
    sampler: Any

    @property
    def aligns(self) -> bool:
        """Whether the sampler draws from the FeatureSets of several bindings at once."""
        return bool(getattr(self.sampler, "aligns", False))

    @property
    def stream(self) -> str | None:
        """The stream that reaches the head; of an aligning sampler, the FeatureSet's label by default."""
        named = self.target.binding.stream
        return self.featureset.label if named is None and self.aligns else named

    @property
    def key(self) -> tuple[Any, ...]:
        """What sources that share one running sampler have in common."""
        if self.aligns:
            return ("aligned", self.sampler.key())
        return (self.sampler.key(), self.featureset.uuid, self.target.binding.split)


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
        The run's seed, which those of samplers without one derive from.
    default_batch_size : int or None
        Chunk size where a binding has no sampler; all rows at once where None.
    heads : sequence of str, optional
        The heads that ``"*"`` stands for; all of the graph's where left out.

    Raises
    ------
    PhaseError, SplitError, SamplerError
        If a node, FeatureSet, split or stream does not exist, a head is bound twice, or a sampler and its
        rows do not fit each other.
    """
    targets = _targets(bindings, graph, list(graph.head_nodes if heads is None else heads), phase)
    sources = []
    for target in targets:
        with _located(phase, target.head):
            sources.append(_looked_up(target, context, default_batch_size))
    shared: dict[tuple[Any, ...], list[_Source]] = {}
    for source in sources:
        shared.setdefault(source.key, []).append(source)
    running: dict[tuple[Any, ...], Any] = {}
    for key, group in shared.items():
        with _located(phase, group[0].target.head):
            running[key] = _bound(group, phase=phase, seed=seed)
    lanes = []
    for source in sources:
        with _located(phase, source.target.head):
            lanes.append(_lane(source, running[source.key]))
    numbers = {key: number for number, key in enumerate(running)}
    return BoundInputs(
        tuple(lanes),
        tuple(running.values()),
        sampler_of={one.target.lane: numbers[one.key] for one in sources},
        stream_of={one.target.lane: one.stream for one in sources},
        views={one.target.lane: one.view for one in sources},
    )


@contextmanager
def _located(phase: str, node: str) -> Iterator[None]:
    try:
        yield
    except MMLError as error:
        raise error.located({"phase": phase, "node": node}) from error.__cause__


def _looked_up(target: _Target, context: ExperimentContext, batch_size: int | None) -> _Source:
    featureset = target.reference.resolve(context)
    split = target.binding.split
    if split is not None and split not in featureset and _follows(target.binding.sampler, featureset):
        raise _undivided(featureset, split)
    view = featureset.view() if split is None else featureset[split]
    return _Source(target, featureset, view, _sampler(target.binding.sampler, view, batch_size))


def _follows(sampler: Any, featureset: FeatureSet) -> bool:
    """Whether an aligning sampler takes its rows by those of another FeatureSet, as far as it says."""
    return getattr(sampler, "aligns", False) and getattr(sampler, "primary", None) != featureset.label


def _undivided(featureset: FeatureSet, split: str) -> SplitError:
    return SplitError(
        f"{featureset.label!r} has no split {split!r}.",
        hint="Divide it like the sampler's primary FeatureSet, by what their rows have in common: "
        f"split_by_condition({{{split!r}: {{'<key>': primary[{split!r}].get_tags('<key>')}}}}, "
        "rest='others'); or bind all of its rows, in an InputBinding of its own without a split.",
    )


def _bound(group: Sequence[_Source], *, phase: str, seed: int) -> Any:
    """Bind the sampler that some sources share, once."""
    first = group[0]
    rows: Any = first.view
    if first.aligns:
        streams = _streams(group)
        rows = {name: one.view for name, one in streams.items()}
        first = streams.get(getattr(first.sampler, "primary", None), first)
    named = (first.featureset.label, str(first.target.binding.split), phase)
    return first.sampler.bind(rows, seed=derive_seed(seed, "sampler", *named))


def _streams(group: Sequence[_Source]) -> dict[str | None, _Source]:
    streams: dict[str | None, _Source] = {}
    for one in group:
        known = streams.setdefault(one.stream, one)
        if known.view.label != one.view.label or known.featureset is not one.featureset:
            raise PhaseError(
                f"Two bindings give the stream {one.stream!r} different rows.",
                found=f"{known.view.label} and {one.view.label}",
                hint="Name the streams: stream=... in each binding.",
            )
    return streams


def _lane(source: _Source, running: Any) -> Lane:
    target = source.target
    return Lane(
        name=target.lane,
        head=target.head,
        source=source.featureset.snapshot(),
        columns=target.reference.columns(source.featureset),
        combine=target.reference.combine,
        roles=running.epoch(0).stream(source.stream).roles,
        rows=source.view.rows,
        featureset=source.featureset.label,
    )


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
