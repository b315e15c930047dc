"""Fitting scalers to a FeatureSet's columns, undoing them, and bringing predictions back to raw units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mml.data.contents import Contents
from mml.data.inversion import invert
from mml.data.schema import Selection
from mml.data.transforms import fit_record, taken_over, warn_of_leakage, without_transforms
from mml.errors import MMLError, ScalerError

if TYPE_CHECKING:
    from mml.data.rows import Rows
    from mml.data.view import FeatureSetView


class Scalable(ABC):
    """Something whose columns can be transformed: what a FeatureSet adds to reading and splitting."""

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

    def fit_transform(
        self, scaler: Any, *, domain: str, keys: Selection = "*", fit_to_split: str | None = None
    ) -> Self:
        """Fit a scaler and add the ``transformed`` representation beside ``raw``; calls chain.

        Parameters
        ----------
        scaler : str, class, instance or Scaler
            What to fit, on each column by itself.
        domain : str
            ``features`` or ``targets``.
        keys : str or iterable of str
            Which columns.
        fit_to_split : str, optional
            The split to learn from; None for all samples, which leaks what a held-out split holds.

        Warns
        -----
        LeakageWarning
            If rows outside ``train`` are learnt from while splits exist. Scalers that learn nothing, such as
            ``negate`` and the ones per sample, leak nothing.

        Raises
        ------
        ScalerError, ColumnError, SplitError
            The FeatureSet is then as it was.
        """
        before = self._contents
        with self._located():
            view = self.view() if fit_to_split is None else self[fit_to_split]
            record = fit_record(before.source, scaler, domain=domain, keys=keys, view=view)
        if record.lineage:
            warn_of_leakage(before.splits, view=view, what=f"The scaler of {', '.join(record.keys)}")
        self._contents = before.with_transforms((*before.source.transforms, record))
        return self

    def undo_last_transform(self, domain: str | None = None, keys: Selection = "*") -> Self:
        """Take back the last transform of each column that is meant.

        What remains is evaluated from the raw column again, so that the bits of before come back.

        Parameters
        ----------
        domain : str, optional
            ``features`` or ``targets``; None for both.
        keys : str or iterable of str
            Which columns: names, and patterns among the transformed ones. All columns of all domains, as
            without any argument, mean the last call of `fit_transform`.

        Raises
        ------
        ScalerError
            If a column has no transform to undo.
        ColumnError
            If a name is unknown, or fits several columns. The FeatureSet is then as it was.
        """
        with self._located():
            rest = without_transforms(self._contents.source, domain=domain, keys=keys)
        self._contents = self._contents.with_transforms(rest)
        return self

    def undo_all_transforms(self) -> Self:
        """Take back all transforms; only raw columns remain."""
        self._contents = self._contents.with_transforms(())
        return self

    def transform_like(self, other: Scalable, *, keys: Selection = "*") -> Self:
        """Apply another FeatureSet's fitted transforms to these columns, matched by domain and key.

        Nothing is fitted: the scalers keep what they learnt, and from which rows. A sample gets the bits that
        it would get there.

        Parameters
        ----------
        other : FeatureSet
            It may be changed or deleted afterwards.
        keys : str or iterable of str
            Which of its transformed columns: names, and patterns among them.

        Raises
        ------
        ScalerError
            If these columns are transformed already, differ in shape, or there is nothing to apply.
        ColumnError
            If columns are missing here. The FeatureSet is then as it was.
        """
        if not isinstance(other, Scalable):
            raise ScalerError("Transforms are taken over from a FeatureSet.", found=repr(other)[:80])
        before, theirs = self._contents, other._contents.source
        with self._located():
            records = taken_over(before.source, theirs, label=other.label, keys=keys)
        self._contents = before.with_transforms(records)
        return self

    def inverse_transform(self, data: Any, column: str, *, sample_uuids: Any = None) -> np.ndarray:
        """Return transformed values of a column, such as predictions, in raw units.

        Parameters
        ----------
        data : array-like
            ``(n, *shape)`` of the column, whatever `numpy.asarray` takes; for scalars also ``(n, 1)``.
        column : str
            A name or short form of the column.
        sample_uuids : array-like, optional
            Whose values these are: uint8 ``(n, 16)`` as results and batches have them, or what
            `take_sample_uuids` takes. Only scalers that work per sample need to know; without it they take
            as many values as there are samples for those of all samples, in order.

        Returns
        -------
        numpy.ndarray
            Of the shape of ``data``, or of the raw samples' where the scalers changed it. The dtype is a
            float that holds both the values given and the raw column's: float32 predictions of a float64
            column come back as float64, float16 predictions of a float32 column as float32.

        Raises
        ------
        ScalerError
            If a scaler works per sample and nobody says which samples these are, or cannot be inverted.
        DataError
            If the values do not fit the column, or a UUID is unknown.
        """
        rows: Rows | None = None
        with self._located():
            if sample_uuids is not None:
                rows = self.view().take_sample_uuids(sample_uuids).row_index
            elif _is_as_long(data, self.view()):
                rows = self.view().row_index
            return invert(self._contents.source, data, column=column, rows=rows)

    @contextmanager
    def _located(self) -> Iterator[None]:
        try:
            yield
        except MMLError as error:
            error.located({"FeatureSet": self.label})
            raise


def _is_as_long(data: Any, view: FeatureSetView) -> bool:
    try:
        return len(data) == view.n_samples
    except TypeError:
        # Values without a length are refused where they are read.
        return False
