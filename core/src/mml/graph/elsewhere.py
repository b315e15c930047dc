"""Columns that losses read outside the batch: found when a phase starts, matched to its rows by UUID."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mml.context import ExperimentContext
from mml.data import FeatureSetReference
from mml.data.uuid_index import positions_of
from mml.errors import LossError, MMLError
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.plan import Elsewhere, Lane


def columns_elsewhere(
    losses: Iterable[AppliedLoss], *, context: ExperimentContext | None = None
) -> dict[FeatureSetReference, Elsewhere]:
    """Return the columns that the references among the losses' inputs point to, as they are now.

    Raises
    ------
    RegistrationError
        If the context has no such FeatureSet.
    ColumnError
        If a column does not exist.
    LossError
        If a reference points to columns of several domains, or to none.
    """
    found: dict[FeatureSetReference, Elsewhere] = {}
    for loss in losses:
        for value in loss.routed:
            if value.reference is None or value.reference in found:
                continue
            try:
                found[value.reference] = _found(value.reference, context)
            except MMLError as error:
                raise error.located({"loss": loss.label}) from error.__cause__
    return found


def _found(reference: FeatureSetReference, context: ExperimentContext | None) -> Elsewhere:
    source = reference.resolve(context).snapshot()
    selected = {domain: names for domain, names in reference.columns(source).items() if names}
    if len(selected) != 1:
        raise LossError(
            "A loss reads columns of one domain of another FeatureSet.",
            where={"FeatureSet": reference.label},
            found=", ".join(name for names in selected.values() for name in names) or "no column",
            hint="Select one, such as featureset.reference(features=(), targets='y').",
        )
    return Elsewhere(reference.label, source, next(iter(selected.values())), reference.combine)


def matching_rows(lane: Lane, elsewhere: Elsewhere) -> np.ndarray:
    """Return which row of the columns elsewhere each row of a lane's FeatureSet belongs to.

    Returns
    -------
    ndarray of int64, shape (n_rows of the lane's FeatureSet,)
        -1 for rows that the phase does not draw from.

    Raises
    ------
    LossError
        If a row that the phase draws from has no sample there.
    """
    n_rows = lane.source.n_rows
    drawn = np.arange(n_rows) if lane.rows is None else np.unique(lane.rows)
    rows = np.full(n_rows, -1, dtype=np.int64)
    if lane.source.collection is elsewhere.source.collection:
        rows[drawn] = drawn
        return rows
    there = elsewhere.source.uuids(slice(0, elsewhere.source.n_rows))
    rows[drawn], found = positions_of(lane.source.uuids(drawn), there)
    if not found.all():
        raise LossError(
            f"{int((~found).sum())} of {len(drawn)} rows have no sample in {elsewhere.label!r}.",
            where={"FeatureSet": elsewhere.label, "lane": lane.name},
            expected="a sample of the same UUID for each row of the phase",
            found=f"none for row {int(drawn[np.argmin(found)])}",
            hint="Rows are the same samples where one FeatureSet was extracted from the other, as by "
            "to_featureset, or both bring a column sample_uuids.",
        )
    return rows
