"""What a phase asks of a graph, and the plan that answers it: segments, their data, their losses.

Plain data between the planner, which makes plans, and the execution, which runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mml.backends.segment import Mode, Segment
from mml.data import ColumnSource, FeatureSetReference
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.losses.routing import DEFAULT_ROLE
from mml.graph.optimizers.optimizer import Optimizer

FEATURES, TARGETS, TAGS = "features", "targets", "tags"
BY_KEY = "dict"


@dataclass(frozen=True)
class Lane:
    """Rows of one FeatureSet on their way into one head node.

    Parameters
    ----------
    name : str
        The head's label, with the number of the upstream where it has several.
    head : str
        Label of the head node.
    source : ColumnSource
        The FeatureSet as it was when the phase started.
    columns : mapping of str to tuple of str
        Full column names by domain: what the node's reference selects.
    combine : str or None
        How columns of different shapes become one array.
    roles : tuple of str
        Roles of the stream.
    rows : ndarray of int64 or None
        All rows that the phase may draw from.
    featureset : str
        Label of the FeatureSet, for people.
    """

    name: str
    head: str
    source: ColumnSource
    columns: Mapping[str, tuple[str, ...]]
    combine: str | None = None
    roles: tuple[str, ...] = (DEFAULT_ROLE,)
    rows: np.ndarray | None = None
    featureset: str = ""


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """Columns of a FeatureSet outside the batch, which losses read row by row.

    Parameters
    ----------
    label : str
        Label of the FeatureSet.
    source : ColumnSource
        The FeatureSet as it was when the phase started.
    columns : tuple of str
        Full names.
    combine : str or None
        How columns of different shapes become one array.
    """

    label: str
    source: ColumnSource
    columns: tuple[str, ...]
    combine: str | None = None


@dataclass(frozen=True, eq=False)
class Match:
    """Which rows of columns elsewhere belong to the rows of a lane.

    Parameters
    ----------
    elsewhere : Elsewhere
    rows : ndarray of int64, shape (n_rows of the lane's FeatureSet,)
        -1 for rows that the phase does not draw from.
    """

    elsewhere: Elsewhere
    rows: np.ndarray


@dataclass(frozen=True)
class Request:
    """What a phase asks of a graph.

    Parameters
    ----------
    mode : {"train", "eval", "fit"}
    lanes : tuple of Lane
    active : tuple of str or None
        Labels of the nodes that may learn or be fitted; None for all that can.
    losses : tuple of AppliedLoss
    record : tuple of str
        Labels of the nodes whose outputs are kept.
    device : str or None
        Where nodes without a device of their own run.
    deterministic : bool
        Ask backends for deterministic kernels.
    elsewhere : mapping of FeatureSetReference to Elsewhere
        What the losses read outside the batch; `mml.graph.elsewhere.columns_elsewhere` finds it.
    """

    mode: Mode
    lanes: tuple[Lane, ...]
    active: tuple[str, ...] | None = None
    losses: tuple[AppliedLoss, ...] = ()
    record: tuple[str, ...] = ()
    device: str | None = None
    deterministic: bool = False
    elsewhere: Mapping[FeatureSetReference, Elsewhere] = field(default_factory=dict)


@dataclass(frozen=True)
class DataInput:
    """One array that is gathered for the rows of a lane.

    Parameters
    ----------
    lane : str
    role : str
    columns : tuple of str
        Full names, combined into one array by the rule for node inputs.
    dtype : str or None
        Cast floating values to this dtype; integers stay.
    combine : str or None
    match : Match or None
        Where the columns are those of a FeatureSet outside the batch.
    """

    lane: str
    role: str
    columns: tuple[str, ...]
    dtype: str | None
    combine: str | None = None
    match: Match | None = None


@dataclass(frozen=True)
class Joined:
    """Targets or tags that a merge joins along an axis, or averages, out of its upstreams'."""

    parts: tuple[DataInput | Joined, ...]
    how: int | str
    dtype: str | None


@dataclass(frozen=True)
class PlannedSegment:
    """A segment, and which of the phase's losses and optimizers stand in it."""

    segment: Segment
    losses: tuple[int, ...]
    optimizers: tuple[Optimizer, ...]


@dataclass(frozen=True)
class Plan:
    """How one phase runs a graph.

    Parameters
    ----------
    segments : tuple of PlannedSegment
        In the order of execution.
    data : mapping of str to DataInput or Joined
        By name of the segment input: what is gathered for it.
    counts : tuple of frozenset
        For each column of `Block.rows`: the ``(lane, role)`` pairs whose rows must all be live.
    outputs : mapping of str to tuple
        By node label: pairs of role and call key, for the recorded nodes.
    targets : mapping of str to DataInput or Joined
        By call key: its targets, for the recorded nodes that have any.
    identities : mapping of str to (str, str)
        By call key: the lane and role whose samples its rows stand for, for the recorded nodes.
    learning : tuple of str
        Labels of the nodes that learn or are fitted.
    loss_rows : tuple of int
        For each loss of the phase: the column of `Block.rows` that counts its rows.
    lanes : tuple of Lane
    aligned : tuple of (str, frozenset)
        For each merge and role: the ``(lane, role)`` pairs whose rows it puts side by side.
    """

    segments: tuple[PlannedSegment, ...]
    data: Mapping[str, DataInput | Joined]
    counts: tuple[frozenset[tuple[str, str]], ...]
    outputs: Mapping[str, tuple[tuple[str, str], ...]]
    targets: Mapping[str, DataInput | Joined]
    identities: Mapping[str, tuple[str, str]]
    learning: tuple[str, ...]
    loss_rows: tuple[int, ...] = ()
    lanes: tuple[Lane, ...] = ()
    aligned: tuple[tuple[str, frozenset[tuple[str, str]]], ...] = ()
