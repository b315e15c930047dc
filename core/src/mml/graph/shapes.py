"""The shape with which the columns of a reference enter a node."""

from __future__ import annotations

from collections.abc import Sequence

from mml.backends import InputShape
from mml.context import ExperimentContext
from mml.data import ColumnSource, FeatureSetReference, assembled_shape
from mml.data.schema import ColumnName
from mml.errors import ShapeError

Shape = tuple[int, ...]


def reference_shape(
    reference: FeatureSetReference, *, context: ExperimentContext | None = None
) -> InputShape:
    """Return the per-sample shape of a reference's features as a node sees them; by key for a dict."""
    featureset = reference.resolve(context)
    return columns_shape(featureset.snapshot(), reference.columns(featureset)["features"], reference.combine)


def columns_shape(source: ColumnSource, columns: Sequence[str], combine: str | None) -> InputShape:
    """Return the per-sample shape of combined columns, by key for ``"dict"``.

    Raises
    ------
    ShapeError
        If there are none, their shapes differ and nothing says how to combine them, or two have one key.
    """
    if not columns:
        raise ShapeError(
            "A node that reads from a FeatureSet needs at least one feature.",
            hint="Name them: featureset.reference(features=...).",
        )
    for name in columns:
        if not source.spec(name).is_numeric:
            raise ShapeError(
                "A model takes numbers.",
                where={"column": name},
                expected="a column of booleans, integers or floats",
                found=source.spec(name).describe(),
                hint="Encode it as numbers before ingest, or select other columns in the reference.",
            )
    shape = assembled_shape({name: source.spec(name).shape for name in columns}, combine)
    if not isinstance(shape, dict):
        return shape
    keys = column_keys(columns)
    return dict(zip(keys, shape.values(), strict=True))


def column_keys(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the keys under which columns enter a model that takes a mapping.

    Raises
    ------
    ShapeError
        If two columns have one key: a column in two representations.
    """
    keys = tuple(ColumnName.parse(name).key for name in columns)
    if len(set(keys)) < len(keys):
        raise ShapeError(
            "A model that takes its columns by key takes each key once.",
            found=", ".join(columns),
            hint="Select one representation of each column in the reference.",
        )
    return keys
