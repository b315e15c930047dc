"""Fit lineage of a graph: which rows each fitted or trained node saw, and whether it is scored on them.

A ledger belongs to an experiment. It holds references to rows, never data, and is looked at when a split is
scored. Scalers keep their own lineage in the FeatureSet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mml.data import ColumnSource, FeatureSetView, FitLineage
from mml.protocols import State
from mml.strictness import is_strict, report_leakage


class LineageLedger:
    """What every node of a graph saw while it was fitted or trained."""

    def __init__(self) -> None:
        self._seen: dict[str, list[FitLineage]] = {}
        self._told: set[tuple[str, str, str]] = set()
        self._models: dict[str, object] = {}

    def add(self, node: str, lineage: FitLineage) -> None:
        """Note that a node saw these rows; the same rows are noted once."""
        known = self._seen.setdefault(node, [])
        if not any(_same_place(one, lineage) for one in known):
            known.append(lineage)

    def forget(self, node: str) -> None:
        """Drop what a node saw, because it is fitted anew."""
        self._seen.pop(node, None)

    def follow(self, node: str, model: object) -> None:
        """Drop what a node saw if another model stands under its label by now, because the graph changed."""
        if self._models.setdefault(node, model) is not model:
            self._models[node] = model
            self.forget(node)

    def of(self, node: str) -> tuple[FitLineage, ...]:
        """Return what a node saw, in order; nothing for one that was never fitted."""
        return tuple(self._seen.get(node, ()))

    def is_news(self, what: str, seen: FitLineage, scored: FitLineage) -> bool:
        """Whether a finding was not told before; asking tells it. Under `mml.strict` all are news."""
        finding = (what, seen.source, scored.source)
        if finding in self._told and not is_strict():
            return False
        self._told.add(finding)
        return True

    def clear(self) -> None:
        """Drop everything."""
        self._seen.clear()
        self._told.clear()
        self._models.clear()

    def entries(self) -> Mapping[str, tuple[FitLineage, ...]]:
        """Return all entries as they are now, for `put_back`."""
        return {node: tuple(seen) for node, seen in self._seen.items()}

    def put_back(self, entries: Mapping[str, tuple[FitLineage, ...]]) -> None:
        """Return to earlier entries; what was told stays told."""
        self._seen = {node: list(seen) for node, seen in entries.items()}

    def get_state(self) -> State:
        """Return all entries as arrays and JSON."""
        return {node: [one.get_state() for one in seen] for node, seen in self._seen.items()}

    def set_state(self, state: State) -> None:
        """Put entries back."""
        self._models.clear()
        self._seen = {node: [FitLineage.from_state(one) for one in seen] for node, seen in state.items()}


def check_scored_rows(
    views: Mapping[str, FeatureSetView],
    *,
    ledger: LineageLedger,
    nodes: Iterable[str],
    columns: Mapping[str, tuple[ColumnSource, tuple[str, ...]]],
    phase: str,
) -> bool:
    """Report rows that are scored although something fitted saw them; each finding once.

    Parameters
    ----------
    views : mapping of str to FeatureSetView
        What is scored, by lane.
    ledger : LineageLedger
    nodes : iterable of str
        The nodes that run.
    columns : mapping of str to (ColumnSource, tuple of str)
        By lane: the columns that are read, whose scalers count.
    phase : str
        Label of the phase, for the message.

    Returns
    -------
    bool
        Whether a split is scored by parts fitted on that very split, which is silent: in-sample.

    Raises
    ------
    LeakageError
        Under `mml.strict`, where a `LeakageWarning` would be given.
    """
    in_sample = False
    running = tuple(nodes)
    for lane, view in views.items():
        scored = view.lineage()
        fitted = [(f"The node {node!r}", one) for node in running for one in ledger.of(node)]
        for what, seen in fitted + _scalers(*columns[lane]):
            if _same_place(seen, scored) and not _other_samples(seen, scored):
                in_sample = True
                continue
            both = seen.overlap(scored)
            if both.any() and ledger.is_news(what, seen, scored):
                report_leakage(
                    f"{what} was fitted on {seen.source}, which holds {int(both.sum())} of the {len(view)} "
                    f"rows of {view.label} that the phase {phase!r} scores; first row "
                    f"{int(view.rows[int(np.argmax(both))])}.",
                    hint="Score rows that nothing was fitted on, or fit on the training split only.",
                )
    return in_sample


def _scalers(source: ColumnSource, columns: tuple[str, ...]) -> list[tuple[str, FitLineage]]:
    """Return the lineages of the scalers behind columns, each once."""
    found: dict[int, tuple[str, FitLineage]] = {}
    for column in columns:
        for record in source.chain(column):
            if record.lineage is not None:
                found[id(record)] = (f"The scaler of {', '.join(record.keys)}", record.lineage)
    return list(found.values())


def _same_place(one: FitLineage, other: FitLineage) -> bool:
    return (one.source, one.split) == (other.source, other.split) and np.array_equal(one.rows, other.rows)


def _other_samples(one: FitLineage, other: FitLineage) -> bool:
    """Whether rows of one name and number belong to different data, as after `transform_like`."""
    if one.origin is None or other.origin is None or one.origin is other.origin:
        return False
    return not np.array_equal(one.uuids, other.uuids)
