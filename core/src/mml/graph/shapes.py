"""The shape and dtype with which the columns of a reference enter a node."""

from __future__ import annotations

from collections.abc import Sequence

from mml.context import ExperimentContext
from mml.data import ColumnSource, FeatureSetReference, assembled_shape
from mml.errors import ShapeError

Shape = tuple[int, ...]


def reference_shape(reference: FeatureSetReference, *, context: ExperimentContext | None = None) -> Shape:
    """Return the per-sample shape of a reference's features as a node sees them."""
    featureset = reference.resolve(context)
    return columns_shape(featureset.snapshot(), reference.columns(featureset)["features"], reference.combine)


def columns_shape(source: ColumnSource, columns: Sequence[str], combine: str | None) -> Shape:
    """Return the per-sample shape of combined columns.

    Raises
    ------
    ShapeError
        If there are none, or their shapes differ and nothing says how to combine them.
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
    if isinstance(shape, dict):
        raise ShapeError(
            "No model takes its columns one by one.",
            found='combine="dict"',
            hint='Use combine="concat", or a node for each column and a merge.',
        )
    return shape
