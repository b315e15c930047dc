"""The same training by other libraries, with what they do by default left on except output and files."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable

import torch

from benchmarks.hand_written_loops import network
from benchmarks.train_task import BATCH_SIZE, EPOCHS_A_ROUND, LEARNING_RATE, STEPS_A_ROUND, TrainTask


def skorch(task: TrainTask, record: Callable[[float], None]) -> Callable[[], float]:
    """Train with skorch's `partial_fit`; its history keeps the loss of every batch."""
    from skorch import NeuralNetRegressor

    net = NeuralNetRegressor(
        network(),
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        batch_size=BATCH_SIZE,
        max_epochs=EPOCHS_A_ROUND,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    ).initialize()

    def run() -> float:
        start = time.perf_counter()
        net.partial_fit(task.x, task.y)
        seconds = time.perf_counter() - start
        record(net.history[-1, "train_loss"])
        return seconds / STEPS_A_ROUND

    return run


def lightning(task: TrainTask, record: Callable[[float], None]) -> Callable[[], float]:
    """Train with Lightning's Trainer; only what lies between start and end of training is timed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning as library

    class Regression(library.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()
            self.seconds = 0.0

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _index: int) -> torch.Tensor:
            features, targets = batch
            loss = torch.nn.functional.mse_loss(self.network(features), targets)
            # As a progress bar would ask for it, each step, and as a mean over the epoch.
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)

        def on_train_start(self) -> None:
            self.seconds = -time.perf_counter()

        def on_train_end(self) -> None:
            self.seconds += time.perf_counter()

    logging.getLogger("lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = torch.utils.data.TensorDataset(torch.from_numpy(task.x), torch.from_numpy(task.y))
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH_SIZE, shuffle=True)
    module = Regression()

    def run() -> float:
        with warnings.catch_warnings():
            # It advises worker processes and a logging interval; both are as its users have them by default.
            warnings.simplefilter("ignore")
            trainer = library.Trainer(
                max_epochs=EPOCHS_A_ROUND,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(module, loader)
        record(float(trainer.callback_metrics["train_loss_epoch"]))
        return module.seconds / STEPS_A_ROUND

    return run
