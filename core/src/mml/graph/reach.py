"""Which learning nodes a loss reaches, and what to do about one that none does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mml.backends import Segment
from mml.errors import PhaseError
from mml.graph.losses.applied_loss import AppliedLoss


def check_reached(
    segments: Iterable[Segment], losses: Sequence[AppliedLoss], *, by_gradient: Callable[[str], bool]
) -> None:
    """Refuse a plan in which a node learns that no loss sends a gradient to.

    Parameters
    ----------
    segments : iterable of Segment
    losses : sequence of AppliedLoss
        Those of the phase, for the message.
    by_gradient : callable
        Whether a node learns from gradients.

    Raises
    ------
    PhaseError
        Naming the node and the mend.
    """
    for segment in segments:
        keys = segment.reached_by(segment.losses)
        reached = {call.node for call in segment.calls if call.key in keys}
        for label in segment.learning:
            if by_gradient(label) and label not in reached:
                raise PhaseError(
                    "A node that learns is reached by no loss.",
                    where={"node": label},
                    found=_found(losses),
                    hint=f"Apply a loss on {label!r}, or below it in the same step; give the graph an "
                    "optimizer, so that losses further down reach it; freeze it, or name the learning "
                    "nodes in active_nodes.",
                )


def _found(losses: Sequence[AppliedLoss]) -> str:
    if not losses:
        return "a phase without losses"
    return "losses on " + ", ".join(dict.fromkeys(repr(loss.on) for loss in losses))
