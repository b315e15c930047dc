"""Processing: splitters, scalers, samplers and batches."""

from mml.processing.batch import Batch, RoleData, SampleData
from mml.processing.batch_view import BatchView
from mml.processing.gather import Gatherer, assemble, assembled_shape
from mml.processing.samplers import BoundSampler, SimpleSampler
from mml.processing.scalers import MinMaxScaler, Scaler, StandardScaler
from mml.processing.splitters import ConditionSplitter, RandomSplitter

__all__ = [
    "Batch",
    "BatchView",
    "BoundSampler",
    "ConditionSplitter",
    "Gatherer",
    "MinMaxScaler",
    "RandomSplitter",
    "RoleData",
    "SampleData",
    "Scaler",
    "SimpleSampler",
    "StandardScaler",
    "assemble",
    "assembled_shape",
]
