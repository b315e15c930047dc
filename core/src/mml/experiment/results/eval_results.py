"""Results of an EvalPhase: one pass over batches."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from mml.experiment.results.phase_results import PhaseResults
from mml.experiment.results.tensor_log import Content


@final
class EvalResults(PhaseResults):
    """Results of an evaluation pass."""

    loss_metric: ClassVar[str] = "eval_loss"

    def stacked_tensors(self, node: Any = None, *, role: str = "default") -> NDArray[Any]:
        """Concatenate the recorded outputs of one node over the batches, shape (n_rows, ...).

        Parameters
        ----------
        node : str or node, optional
            Needed where several nodes were recorded.
        role : str
            Role of the rows.

        Raises
        ------
        ResultError
            If they were not recorded; the message names ``result_recording``.
        """
        return self._stacked(node, role, "outputs")

    def stacked_targets(self, node: Any = None, *, role: str = "default") -> NDArray[Any]:
        """Concatenate the recorded targets, row by row beside :meth:`stacked_tensors`."""
        return self._stacked(node, role, "targets")

    def stacked_sample_uuids(self, node: Any = None, *, role: str = "default") -> NDArray[np.uint8]:
        """Concatenate the recorded identities, uint8 (n_rows, 16), beside :meth:`stacked_tensors`."""
        return self._stacked(node, role, "sample_uuids")

    def aggregated_losses(self) -> dict[str, float]:
        """Return the row-weighted mean of each loss, and ``total``, their weighted sum.

        The result does not depend on the batch size; losses without an unmasked row are absent.
        """
        means = self._losses.means()
        return means.by_label | {"total": means.total}

    def _stacked(self, node: Any, role: str, content: Content) -> NDArray[Any]:
        return self._tensors.stacked(self._node_label(node), role=role, content=content, phase=self.label)
