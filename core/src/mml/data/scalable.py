"""Fitting scalers to a FeatureSet's columns, undoing them, and bringing predictions back to raw units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mml.data.contents import Contents
from mml.data.schema import Selection
from mml.data.transforms import fit_record, invert, warn_of_leakage, without_transforms
from mml.errors import MMLError

if TYPE_CHECKING:
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
            If rows outside ``train`` are learnt from while splits exist.

        Raises
        ------
        ScalerError, ColumnError, SplitError
            The FeatureSet is then as it was.
        """
        before = self._contents
        try:
            view = self.view() if fit_to_split is None else self[fit_to_split]
            record = fit_record(before.source, scaler, domain=domain, keys=keys, view=view)
        except MMLError as error:
            error.located({"FeatureSet": self.label})
            raise
        warn_of_leakage(before.splits, view=view, what=f"The scaler of {', '.join(record.keys)}")
        self._contents = before.with_transforms((*before.source.transforms, record))
        return self

    def undo_last_transform(self, domain: str | None = None, keys: Selection = "*") -> Self:
        """Take back the last transform of each column, or the last one of all where no domain is given.

        What remains is evaluated from the raw column again, so that the bits of before come back.
        """
        rest = without_transforms(self._contents.source, domain=domain, keys=keys)
        self._contents = self._contents.with_transforms(rest)
        return self

    def undo_all_transforms(self) -> Self:
        """Take back all transforms; only raw columns remain."""
        self._contents = self._contents.with_transforms(())
        return self

    def inverse_transform(self, data: Any, column: str) -> np.ndarray:
        """Return transformed values of a column, such as predictions, in raw units.

        Parameters
        ----------
        data : array-like
            ``(n, *shape)`` of the column; for scalars also ``(n, 1)``.
        column : str
            A name or short form of the column.
        """
        return invert(self._contents.source, data, column=column)
