"""Scalers: fitted maps of a column's values and back."""

from mml.processing.scalers.maxabs import MaxAbsScaler
from mml.processing.scalers.minmax import MinMaxScaler
from mml.processing.scalers.per_sample import PerSampleMinMaxScaler, PerSampleZeroStart
from mml.processing.scalers.robust import RobustScaler
from mml.processing.scalers.scaler import Scaler
from mml.processing.scalers.segmented import SegmentedScaler
from mml.processing.scalers.signs import AbsoluteScaler, NegateScaler
from mml.processing.scalers.standard import StandardScaler

__all__ = [
    "AbsoluteScaler",
    "MaxAbsScaler",
    "MinMaxScaler",
    "NegateScaler",
    "PerSampleMinMaxScaler",
    "PerSampleZeroStart",
    "RobustScaler",
    "Scaler",
    "SegmentedScaler",
    "StandardScaler",
]
