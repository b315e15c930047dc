"""Splitters: what divides samples into named splits."""

from mml.processing.splitters.condition_splitter import ConditionSplitter
from mml.processing.splitters.random_splitter import RandomSplitter

__all__ = ["ConditionSplitter", "RandomSplitter"]
