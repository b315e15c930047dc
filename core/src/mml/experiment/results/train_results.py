"""Results of a TrainPhase: several epochs of batches."""

from __future__ import annotations

from typing import Any, ClassVar, final

from mml.experiment.results.data_series import LossDataSeries
from mml.experiment.results.phase_results import PhaseResults


@final
class TrainResults(PhaseResults):
    """Results of training, over epochs and batches."""

    loss_metric: ClassVar[str] = "train_loss"

    @property
    def n_epochs(self) -> int:
        """Number of epochs of which something was recorded."""
        return len(self.epoch_indices)

    def epoch_losses(self, node: Any = None) -> LossDataSeries:
        """Return the row-weighted mean of each loss per epoch, with axes (epoch, label).

        Parameters
        ----------
        node : str or node, optional
            Only the losses applied to that node.
        """
        return self.losses(node).collapse("batch", "mean")
