"""Following fit lineage through a phase: who learns sees its rows, and what is scored is checked first."""

from __future__ import annotations

from mml.experiment.lineage import check_scored_rows
from mml.experiment.running.running_phase import RunningPhase


def follow_lineage(running: RunningPhase) -> None:
    """Note the rows that a phase lets nodes see, or check the rows that it scores.

    Raises
    ------
    LeakageError
        Under `mml.strict`, if rows are scored that something fitted saw.
    """
    ledger, plan, views = running.host.lineage, running.execution.plan, running.inputs.views
    for label, one in running.graph.nodes.items():
        if one.model is not None:
            ledger.follow(label, one.model)
    if running.phase.mode == "eval":
        running.results.in_sample = check_scored_rows(
            views,
            ledger=ledger,
            nodes=dict.fromkeys(call.node for one in plan.segments for call in one.segment.calls),
            columns={
                lane.name: (lane.source, tuple(name for names in lane.columns.values() for name in names))
                for lane in running.inputs.lanes
            },
            phase=running.phase.label,
        )
        return
    for node in plan.learning:
        if running.phase.mode == "fit":
            ledger.forget(node)
        for view in views.values():
            ledger.add(node, view.lineage())
