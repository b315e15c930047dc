"""FeatureSets from files that a document names: a saved FeatureSet, or a table of columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mml.context import ExperimentContext, RegistrationPolicy
from mml.data import FeatureSet
from mml.errors import DataError, did_you_mean


def read_featureset(label: str, path: Path, *, keys: dict[str, Any]) -> FeatureSet:
    """Read a file by its suffix.

    Parameters
    ----------
    label : str
        Label of the FeatureSet.
    path : Path
        ``.mml``, ``.npz``, ``.csv``, ``.parquet`` or ``.arrow``, which is mapped.
    keys : dict
        ``feature_keys``, ``target_keys`` and ``tag_keys``: which columns go where. A ``.mml`` file
        knows that itself.

    Raises
    ------
    DataError
        If the file does not exist, or is of another kind.
    """
    if not path.is_file():
        raise DataError("There is no such file.", found=str(path))
    if path.suffix == ".mml":
        return _saved(label, path)
    if path.suffix not in _READERS:
        raise DataError(
            f"Files {path.suffix or 'without a suffix'!r} are not read.",
            hint=did_you_mean(path.suffix, [".mml", *_READERS]),
        )
    return _READERS[path.suffix](label, path, **keys)


def _saved(label: str, path: Path) -> FeatureSet:
    with ExperimentContext(policy=RegistrationPolicy.NO_REGISTER).activate():
        found = FeatureSet.load(path)
    return found.copy(label)


def _npz(label: str, path: Path, **keys: Any) -> FeatureSet:
    # Without pickle: arrays of objects would run code of the file.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return FeatureSet.from_dict(label, {name: arrays[name] for name in arrays.files}, **keys)


_READERS: dict[str, Callable[..., FeatureSet]] = {
    ".npz": _npz,
    ".csv": FeatureSet.from_csv,
    ".parquet": FeatureSet.from_parquet,
    ".arrow": FeatureSet.from_ipc,
}
