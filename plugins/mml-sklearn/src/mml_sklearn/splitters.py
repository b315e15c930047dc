"""Scikit-learn's cross-validators as splitters of FeatureSets.

The splits of one splitter are disjoint, so a cross-validator makes either one of its folds, a training and a
test part, or, where its test parts cover all rows, these test parts as splits. The indices are scikit-learn's
own, within the view that is divided.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any, ClassVar, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.data import FeatureSetView
from mml.errors import SplitError, StrataWarning
from mml.processing.group_codes import as_columns, group_codes, group_values
from mml.protocols import Config
from mml.user_warning import warn_user

_SHARED = frozenset({"fold", "names", "prefix", "group_by", "stratify_by"})


@dataclass(frozen=True, kw_only=True)
class ScikitSplitter:
    """What all cross-validators share; the registered ones only add settings.

    Parameters
    ----------
    fold : int, optional
        Which fold to make, from 0. None makes the test parts of all folds, where they cover all rows.
    names : iterable of str
        Names of the training and the test part of a fold.
    prefix : str
        The test parts of all folds are called by it and their number: ``fold-0``, ``fold-1``.
    """

    fold: int | None = None
    names: Iterable[str] = ("train", "test")
    prefix: str = "fold-"

    leaves_rows_out: ClassVar[bool] = False
    cross_validator: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, setting.name, value.item())
        self._set_names()
        for setting in self.needs:
            columns = as_columns(getattr(self, setting))
            if not columns:
                raise SplitError(
                    f"{self._title} needs {setting}.", expected="the name of a column, or several"
                )
            object.__setattr__(self, setting, columns)
        self._require_seed()
        n_folds = self._made().get_n_splits()
        is_number = isinstance(self.fold, int) and not isinstance(self.fold, bool)
        if self.fold is not None and not (is_number and 0 <= self.fold < n_folds):
            raise SplitError(
                f"{self._title} has no fold {self.fold!r}.", expected=f"0 to {n_folds - 1}, or None"
            )

    def _set_names(self) -> None:
        names = (self.names,) if isinstance(self.names, str) else tuple(self.names)
        wrong = [one for one in (*names, self.prefix) if not isinstance(one, str) or not one.strip()]
        if wrong or len(names) != 2 or len(set(names)) != 2:
            raise SplitError(
                "A fold has two parts, and each needs a name.",
                expected="names=(training, test), two strings that differ, and a prefix",
                found=f"names={names!r}, prefix={self.prefix!r}",
            )
        object.__setattr__(self, "names", names)

    def _require_seed(self) -> None:
        seed = getattr(self, "random_state", None)
        if not getattr(self, "shuffle", hasattr(self, "random_state")):
            return
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise SplitError(
                f"{self._title} shuffles and needs a seed: without one, no two runs have the same splits.",
                expected="random_state, an integer from 0",
                found=repr(seed),
                hint="Pass random_state=0.",
            )

    @property
    def _title(self) -> str:
        return f"sklearn/{self.cross_validator}"

    def split(self, view: FeatureSetView) -> dict[str, np.ndarray]:
        """Return ascending positions within the view per split: a fold's two parts, or all test parts.

        Raises
        ------
        SplitError
            If no fold is chosen where folds share rows, or the samples do not allow it: too few of them, or
            too few in a class, or too few groups.
        """
        if self.fold is not None:
            return next(islice(self._folds(view), self.fold, None))
        if self.leaves_rows_out:
            last = self._made().get_n_splits() - 1
            raise SplitError(
                f"The folds of {self._title} share rows, so that one must be chosen.",
                expected=f"fold=0 to fold={last}",
                hint=f"Pass fold={last}; `folds(view)` returns all of them.",
            )
        test = list(self.names)[1]
        return {f"{self.prefix}{number}": fold[test] for number, fold in enumerate(self._folds(view))}

    def folds(self, view: FeatureSetView) -> list[dict[str, np.ndarray]]:
        """Return all folds: name of the part → ascending positions within the view, int64 ``(k,)``.

        Raises
        ------
        SplitError
            As in :meth:`split`.
        """
        return list(self._folds(view))

    def _folds(self, view: FeatureSetView) -> Iterator[dict[str, np.ndarray]]:
        labels, groups = (self._column(view, setting) for setting in ("stratify_by", "group_by"))
        made = self._made().split(np.empty((view.n_samples, 0)), labels, groups)
        for _ in range(self._made().get_n_splits()):
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    parts = next(made)
            except (ValueError, TypeError) as cause:
                raise SplitError(
                    f"{self._title} cannot divide these samples: {cause}",
                    where={"view": view.label},
                    found=f"{view.n_samples} samples",
                ) from cause
            for one in caught:
                if one.category is UserWarning:
                    warn_user(f"{self._title}, {view.label!r}: {one.message}", StrataWarning)
                else:
                    warnings.warn(one.message, one.category, stacklevel=2)
            yield dict(zip(self.names, (np.sort(part).astype(np.int64) for part in parts), strict=True))

    def _made(self) -> Any:
        import sklearn.model_selection

        settings = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in _SHARED}
        # Older versions of scikit-learn lack some arguments; what is at its default need not be passed.
        given = {name: one for name, one in settings.items() if one is not None and one is not False}
        try:
            return getattr(sklearn.model_selection, self.cross_validator)(**given)
        except (ValueError, TypeError) as cause:
            raise SplitError(
                f"{self._title} does not take these settings: {cause}",
                found=", ".join(f"{name}={one!r}" for name, one in given.items()),
            ) from cause

    def _column(self, view: FeatureSetView, setting: str) -> np.ndarray | None:
        columns = as_columns(getattr(self, setting, None))
        if not columns:
            return None
        if len(columns) == 1:
            values = group_values(view, columns[0])
            if values.dtype.kind in "biuf":
                return values
        return _ranks(view, columns)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        settings = {one.name: getattr(self, one.name) for one in fields(self)}
        written = {name: list(one) if isinstance(one, tuple) else one for name, one in settings.items()}
        return {"splitter": self._title, **written}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal splitter."""
        return made_with(cls, settings_beside(config, "splitter"))


def _ranks(view: FeatureSetView, columns: tuple[str, ...]) -> np.ndarray:
    """Return each row's place among the sorted distinct values, int64 ``(n,)``.

    Scikit-learn sorts groups and classes by value; in this form it need not sort a string per row.
    """
    codes = group_codes(view, columns)
    _, first = np.unique(codes, return_index=True)
    examples = view.take(first)
    distinct = list(zip(*(group_values(examples, column).tolist() for column in columns), strict=True))
    order = sorted(range(len(distinct)), key=distinct.__getitem__)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks.take(codes)


@dataclass(frozen=True, kw_only=True)
class KFold(ScikitSplitter):
    """Folds of consecutive, or shuffled, rows.

    Parameters
    ----------
    n_splits : int
        How many folds.
    shuffle : bool
        Whether rows are shuffled before they are divided.
    random_state : int, optional
        Needed with ``shuffle=True``: a split must be repeatable.
    """

    n_splits: int = 5
    shuffle: bool = False
    random_state: int | None = None

    cross_validator: ClassVar[str] = "KFold"


@dataclass(frozen=True, kw_only=True)
class StratifiedKFold(ScikitSplitter):
    """Folds in which each class keeps its share.

    Parameters
    ----------
    stratify_by : str or iterable of str
        Columns whose values are the classes.
    n_splits, shuffle, random_state
        As in `KFold`.
    """

    stratify_by: str | Iterable[str] = ()
    n_splits: int = 5
    shuffle: bool = False
    random_state: int | None = None

    cross_validator: ClassVar[str] = "StratifiedKFold"
    needs: ClassVar[tuple[str, ...]] = ("stratify_by",)


@dataclass(frozen=True, kw_only=True)
class GroupKFold(ScikitSplitter):
    """Folds of whole groups.

    Parameters
    ----------
    group_by : str or iterable of str
        Columns whose equal values stay together.
    n_splits, shuffle, random_state
        As in `KFold`; groups are shuffled, which needs scikit-learn 1.6.
    """

    group_by: str | Iterable[str] = ()
    n_splits: int = 5
    shuffle: bool = False
    random_state: int | None = None

    cross_validator: ClassVar[str] = "GroupKFold"
    needs: ClassVar[tuple[str, ...]] = ("group_by",)


@dataclass(frozen=True, kw_only=True)
class StratifiedGroupKFold(ScikitSplitter):
    """Folds of whole groups in which classes keep their shares as far as groups allow.

    Parameters
    ----------
    group_by, stratify_by : str or iterable of str
        Columns whose equal values stay together, and columns whose values are the classes.
    n_splits, shuffle, random_state
        As in `KFold`.
    """

    group_by: str | Iterable[str] = ()
    stratify_by: str | Iterable[str] = ()
    n_splits: int = 5
    shuffle: bool = False
    random_state: int | None = None

    cross_validator: ClassVar[str] = "StratifiedGroupKFold"
    needs: ClassVar[tuple[str, ...]] = ("group_by", "stratify_by")


@dataclass(frozen=True, kw_only=True)
class TimeSeriesSplit(ScikitSplitter):
    """Folds whose training part lies before their test part; rows stand in the order of time.

    Parameters
    ----------
    fold : int
        Which fold to make; the last one trains on the most rows. It must be given, because folds share rows.
    n_splits : int
        How many folds.
    max_train_size, test_size : int, optional
        Rows of a training part, at most, and of a test part.
    gap : int
        Rows left out between the two.
    """

    n_splits: int = 5
    max_train_size: int | None = None
    test_size: int | None = None
    gap: int = 0

    leaves_rows_out: ClassVar[bool] = True
    cross_validator: ClassVar[str] = "TimeSeriesSplit"


@dataclass(frozen=True, kw_only=True)
class ShuffleSplit(ScikitSplitter):
    """Rows drawn at random for each fold.

    Parameters
    ----------
    fold : int
        Which fold to make; the first by default, because folds share rows.
    n_splits : int
        How many folds.
    test_size, train_size : float or int, optional
        Share or number of rows of each part.
    random_state : int
        Needed: a split must be repeatable.
    """

    fold: int | None = 0
    n_splits: int = 10
    test_size: float | None = None
    train_size: float | None = None
    random_state: int | None = None

    leaves_rows_out: ClassVar[bool] = True
    cross_validator: ClassVar[str] = "ShuffleSplit"


@dataclass(frozen=True, kw_only=True)
class StratifiedShuffleSplit(ScikitSplitter):
    """Rows drawn at random for each fold, each class keeping its share.

    Parameters
    ----------
    stratify_by : str or iterable of str
        Columns whose values are the classes.
    fold, n_splits, test_size, train_size, random_state
        As in `ShuffleSplit`.
    """

    stratify_by: str | Iterable[str] = ()
    fold: int | None = 0
    n_splits: int = 10
    test_size: float | None = None
    train_size: float | None = None
    random_state: int | None = None

    leaves_rows_out: ClassVar[bool] = True
    cross_validator: ClassVar[str] = "StratifiedShuffleSplit"
    needs: ClassVar[tuple[str, ...]] = ("stratify_by",)


@dataclass(frozen=True, kw_only=True)
class GroupShuffleSplit(ScikitSplitter):
    """Whole groups drawn at random for each fold; sizes count groups, not rows.

    Parameters
    ----------
    group_by : str or iterable of str
        Columns whose equal values stay together.
    fold, n_splits, test_size, train_size, random_state
        As in `ShuffleSplit`.
    """

    group_by: str | Iterable[str] = ()
    fold: int | None = 0
    n_splits: int = 5
    test_size: float | None = None
    train_size: float | None = None
    random_state: int | None = None

    leaves_rows_out: ClassVar[bool] = True
    cross_validator: ClassVar[str] = "GroupShuffleSplit"
    needs: ClassVar[tuple[str, ...]] = ("group_by",)
