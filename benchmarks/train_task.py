"""The task of the train-step benchmark, equal for all contenders: data, network, and how long to train."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_ROWS = 8192
N_FEATURES = 32
HIDDEN = (64, 64)
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
EPOCHS_A_ROUND = 4
STEPS_AN_EPOCH = N_ROWS // BATCH_SIZE
STEPS_A_ROUND = EPOCHS_A_ROUND * STEPS_AN_EPOCH


@dataclass(frozen=True)
class TrainTask:
    """Synthetic regression data.

    Parameters
    ----------
    x : ndarray of float32, shape (8192, 32)
    y : ndarray of float32, shape (8192, 1)
    """

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def make(cls, seed: int = 0) -> TrainTask:
        """Draw the data: a noisy, slightly bent function of all features."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((N_ROWS, N_FEATURES), dtype=np.float32)
        weights = rng.standard_normal((N_FEATURES, 1), dtype=np.float32)
        noise = rng.standard_normal((N_ROWS, 1), dtype=np.float32)
        return cls(x, np.tanh(x @ weights) + np.float32(0.1) * noise)
