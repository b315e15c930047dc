"""Samplers: the order of rows in an epoch, and its batches."""

from mml.processing.samplers.bound import BoundSampler
from mml.processing.samplers.epoch import Epoch
from mml.processing.samplers.simple import SimpleSampler

__all__ = ["BoundSampler", "Epoch", "SimpleSampler"]
