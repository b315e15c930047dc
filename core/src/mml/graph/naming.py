"""The names of values in segments: node outputs that cross a border, and data gathered from lanes.

A name is made from what the value is, so that equal requests give equal segments and find their programs.
"""

from __future__ import annotations

from collections.abc import Iterable

from mml.backends import SegmentInput
from mml.graph.plan import DataInput, Joined
from mml.graph.routes import Pairs, Routes

Inputs = dict[str, SegmentInput]


class ValueNames:
    """Names values, and keeps what stands behind the names of one plan.

    Parameters
    ----------
    routes : Routes

    Attributes
    ----------
    counts : list of frozenset
        The sets of lanes whose live rows are counted, in the order of the columns of `Block.rows`.
    data : dict of str to DataInput or Joined
        What is gathered for each input that is data.
    """

    def __init__(self, routes: Routes) -> None:
        self.routes = routes
        self.counts: list[Pairs] = []
        self.data: dict[str, DataInput | Joined] = {}

    def count(self, pairs: Pairs) -> int:
        """Return the column of `Block.rows` that counts the rows live in all of these lanes."""
        if pairs not in self.counts:
            self.counts.append(pairs)
        return self.counts.index(pairs)

    def output(self, label: str, role: str, here: Iterable[str], dtype: str | None, inputs: Inputs) -> str:
        """Name the output of a node, as an input of the segment where it comes from another one."""
        key = self.routes.key(label, role)
        if label in here:
            return key
        # Two nodes of one segment may want the same output in different dtypes.
        name = f"{key}@{dtype}"
        inputs[name] = SegmentInput(
            name=name,
            shape=self.routes.nodes[label].output_shape,
            dtype=dtype,
            rows=self.count(self.routes.pairs(label, role)),
            origin=key,
        )
        return name

    def gathered(self, wanted: DataInput | Joined, inputs: Inputs) -> str:
        """Name data as an input of a segment."""
        name = _data_name(wanted)
        self.data[name] = wanted
        inputs[name] = SegmentInput(
            name=name, shape=None, dtype=wanted.dtype, rows=self.count(_pairs_of(wanted))
        )
        return name


def _data_name(wanted: DataInput | Joined) -> str:
    if isinstance(wanted, Joined):
        return f"({' '.join(_data_name(part) for part in wanted.parts)})@{wanted.how}@{wanted.dtype}"
    name = f"{wanted.lane}@{wanted.role}@{'+'.join(wanted.columns)}@{wanted.dtype}"
    return name if wanted.match is None else f"{name}@{wanted.match.elsewhere.label}"


def _pairs_of(wanted: DataInput | Joined) -> Pairs:
    if isinstance(wanted, DataInput):
        return frozenset({(wanted.lane, wanted.role)})
    return frozenset().union(*(_pairs_of(part) for part in wanted.parts))
