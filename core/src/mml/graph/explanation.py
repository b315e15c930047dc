"""A plan in sentences: what each step executes, and where gradients stop."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from mml.graph.nodes import ComputeNode
from mml.graph.stages import Stage
from mml.graph.topology import upstream_labels


def explained(
    nodes: Mapping[str, ComputeNode], order: Sequence[str], stages: Sequence[Stage], learning: Collection[str]
) -> Iterator[str]:
    """Yield one sentence a stage, then one for each edge at which gradients stop."""
    for number, stage in enumerate(stages, start=1):
        chosen = [label for label in stage.labels if label in learning]
        doing = f"learning {', '.join(chosen)}" if chosen else "constant"
        yield f"Step {number} on {stage.backend}: {', '.join(stage.labels)} ({doing})."
    stage_of = {label: stage for stage in stages for label in stage.labels}
    for label in order:
        for up in upstream_labels(nodes[label]):
            here, there = stage_of[label], stage_of[up]
            if there.backend != here.backend:
                yield (
                    f"Between {up} ({there.backend}) and {label} ({here.backend}) values are converted once "
                    "a step and gradients stop."
                )
            elif there is not here:
                yield f"Between {up} and {label} gradients stop: they are separate stages."
