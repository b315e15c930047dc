"""Fit lineage of a graph: which rows each fitted or trained node saw, and whether it is scored on them.

A ledger belongs to an experiment. It holds references to rows, never data, and is looked at when a split is
scored. Scalers keep their own lineage in the FeatureSet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mml.data import ColumnSource, FeatureSetView, FitLineage
from mml.protocols import State
from mml.strictness import report_leakage


class LineageLedger:
    """What every node of a graph saw while it was fitted or trained."""

    def __init__(self) -> None:
        self._seen: dict[str, list[FitLineage]] = {}

    def add(self, node: str, lineage: FitLineage) -> None:
        """Note that a node saw these rows; the same rows are noted once."""
        known = self._seen.setdefault(node, [])
        if not any(_same_place(one, lineage) for one in known):
            known.append(lineage)

    def forget(self, node: str) -> None:
        """Drop what a node saw, because it is fitted anew."""
        self._seen.pop(node, None)

    def of(self, node: str) -> tuple[FitLineage, ...]:
        """Return what a node saw, in order; nothing for one that was never fitted."""
        return tuple(self._seen.get(node, ()))

    def clear(self) -> None:
        """Drop everything."""
        self._seen.clear()

    def copy(self) -> LineageLedger:
        """Return a ledger of the same entries."""
        twin = LineageLedger()
        twin._seen = {node: list(seen) for node, seen in self._seen.items()}
        return twin

    def get_state(self) -> State:
        """Return all entries as arrays and JSON."""
        return {node: [one.get_state() for one in seen] for node, seen in self._seen.items()}

    def set_state(self, state: State) -> None:
        """Put entries back."""
        self._seen = {node: [FitLineage.from_state(one) for one in seen] for node, seen in state.items()}


def check_scored_rows(
    views: Iterable[FeatureSetView],
    *,
    ledger: LineageLedger,
    nodes: Iterable[str],
    columns: Mapping[str, tuple[ColumnSource, tuple[str, ...]]],
    phase: str,
) -> bool:
    """Report rows that are scored although something fitted saw them.

    Parameters
    ----------
    views : iterable of FeatureSetView
        What is scored.
    ledger : LineageLedger
    nodes : iterable of str
        The nodes that run.
    columns : mapping of str to (ColumnSource, tuple of str)
        By label of the view: the columns that are read, whose scalers count.
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
    for view in views:
        fitted = [(f"The node {node!r}", one) for node in running for one in ledger.of(node)]
        fitted += _scalers(*columns[view.label])
        for what, lineage in fitted:
            if lineage.source == view.label and np.array_equal(lineage.rows, view.rows):
                in_sample = True
                continue
            seen = lineage.overlap(view.lineage())
            if seen.any():
                report_leakage(
                    f"{what} was fitted on {lineage.source}, which holds {int(seen.sum())} of the "
                    f"{len(view)} rows of {view.label} that the phase {phase!r} scores; first row "
                    f"{int(view.rows[int(np.argmax(seen))])}.",
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
