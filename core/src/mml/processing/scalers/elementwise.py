"""What the elementwise scalers share: the dtype of their results, and checks of settings and state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mml.errors import ScalerError, StateError
from mml.protocols import State


def output_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of scaled values: a float's own; for integers float32 or, where needed, float64."""
    return dtype if dtype.kind == "f" else np.result_type(dtype, np.float32)


def require_fitted(scaler: object, *statistics: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Return the statistics, or raise ScalerError where the scaler has learnt nothing."""
    known = tuple(one for one in statistics if one is not None)
    if len(known) != len(statistics):
        raise ScalerError(f"{scaler!r} is not fitted.", hint="Call fit, or FeatureSet.fit_transform.")
    return known


def read_statistics(scaler: object, state: State, names: Sequence[str]) -> tuple[np.ndarray | None, ...]:
    """Return owned float64 statistics of one shape; an empty state means not fitted."""
    if not state:
        return (None,) * len(names)
    if set(state) != set(names):
        raise StateError(
            f"This is no state of {scaler!r}.", expected=repr(list(names)), found=repr(list(state))
        )
    arrays = [np.array(state[name], dtype=np.float64) for name in names]
    if len({array.shape for array in arrays}) != 1:
        raise StateError(f"The statistics of {scaler!r} differ in shape.")
    return tuple(arrays)
