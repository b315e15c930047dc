"""The small real data sets that ship with scikit-learn, as keyword arguments of ``FeatureSet.from_dict``.

Nothing is downloaded. Features are float32; targets are float32, and int64 where they number several classes,
because losses over classes take integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mml.errors import DataError, did_you_mean

_LOADERS = {
    "iris": "load_iris",
    "wine": "load_wine",
    "breast_cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
    "digits": "load_digits",
}
_SEVERAL_CLASSES = frozenset({"iris", "wine", "digits"})


def load(name: str) -> dict[str, Any]:
    """Return a data set as the keyword arguments of ``FeatureSet.from_dict`` besides the label.

    Parameters
    ----------
    name : str
        One of iris, wine, breast_cancer, diabetes, digits.

    Returns
    -------
    dict
        ``data``: ``x``, float32 of shape (rows, features), and ``y``, of shape (rows, 1), float32 or, with
        more than two classes, int64; ``feature_keys``, ``target_keys``, ``tag_keys``: tuples of str.

    Raises
    ------
    DataError
        If there is no such data set.

    Examples
    --------
    >>> load("breast_cancer")["data"]["x"].shape
    (569, 30)
    """
    import sklearn.datasets

    if name not in _LOADERS:
        raise DataError(f"Scikit-learn ships no data set {name!r}.", hint=did_you_mean(name, _LOADERS))
    features, targets = getattr(sklearn.datasets, _LOADERS[name])(return_X_y=True)
    dtype = np.int64 if name in _SEVERAL_CLASSES else np.float32
    return {
        "data": {"x": features.astype(np.float32), "y": targets.astype(dtype).reshape(-1, 1)},
        "feature_keys": ("x",),
        "target_keys": ("y",),
        "tag_keys": (),
    }


def iris() -> dict[str, Any]:
    """Return `load` of ``"iris"``: x (150, 4), y (150, 1) of classes 0 to 2."""
    return load("iris")


def wine() -> dict[str, Any]:
    """Return `load` of ``"wine"``: x (178, 13), y (178, 1) of classes 0 to 2."""
    return load("wine")


def breast_cancer() -> dict[str, Any]:
    """Return `load` of ``"breast_cancer"``: x (569, 30), y (569, 1), 1 is benign."""
    return load("breast_cancer")


def diabetes() -> dict[str, Any]:
    """Return `load` of ``"diabetes"``: x (442, 10), y (442, 1)."""
    return load("diabetes")


def digits() -> dict[str, Any]:
    """Return `load` of ``"digits"``: x (1797, 64) of grey values 0 to 16, y (1797, 1) of classes 0 to 9."""
    return load("digits")
