"""The named splits of a FeatureSet as a read-only mapping that answers a wrong name with the near misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mml.data.rows import Rows, count
from mml.data.view import FeatureSetView
from mml.errors import SplitError, did_you_mean

if TYPE_CHECKING:
    from mml.data.featureset import FeatureSet


class SplitViews(Mapping[str, FeatureSetView]):
    """Split → view, in the order in which the splits were made, as they were when this was asked for.

    Parameters
    ----------
    featureset : FeatureSet
        The parent of the views.
    splits : mapping of str to slice or numpy.ndarray
        Absolute rows of each split.
    """

    __slots__ = ("_featureset", "_splits")

    def __init__(self, featureset: FeatureSet, splits: Mapping[str, Rows]) -> None:
        self._featureset = featureset
        self._splits = splits

    def __getitem__(self, name: str) -> FeatureSetView:
        _refuse_rows(name, of=self._featureset.label)
        if name not in self:
            raise SplitError(
                f"{self._featureset.label!r} has no split {name!r}.",
                hint=did_you_mean(str(name), self._splits)
                if self._splits
                else "Split it first, e.g. with split_random.",
            )
        return FeatureSetView(self._featureset, self._splits[name], split=name)

    # Both are there in a Mapping already, and take a KeyError for an answer.

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._splits

    def get(self, name: Any, default: Any = None) -> Any:
        """Return the view of a split, or a default where there is no such split."""
        return self[name] if name in self else default  # noqa: SIM401 - this is what `get` is made of

    def __iter__(self) -> Iterator[str]:
        return iter(self._splits)

    def __len__(self) -> int:
        return len(self._splits)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name!r}: {count(rows)} samples" for name, rows in self._splits.items())
        return f"{{{sizes}}}"


def _refuse_rows(index: object, *, of: str) -> None:
    """Refuse positions of rows, which are chosen with `take`; labels of splits pass."""
    if not isinstance(index, slice | int | np.integer | np.ndarray):
        return
    positions = "[0, 1, 2]"
    if isinstance(index, slice) and index.stop is not None:
        bounds = [index.start or 0, index.stop, *([] if index.step is None else [index.step])]
        positions = f"range({', '.join(map(str, bounds))})"
    elif isinstance(index, int | np.integer):
        positions = f"[{index}]"
    raise SplitError(
        f"{of!r} is indexed by the names of splits.",
        found=repr(index)[:80],
        hint=f"Rows are chosen by position: featureset.take({positions}).",
    )
