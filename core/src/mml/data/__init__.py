"""Data: samples in Arrow columns, views of them, and references to them."""

from mml.data.collection import SampleCollection
from mml.data.featureset import FeatureSet
from mml.data.lineage import FitLineage
from mml.data.protocols import PerSampleScalerLike, ScalerLike, SplitterLike
from mml.data.records import ScalerRecord, SplitterRecord
from mml.data.reference import FeatureSetReference
from mml.data.schema import ColumnName, ColumnSpec, Schema
from mml.data.source import ColumnSource
from mml.data.stacking import assemble, assembled_shape
from mml.data.view import FeatureSetView

__all__ = [
    "ColumnName",
    "ColumnSource",
    "ColumnSpec",
    "FeatureSet",
    "FeatureSetReference",
    "FeatureSetView",
    "FitLineage",
    "PerSampleScalerLike",
    "SampleCollection",
    "ScalerLike",
    "ScalerRecord",
    "Schema",
    "SplitterLike",
    "SplitterRecord",
    "assemble",
    "assembled_shape",
]
