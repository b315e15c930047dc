"""Keeping named splits: how a FeatureSet is divided, and how the division of one is repeated on another.

New splits and their records replace the old ones in a single assignment, after all of them could be made.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from mml.data.contents import Contents
from mml.data.protocols import SplitterLike
from mml.data.records import SplitterRecord
from mml.data.rows import Rows
from mml.data.splittable import Splittable
from mml.data.splitting import make_splits, resolve_splitter, with_splits, without_splits
from mml.data.view import FeatureSetView
from mml.errors import MMLError, SplitError

if TYPE_CHECKING:
    from mml.data.featureset import FeatureSet


class Divided(Splittable):
    """Something that keeps named splits: what a FeatureSet adds to what its views can do."""

    _contents: Contents

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name in messages."""

    @abstractmethod
    def view(self) -> FeatureSetView:
        """Return a view of all samples."""

    @abstractmethod
    def __getitem__(self, split: str) -> FeatureSetView: ...

    def split(
        self, splitter: SplitterLike | str, *, overwrite: bool = False, **settings: Any
    ) -> dict[str, FeatureSetView]:
        """Divide all samples into named splits; see `Splittable.split`."""
        return self._split(self.view(), splitter, overwrite=overwrite, settings=settings)

    def split_like(self, other: FeatureSet, *, overwrite: bool = False) -> dict[str, FeatureSetView]:
        """Repeat every split of another FeatureSet on these samples, in the same order.

        Equal splitters divide the samples that are here: as many of them as there are, under the same names,
        splits of splits included.

        Parameters
        ----------
        other : FeatureSet
            Its `splitter_records` are repeated.
        overwrite : bool
            Whether names that exist here may be used again; see :meth:`split`.

        Returns
        -------
        dict of str to FeatureSetView
            The new splits.

        Raises
        ------
        SplitError
            If the other has no splits, one of its splitters cannot be written down (a lambda among its
            conditions) or divided rows without a name, a name exists, or a splitter cannot divide these
            samples. This FeatureSet is then as it was.
        """
        before = self._contents
        records = _repeatable(other)
        names = {name for record in records for name in record.names}
        splits, kept = dict(before.splits), before.splitter_records
        if overwrite:
            splits, kept = without_splits(splits, kept, names)
        for record in records:
            try:
                rows = splits[record.source] if record.source is not None else self.view().row_index
                view = FeatureSetView(cast("FeatureSet", self), rows, split=record.source)
                splits, kept = self._with_division(
                    splits, kept, view=view, source=record.source, splitter=record.build()
                )
            except MMLError as error:
                place = {"FeatureSet": self.label, "source": record.source, "splits": list(record.names)}
                error.located(place)
                raise
        self._contents = before.with_splits(splits, kept)
        return {name: self[name] for name in splits if name in names}

    def _split(
        self,
        view: FeatureSetView,
        splitter: SplitterLike | str,
        *,
        overwrite: bool,
        settings: Mapping[str, Any],
    ) -> dict[str, FeatureSetView]:
        before = self._contents
        try:
            splits, records = self._with_division(
                before.splits,
                before.splitter_records,
                view=view,
                source=_source(view, whole=self.view().row_index),
                splitter=resolve_splitter(splitter, settings),
                overwrite=overwrite,
            )
        except MMLError as error:
            error.located({"FeatureSet": self.label})
            raise
        self._contents = before.with_splits(splits, records)
        return {name: self[name] for name in records[-1].names}

    def _with_division(
        self,
        splits: Mapping[str, Rows],
        records: tuple[SplitterRecord, ...],
        *,
        view: FeatureSetView,
        source: str | None,
        splitter: SplitterLike,
        overwrite: bool = False,
    ) -> tuple[dict[str, Rows], tuple[SplitterRecord, ...]]:
        parts = make_splits(splitter, view)
        record = SplitterRecord.of(splitter, source=source, names=tuple(parts))
        return with_splits(splits, records, parts, record=record, overwrite=overwrite)


def _source(view: FeatureSetView, *, whole: Rows) -> str | None:
    """Return which rows are divided, as records say it: a split, None for all, else ``""``."""
    if view.split_name is not None:
        return view.split_name
    is_whole = isinstance(view.row_index, slice) and view.row_index == whole
    return None if is_whole else ""


def _repeatable(other: Any) -> tuple[SplitterRecord, ...]:
    """Return the records of another FeatureSet, if all of them can be repeated."""
    if not isinstance(other, Divided):
        raise SplitError(
            "Splits are repeated from another FeatureSet.", found=f"{type(other).__name__}: {other!r}"
        )
    records = other._contents.splitter_records
    if not records:
        raise SplitError(f"{other.label!r} has no splits to repeat.")
    for record in records:
        where = {"FeatureSet": other.label, "splits": list(record.names)}
        if record.source == "":
            raise SplitError(
                "These splits divided rows that have no name, so other data has no such rows.",
                where=where,
                hint="Make the rows a split first, e.g. with split_by_condition(..., rest=...).",
            )
        try:
            record.build()
        except MMLError as error:
            error.located(where)
            raise
    return records
