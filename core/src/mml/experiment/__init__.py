"""One run: phases, callbacks, results, metrics, and the experiment that puts them together."""

from mml.experiment.experiment import Experiment

__all__ = ["Experiment"]
