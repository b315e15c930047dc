"""Telling of merges that pair rows of different FeatureSets at random, because each was ordered on its own.

Rows of different FeatureSets meet by position. That is right where samplers leave them in order, or where one
sampler aligns them; it is not where one of them shuffles.
"""

from __future__ import annotations

from itertools import combinations
from typing import TypeAlias

import numpy as np

from mml.errors import PairingWarning
from mml.experiment.phases.train_phase import TrainPhase
from mml.experiment.running.running_phase import RunningPhase
from mml.processing.samplers.epoch import Epoch
from mml.user_warning import warn_user

Pair: TypeAlias = tuple[str, str]

_COMPARED = 1024


def check_pairing(running: RunningPhase) -> None:
    """Warn where a merge puts rows side by side that stand at different places of their FeatureSets.

    Warns
    -----
    PairingWarning
        Once a merge: if two samplers order the rows of two FeatureSets differently, and the samples that
        meet are not the same.
    """
    phase = running.phase
    if isinstance(phase, TrainPhase) and phase.batch_schedule.alternates:
        # One sampler is active at a time: no rows meet.
        return
    told: set[str] = set()
    for label, pairs in running.execution.plan.aligned:
        for one, other in combinations(sorted(pairs), 2):
            if label not in told and _ordered_apart(running, one, other):
                told.add(label)
                warn_user(_message(running, label, one, other), PairingWarning)


def _ordered_apart(running: RunningPhase, one: Pair, other: Pair) -> bool:
    lanes, sampler_of = {lane.name: lane for lane in running.inputs.lanes}, running.inputs.sampler_of
    sources = lanes[one[0]].source, lanes[other[0]].source
    if sampler_of[one[0]] == sampler_of[other[0]] or sources[0].collection is sources[1].collection:
        return False
    rows, others = _side_by_side(_epoch(running, one), _epoch(running, other), roles=(one[1], other[1]))
    live = (rows >= 0) & (others >= 0)
    rows, others = rows[live], others[live]
    apart = _places(running, one[0], rows) != _places(running, other[0], others)
    if not apart.any():
        return False
    # Sets that hold the same samples pair rightly where these meet; some of the rows tell.
    rows, others = rows[apart][:_COMPARED], others[apart][:_COMPARED]
    return not np.array_equal(sources[0].uuids(rows), sources[1].uuids(others))


def _epoch(running: RunningPhase, pair: Pair) -> Epoch:
    inputs = running.inputs
    epoch: Epoch = inputs.samplers[inputs.sampler_of[pair[0]]].epoch(0)
    return epoch.stream(inputs.stream_of[pair[0]])


def _side_by_side(one: Epoch, other: Epoch, *, roles: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of two epochs that share a place of a step, as far as both have steps and rows."""
    n_steps = min(len(one), len(other))
    widths = np.minimum(np.diff(one.borders)[:n_steps], np.diff(other.borders)[:n_steps])
    steps = np.repeat(np.arange(n_steps), widths)
    within = np.arange(len(steps)) - np.repeat(np.cumsum(widths) - widths, widths)
    return (
        one.order[roles[0]][one.borders[steps] + within],
        other.order[roles[1]][other.borders[steps] + within],
    )


def _places(running: RunningPhase, lane: str, rows: np.ndarray) -> np.ndarray:
    """Return where absolute rows stand in the view that their lane draws from."""
    known = running.inputs.views[lane].rows
    places = np.zeros(int(known.max()) + 1, dtype=np.int64)
    places[known] = np.arange(len(known))
    return np.asarray(places[rows])


def _message(running: RunningPhase, label: str, one: Pair, other: Pair) -> str:
    views = running.inputs.views
    return (
        f"The merge {label!r} of the phase {running.phase.label!r} pairs rows that need not belong together: "
        f"the samplers of {one[0]!r} ({views[one[0]].label}) and {other[0]!r} ({views[other[0]].label}) "
        "order their rows independently. Use one AlignedSampler(sampler, by='<column>') for both, or "
        "shuffle=False and one batch_size where rows belong together by position."
    )
