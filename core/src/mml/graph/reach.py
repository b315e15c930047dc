"""Which learning nodes a loss reaches, and what to do about one that none does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mml.backends import Segment
from mml.errors import PhaseError
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.staging import Staging
from mml.graph.topology import upstream_labels, with_ancestors


def check_reached(segments: Iterable[Segment], losses: Sequence[AppliedLoss], staging: Staging) -> None:
    """Refuse a plan in which a node learns that no loss sends a gradient to.

    Parameters
    ----------
    segments : iterable of Segment
    losses : sequence of AppliedLoss
        Those of the phase, for the message.
    staging : Staging
        Who learns from gradients, and where these stop.

    Raises
    ------
    PhaseError
        Naming the node, where gradients stop on their way to it, and the mend.
    """
    for segment in segments:
        keys = segment.reached_by(segment.losses)
        reached = {call.node for call in segment.calls if call.key in keys}
        for label in segment.learning:
            if staging.learns_by_gradient(label) and label not in reached:
                raise _unreached(label, losses, staging)


def _unreached(label: str, losses: Sequence[AppliedLoss], staging: Staging) -> PhaseError:
    borders = list(_borders_below(label, losses, staging))
    apart = [(up, down) for up, down in borders if staging.backends[up] != staging.backends[down]]
    found = "losses on " + ", ".join(dict.fromkeys(repr(loss.on) for loss in losses))
    hint = f"Apply a loss on {label!r}, or below it in the same step; "
    if borders and not apart:
        hint += "give the graph an optimizer, so that losses further down reach it; "
    return PhaseError(
        "A node that learns is reached by no loss.",
        where={"node": label},
        found="; ".join(
            [found if losses else "a phase without losses", *(staging.told(*one) for one in borders)]
        ),
        hint=f"{hint}freeze it, or name the learning nodes in active_nodes.",
    )


def _borders_below(label: str, losses: Sequence[AppliedLoss], staging: Staging) -> Iterator[tuple[str, str]]:
    """Yield the edges at which gradients of losses below a node stop before they reach it."""
    scored = {loss.on for loss in losses if loss.on in staging.order}
    stage, seen = staging.stage_of(label), {label}
    for down in staging.order:
        for up in upstream_labels(staging.nodes[down]):
            if up not in seen:
                continue
            if staging.stage_of(down) is stage:
                seen.add(down)
            elif any(down in with_ancestors(staging.nodes, [one]) for one in scored):
                yield up, down
