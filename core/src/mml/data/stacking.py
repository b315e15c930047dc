"""How several columns become one array: the rule for a node's inputs, at build time and at run time.

One column is its array, a scalar column ``(N, 1)``. Several columns of equal shape stack on axis 1. Different
shapes need a choice: ``"concat"`` on axis 1, or ``"dict"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from mml.errors import ConfigError, ShapeError, did_you_mean

T = TypeVar("T")
Shape: TypeAlias = tuple[int, ...]

COMBINES = ("concat", "dict")


def assemble(
    columns: Mapping[str, np.ndarray] | Sequence[np.ndarray], combine: str | None = None
) -> np.ndarray | dict[str, np.ndarray]:
    """Return the input of a node from its columns.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray, or sequence of numpy.ndarray
        Per column ``(N, *shape)``. ``"dict"`` needs the names of a mapping.
    combine : {None, "concat", "dict"}
        What to do with several columns; None stacks equal shapes and refuses others.

    Returns
    -------
    numpy.ndarray or dict
        ``(N, 1)`` or ``(N, *shape)`` for one column; ``(N, k, *shape)`` for k stacked ones; for ``"dict"``
        one array per name.

    Raises
    ------
    ShapeError
        If the shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> assemble([np.zeros(5), np.zeros(5)]).shape
    (5, 2)
    """
    named = _named(columns)
    assembled_shape({name: array.shape[1:] for name, array in named.items()}, combine)
    arrays = [_as_tensor(array) for array in named.values()]
    if combine == "dict":
        return dict(zip(named, arrays, strict=True))
    if len(arrays) == 1:
        return arrays[0]
    if combine == "concat":
        return np.concatenate(arrays, axis=1)
    return np.stack(list(named.values()), axis=1)


def assembled_shape(
    shapes: Mapping[str, Shape] | Sequence[Shape], combine: str | None = None
) -> Shape | dict[str, Shape]:
    """Return the sample shape that `assemble` makes of columns with these sample shapes; reads no data.

    Examples
    --------
    >>> assembled_shape([(), ()]), assembled_shape([(30,), ()], "concat")
    ((2,), (31,))
    """
    if combine is not None and combine not in COMBINES:
        raise ConfigError(f"combine={combine!r} is not known.", hint=did_you_mean(str(combine), COMBINES))
    named: dict[str, Shape] = {name: tuple(shape) for name, shape in _named(shapes).items()}
    if not named:
        raise ShapeError("A node needs at least one column.")
    tensors = {name: shape or (1,) for name, shape in named.items()}
    if combine == "dict":
        return tensors
    first = next(iter(named.values()))
    if len(named) == 1:
        return tensors[next(iter(tensors))]
    if combine == "concat":
        return _concatenated(tensors)
    if any(shape != first for shape in named.values()):
        raise ShapeError(
            "The columns differ in shape and cannot be stacked.",
            found=", ".join(f"{name} {shape}" for name, shape in named.items()),
            hint='Pass combine="concat" (joined on axis 1) or combine="dict" to the reference.',
        )
    return (len(named), *first)


def _concatenated(tensors: Mapping[str, Shape]) -> Shape:
    first = next(iter(tensors.values()))
    if any(shape[1:] != first[1:] for shape in tensors.values()):
        raise ShapeError(
            'combine="concat" joins columns on axis 1; their other axes differ.',
            found=", ".join(f"{name} {shape}" for name, shape in tensors.items()),
            hint='Pass combine="dict" to the reference.',
        )
    return (sum(shape[0] for shape in tensors.values()), *first[1:])


def _named(columns: Mapping[str, T] | Sequence[T]) -> dict[str, T]:
    if isinstance(columns, Mapping):
        return dict(columns)
    return {f"column {position}": column for position, column in enumerate(columns)}


def _as_tensor(array: np.ndarray) -> np.ndarray:
    return array[:, np.newaxis] if array.ndim == 1 else array
