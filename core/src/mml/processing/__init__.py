"""Processing: splitters, scalers, samplers and batches."""

from mml.processing.batch import Batch
from mml.processing.batch_view import BatchView
from mml.processing.gather import Gatherer, assemble, assembled_shape
from mml.processing.samplers import (
    AlignedSampler,
    BoundSampler,
    Epoch,
    NSampler,
    PairedSampler,
    RoleSampler,
    SimilarityCondition,
    SimpleSampler,
    TripletSampler,
)
from mml.processing.samples import RoleData, SampleData
from mml.processing.scalers import (
    AbsoluteScaler,
    MaxAbsScaler,
    MinMaxScaler,
    NegateScaler,
    PerSampleMinMaxScaler,
    PerSampleZeroStart,
    RobustScaler,
    Scaler,
    SegmentedScaler,
    StandardScaler,
)
from mml.processing.splitters import ConditionSplitter, RandomSplitter

__all__ = [
    "AbsoluteScaler",
    "AlignedSampler",
    "Batch",
    "BatchView",
    "BoundSampler",
    "ConditionSplitter",
    "Epoch",
    "Gatherer",
    "MaxAbsScaler",
    "MinMaxScaler",
    "NSampler",
    "NegateScaler",
    "PairedSampler",
    "PerSampleMinMaxScaler",
    "PerSampleZeroStart",
    "RandomSplitter",
    "RobustScaler",
    "RoleData",
    "RoleSampler",
    "SampleData",
    "Scaler",
    "SegmentedScaler",
    "SimilarityCondition",
    "SimpleSampler",
    "StandardScaler",
    "TripletSampler",
    "assemble",
    "assembled_shape",
]
