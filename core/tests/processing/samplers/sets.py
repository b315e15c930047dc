"""Small sets for the tests of samplers, and the slow way to find every partner."""

from __future__ import annotations

import warnings

import numpy as np

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import UnmatchedRowsWarning


def made(label="rows", /, *, features=None, **tags):
    """Return a set with these tags, in a context of its own."""
    n_rows = len(next(iter(tags.values())))
    data = {"x": np.arange(n_rows, dtype=np.float32) if features is None else features, **tags}
    with ExperimentContext().activate():
        return FeatureSet.from_dict(label, data, feature_keys="x", tag_keys=list(tags))


def bound(sampler, rows, **options):
    """Bind without the warning of unmatched rows, which other tests look at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnmatchedRowsWarning)
        return sampler.bind(rows, **options)


def agrees(condition, left, right):
    """Tell whether two values fulfil a condition, in the words of its definition."""
    near = left == right if condition.tolerance is None else abs(left - right) <= condition.tolerance
    return near if condition.mode == "similar" else not near


def partners(conditions, columns, anchor, candidates):
    """Return the rows that fulfil all conditions for an anchor, one by one."""
    return [
        row
        for row in candidates
        if row != anchor
        and all(agrees(one, columns[one.column][anchor], columns[one.column][row]) for one in conditions)
    ]


def partners_or_fallback(conditions, columns, anchor, candidates):
    """Return the rows that fulfil all conditions; where there are none, what their fallbacks allow."""
    found = partners(conditions, columns, anchor, candidates)
    if found or not any(one.fallback for one in conditions):
        return found
    kept = [one for one in conditions if one.fallback is None]
    found = partners(kept, columns, anchor, candidates)
    for one in conditions:
        if one.fallback == "nearest" and found:
            distance = {row: abs(columns[one.column][row] - columns[one.column][anchor]) for row in found}
            found = [row for row in found if distance[row] == min(distance.values())]
    return found


def orders(bound_sampler, epoch=0):
    """Return role → rows of an epoch, as lists."""
    return {role: rows.tolist() for role, rows in bound_sampler.epoch(epoch).order.items()}
