"""`FeatureSetView`: rows and columns of a FeatureSet, by number and by name, without a copy.

A view holds a slice or eight bytes a row. A view of a view is one index again; a view sees the parent's
latest columns, so that a scaler fitted later shows in the splits made before.
"""

from __future__ import annotations

import uuid as uuid_module
from typing import TYPE_CHECKING, Any

import numpy as np

from mml.data.access import ColumnAccess, Window
from mml.data.conditions import Conditions, matches
from mml.data.html_summary import html_summary
from mml.data.inversion import Invertible
from mml.data.lineage import FitLineage
from mml.data.rows import Rows, as_array, checked_positions, compact, count, distinct, marked, pick
from mml.data.schema import ColumnName, Selection
from mml.data.splittable import Splittable
from mml.data.summary import summarize
from mml.data.uuid_index import positions_of
from mml.errors import DataError

if TYPE_CHECKING:
    from mml.data.featureset import FeatureSet
    from mml.data.protocols import SplitterLike


class FeatureSetView(ColumnAccess, Splittable, Invertible):
    """Some rows and columns of a FeatureSet; made by splits, selections and filters.

    Parameters
    ----------
    featureset : FeatureSet
        The parent.
    rows : slice or numpy.ndarray
        Absolute row numbers, int64.
    columns : tuple of str, optional
        Full names of raw columns that stay visible; None for all.
    split : str, optional
        The name under which the FeatureSet keeps these rows.
    """

    __slots__ = ("_columns", "_featureset", "_rows", "_split")

    def __init__(
        self,
        featureset: FeatureSet,
        rows: Rows,
        *,
        columns: tuple[str, ...] | None = None,
        split: str | None = None,
    ) -> None:
        self._featureset = featureset
        if isinstance(rows, np.ndarray):
            # Handed out as they are: what somebody writes there would change a split.
            rows.flags.writeable = False
        self._rows = rows
        self._columns = columns
        self._split = split

    @property
    def featureset(self) -> FeatureSet:
        """The parent."""
        return self._featureset

    @property
    def split_name(self) -> str | None:
        """The name under which the FeatureSet keeps these rows; None where it does not, or no longer does."""
        kept = None if self._split is None else self._featureset.splits.get(self._split)
        return self._split if kept is not None and _are_same(kept.row_index, self._rows) else None

    @property
    def label(self) -> str:
        """The parent's label and the split, e.g. ``"cells[train]"``."""
        name = self.split_name
        if name is not None:
            return f"{self._featureset.label}[{name}]"
        if count(self._rows) == len(self._featureset):
            return self._featureset.label
        return f"{self._featureset.label}[{count(self._rows)} rows]"

    @property
    def rows(self) -> np.ndarray:
        """Absolute row numbers in the parent, int64 of shape ``(n,)``; read-only."""
        rows = as_array(self._rows)
        rows.flags.writeable = False
        return rows

    @property
    def row_index(self) -> Rows:
        """The row numbers as they are kept: a slice where contiguous, else int64 ``(n,)``."""
        return self._rows

    @property
    def columns(self) -> tuple[str, ...]:
        """Full names of the visible columns, transformed ones included."""
        return self.schema.names

    def filter(self, conditions: Conditions) -> FeatureSetView:
        """Return the rows that fulfil all conditions.

        Parameters
        ----------
        conditions : mapping of str to condition, or pyarrow.compute.Expression
            Column → a scalar, a set or list of allowed values, a callable on the column's array (or on one
            value), or an expression. Raw values are compared unless the name says ``.transformed``.
        """
        return self._at(np.flatnonzero(matches(self, conditions)))

    def take(self, positions: Any) -> FeatureSetView:
        """Return the rows at these positions of the view: integers, a slice, or a boolean mask ``(n,)``."""
        with self._reading():
            return self._at(checked_positions(positions, self.n_samples))

    def take_sample_uuids(self, uuids: Any) -> FeatureSetView:
        """Return the rows of these samples, in the order asked for.

        Parameters
        ----------
        uuids : numpy.ndarray or iterable
            uint8 ``(k, 16)``, or `uuid.UUID`, hexadecimal strings or 16 bytes each.

        Raises
        ------
        DataError
            If one is not in the view.
        """
        with self._reading():
            wanted = _uuid_array(uuids)
            positions, found = positions_of(wanted, self.sample_uuids)
            if not found.all():
                absent = uuid_module.UUID(bytes=wanted[~found][0].tobytes())
                raise DataError(
                    f"{int((~found).sum())} of {len(wanted)} samples are not in this view.",
                    found=f"no {absent}",
                )
        return self._at(positions)

    def take_union(self, other: FeatureSetView | FeatureSet) -> FeatureSetView:
        """Return the rows of either view, this one's first, each once."""
        mine, theirs = self.rows, as_array(self._rows_of(other))
        more = theirs[~self._marked(mine)[theirs]]
        return self._with_rows(compact(distinct(np.concatenate([mine, more]), len(self._featureset))))

    def take_intersection(self, other: FeatureSetView | FeatureSet) -> FeatureSetView:
        """Return the rows of this view that are in both, in its order; a repeated row stays repeated."""
        return self._at(np.flatnonzero(self._marked(self._rows_of(other))[self._rows]))

    def take_difference(self, other: FeatureSetView | FeatureSet) -> FeatureSetView:
        """Return the rows of this view that are not in the other, in its order."""
        return self._at(np.flatnonzero(~self._marked(self._rows_of(other))[self._rows]))

    def is_disjoint_with(self, other: FeatureSetView | FeatureSet) -> bool:
        """Return whether no sample is in both; views of different FeatureSets are compared by UUID."""
        other = _as_view(other)
        if other.featureset is self._featureset:
            return not self._marked(other.row_index)[self._rows].any()
        return not positions_of(self.sample_uuids, other.sample_uuids)[1].any()

    def select(self, columns: Selection) -> FeatureSetView:
        """Return the same rows with these columns only, in every representation."""
        with self._reading():
            full = self._window().schema.select(columns)
        raw = self._featureset.snapshot().collection.schema
        parsed = [ColumnName.parse(name) for name in full]
        stored: dict[tuple[str, str], list[str]] = {}
        for spec in raw:
            stored.setdefault((spec.name.domain, spec.name.key), []).append(str(spec.name))
        keep = (name for one in parsed for name in stored.get((one.domain, one.key), ()))
        names = tuple(dict.fromkeys(keep))
        return FeatureSetView(self._featureset, self._rows, columns=names, split=self._split)

    def to_featureset(self, label: str) -> FeatureSet:
        """Return a FeatureSet of these samples; identities and fitted transforms are kept."""
        return self._featureset._extract(self, label)

    def split(
        self, splitter: SplitterLike | str, *, overwrite: bool = False, **settings: Any
    ) -> dict[str, FeatureSetView]:
        """Divide these rows into named splits of the FeatureSet; arguments as in `FeatureSet.split`."""
        return self._featureset._split(self, splitter, overwrite=overwrite, settings=settings)

    def lineage(self) -> FitLineage:
        """Return the record that something was fitted on these rows; their UUIDs are computed when asked."""
        collection, rows = self._featureset.snapshot().collection, compact(self._rows)
        return FitLineage(
            self.label,
            split=self.split_name,
            rows=rows,
            uuids=lambda: collection.uuids(rows).copy(),
            origin=collection,
        )

    def summary(self) -> str:
        """Return columns, values that are missing or not finite, and transforms as a text table."""
        return summarize(f"FeatureSetView {self.label!r}", **self._described())

    def _repr_html_(self) -> str:
        return html_summary(f"FeatureSetView {self.label!r}", **self._described())

    def _described(self) -> dict[str, Any]:
        window = self._window()
        seen = {(spec.name.domain, spec.name.key) for spec in window.schema}
        records = [
            record.without({key for key in record.keys if (record.domain, key) not in seen})
            for record in window.source.transforms
        ]
        return {"window": window, "splits": {}, "records": [one for one in records if one is not None]}

    def __repr__(self) -> str:
        return f"FeatureSetView({self.label!r}, {self.n_samples} samples, {len(self.columns)} columns)"

    def _window(self) -> Window:
        source = self._featureset.snapshot()
        if self._columns is None:
            return Window(source, self._rows, source.schema)
        keys = {(name.domain, name.key) for name in map(ColumnName.parse, self._columns)}
        visible = (str(spec.name) for spec in source.schema if (spec.name.domain, spec.name.key) in keys)
        return Window(source, self._rows, source.schema.only(visible))

    def _place(self) -> dict[str, str]:
        whole = self.label == self._featureset.label
        return {"FeatureSet" if whole else "view": self.label}

    def _at(self, positions: Rows) -> FeatureSetView:
        return self._with_rows(pick(self._rows, positions))

    def _with_rows(self, rows: Rows) -> FeatureSetView:
        return FeatureSetView(self._featureset, rows, columns=self._columns)

    def _marked(self, rows: Rows) -> np.ndarray:
        return marked(rows, len(self._featureset))

    def _rows_of(self, other: FeatureSetView | FeatureSet) -> Rows:
        other = _as_view(other)
        if other.featureset is not self._featureset:
            raise DataError(
                "Rows of different FeatureSets cannot be combined.",
                found=f"{self.label!r} and {other.label!r}",
                hint="Use take_sample_uuids(other.sample_uuids) to find the same samples.",
            )
        return other.row_index


def _are_same(mine: Rows, theirs: Rows) -> bool:
    # A view shares the rows of its split, so that those of ten million are not compared.
    return mine is theirs or np.array_equal(as_array(mine), as_array(theirs))


def _as_view(other: Any) -> FeatureSetView:
    from mml.data.featureset import FeatureSet

    if isinstance(other, FeatureSet):
        return other.view()
    if not isinstance(other, FeatureSetView):
        raise DataError(
            "Rows are compared with those of another view.", found=f"{type(other).__name__}: {other!r}"
        )
    return other


def _uuid_array(uuids: Any) -> np.ndarray:
    if isinstance(uuids, np.ndarray) and uuids.dtype == np.uint8 and uuids.ndim == 2 and uuids.shape[1] == 16:
        return uuids
    if isinstance(uuids, (set, frozenset)):
        raise DataError("A set of UUIDs has no order.", hint="Pass a list: samples come in its order.")
    try:
        parts = [_uuid_bytes(one) for one in uuids]
        return np.frombuffer(b"".join(parts), dtype=np.uint8).reshape(len(parts), 16)
    except (TypeError, ValueError) as cause:
        raise DataError(
            "These are no sample UUIDs.",
            expected="uint8 of shape (k, 16), or UUIDs as objects, hexadecimal strings or 16 bytes",
            found=repr(uuids)[:80],
        ) from cause


def _uuid_bytes(uuid: Any) -> bytes:
    if isinstance(uuid, str):
        return uuid_module.UUID(uuid).bytes
    if isinstance(uuid, int):
        raise TypeError("an integer is no UUID")
    return uuid.bytes if isinstance(uuid, uuid_module.UUID) else bytes(uuid)
