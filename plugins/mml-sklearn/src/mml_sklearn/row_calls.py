"""Calling a transformer so that a row's bits depend on that row alone.

A matrix product adds up in another order where the number of rows differs, and on some processors also where
a row stands in another place. So rows go to a transformer in chunks of one height, at places that were seen
to give equal bits, and the rest of a chunk is filled with copies of a row. How tall chunks are depends on the
class and on the size of a sample, never on the rows at hand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mml.data.rows import Rows, compact, count, pick
from mml.data.source import block_rows
from mml_sklearn.estimators import ESTIMATORS

Call = Callable[[np.ndarray], np.ndarray]

# What is computed for an element, or in a loop for a row, touches no other row.
_ROW_BY_ROW = (
    *("AdditiveChi2Sampler", "Binarizer", "KBinsDiscretizer", "LatentDirichletAllocation", "MaxAbsScaler"),
    *("MinMaxScaler", "MissingIndicator", "Normalizer", "OneHotEncoder", "OrdinalEncoder"),
    *("PolynomialFeatures", "PowerTransformer", "QuantileTransformer", "RandomTreesEmbedding"),
    *("RobustScaler", "SimpleImputer", "SplineTransformer", "StandardScaler", "VarianceThreshold"),
)
# A row costs next to nothing beside the call, some 60 µs: 450,000 rows of 40 take as long as in one call.
_CHEAP = (
    *("BernoulliRBM", "BisectingKMeans", "FactorAnalysis", "FastICA", "GaussianRandomProjection"),
    *("IncrementalPCA", "KMeans", "MiniBatchKMeans", "MiniBatchSparsePCA", "Nystroem", "PCA", "RBFSampler"),
    *("SkewedChi2Sampler", "SparsePCA", "SparseRandomProjection", "TruncatedSVD"),
)
_TALL = 6144
# Where a row costs much, or nobody knows: whoever reads one row pays for a whole chunk.
_SHORT = 96
# They start from a mean of all rows, or stop when all rows together change little.
_JOINT = ("NMF", "MiniBatchNMF")
_PARTS = {"Pipeline": "steps", "FeatureUnion": "transformer_list", "ColumnTransformer": "transformers"}
_CHUNK_BYTES = 1 << 20
_PROBED_ROWS = 3


def height_of(estimator: Any) -> float:
    """Return how many rows a transformer gets in a call.

    Returns
    -------
    float
        Infinity for as many as there are, where none depends on another; 1 where all of a call do.
    """
    own = _name_in_sklearn(type(estimator))
    if any(_name_in_sklearn(base) in _JOINT for base in type(estimator).__mro__):
        return 1
    if own in _PARTS:
        return min(map(height_of, parts_of(estimator)), default=math.inf)
    if own in _ROW_BY_ROW:
        return math.inf
    return _TALL if own in _CHEAP else _SHORT


def parts_of(estimator: Any) -> list[Any]:
    """Return the transformers that a pipeline or a union is made of; of others, the transformer itself."""
    listed = _PARTS.get(_name_in_sklearn(type(estimator)) or "")
    if listed is None:
        return [estimator]
    return [part[1] for part in getattr(estimator, listed) if not isinstance(part[1], str | type(None))]


class RowCalls:
    """One method of a fitted transformer, called so that equal rows get equal bits.

    Parameters
    ----------
    call : callable
        Makes ``(k, m)`` of rows ``(k, width)``, or raises.
    height : float
        From `height_of`.
    """

    def __init__(self, call: Call, height: float) -> None:
        self._call = call
        self._height = height
        self._chunks: dict[tuple[str, int], _Chunk] = {}

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return ``(n, m)`` for rows ``(n, width)``, at least one."""
        if math.isinf(self._height):
            return self._call(rows)
        key = (rows.dtype.str, rows.shape[1])
        chunk = self._chunks.get(key)
        if chunk is None:
            chunk = self._chunks[key] = self._measured(rows)
        step = count(chunk.places)
        first = self._piece(rows[:step], chunk)
        if len(rows) <= step:
            return first
        made = np.empty((len(rows), first.shape[1]), dtype=first.dtype)
        made[:step] = first
        for start in range(step, len(rows), step):
            made[start : start + step] = self._piece(rows[start : start + step], chunk)
        return made

    def _measured(self, rows: np.ndarray) -> _Chunk:
        """Return the chunk for rows of this size; which places give equal bits is tried out."""
        if self._height == 1:
            return _Chunk(1, slice(0, 1))
        # Two, because SparsePCA forgets an axis where there is one.
        two = np.repeat(rows[:1], 2, axis=0)
        row_bytes = max(two.nbytes, self._call(two).nbytes) // 2
        height = min(int(self._height), block_rows(row_bytes, _CHUNK_BYTES))
        return _Chunk(height, _equal_places(self._call, rows, height))

    def _piece(self, rows: np.ndarray, chunk: _Chunk) -> np.ndarray:
        """Return what becomes of the rows of one chunk, or fewer."""
        if len(rows) == chunk.height:
            return self._call(rows)
        places = pick(chunk.places, slice(0, len(rows)))
        filled = np.repeat(rows[:1], chunk.height, axis=0)
        filled[places] = rows
        return self._call(filled)[places]


@dataclass(frozen=True)
class _Chunk:
    """How many rows a call gets, and at which places rows may stand."""

    height: int
    places: Rows


def _equal_places(call: Call, rows: np.ndarray, height: int) -> Rows:
    """Return the most places of a chunk that give a row the same bits.

    Rows of zeros or small numbers would add up to the same in any order, so others are tried beside them.
    """
    made = []
    for probe, given in _probes(rows):
        try:
            with np.errstate(all="ignore"):
                made.append(call(np.repeat(probe, height, axis=0)))
        except Exception:
            # Some transformers refuse values that they were not fitted on; rows at hand they must take.
            if given:
                raise
    bits = [b"".join(one[place].tobytes() for one in made) for place in range(height)]
    ((most, _),) = Counter(bits).most_common(1)
    return compact(np.flatnonzero([one == most for one in bits]))


def _probes(rows: np.ndarray) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield rows ``(1, width)`` to try, and whether they were given rather than made up."""
    some = rows[np.unique(np.linspace(0, len(rows) - 1, _PROBED_ROWS).astype(np.int64))]
    for number in range(len(some)):
        yield some[number : number + 1], True
    if rows.dtype.kind == "f":
        made_up = np.random.default_rng(0).uniform(0.5, 1.0, (len(some) + 1, rows.shape[1]))
        made_up[1:] = some * (1 + made_up[1:] / 1024)
        for number in range(len(made_up)):
            yield made_up[number : number + 1].astype(rows.dtype), False


def _name_in_sklearn(cls: type) -> str | None:
    """Return the name of a class of scikit-learn's own, None for any other."""
    module = ESTIMATORS.get(cls.__name__)
    own = module is not None and (cls.__module__ == module or cls.__module__.startswith(f"{module}."))
    return cls.__name__ if own else None
