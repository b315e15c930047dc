"""Scalers: fitted maps of a column's values and back."""

from mml.processing.scalers.minmax import MinMaxScaler
from mml.processing.scalers.scaler import Scaler
from mml.processing.scalers.standard import StandardScaler

__all__ = ["MinMaxScaler", "Scaler", "StandardScaler"]
