"""Samplers: the order of rows in an epoch, and its batches."""

from mml.processing.samplers.aligned import AlignedSampler
from mml.processing.samplers.bound import BoundSampler
from mml.processing.samplers.epoch import Epoch
from mml.processing.samplers.n_sampler import NSampler
from mml.processing.samplers.paired import PairedSampler
from mml.processing.samplers.role_sampler import RoleSampler
from mml.processing.samplers.similarity import SimilarityCondition
from mml.processing.samplers.simple import SimpleSampler
from mml.processing.samplers.triplet import TripletSampler

__all__ = [
    "AlignedSampler",
    "BoundSampler",
    "Epoch",
    "NSampler",
    "PairedSampler",
    "RoleSampler",
    "SimilarityCondition",
    "SimpleSampler",
    "TripletSampler",
]
