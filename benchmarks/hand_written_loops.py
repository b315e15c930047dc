"""Three loops that a person would write in PyTorch: plain, tuned by hand, and over a DataLoader.

Each returns a function that trains one round and returns the seconds a step, with the model, the optimizer
and the tensors made beforehand; it hands the mean loss of its last epoch to `record`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import torch

from benchmarks.train_task import (
    BATCH_SIZE,
    EPOCHS_A_ROUND,
    HIDDEN,
    LEARNING_RATE,
    N_FEATURES,
    N_ROWS,
    STEPS_A_ROUND,
    STEPS_AN_EPOCH,
    TrainTask,
)

GATHERED_BATCHES = 16


def network(seed: int = 0) -> torch.nn.Module:
    """Build the MLP 32-64-64-1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = (N_FEATURES, *HIDDEN)
        layers: list[torch.nn.Module] = []
        for wide, narrow in pairwise(sizes):
            layers += [torch.nn.Linear(wide, narrow), torch.nn.ReLU()]
        return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 1))


def plain(task: TrainTask, record: Callable[[float], None]) -> Callable[[], float]:
    """Index each batch, step, and read the loss with `.item()`."""
    x, y, model = torch.from_numpy(task.x), torch.from_numpy(task.y), network()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loss_function = torch.nn.MSELoss()

    def run() -> float:
        start = time.perf_counter()
        for _ in range(EPOCHS_A_ROUND):
            order = torch.randperm(N_ROWS)
            total = 0.0
            for first in range(0, N_ROWS, BATCH_SIZE):
                rows = order[first : first + BATCH_SIZE]
                optimizer.zero_grad()
                loss = loss_function(model(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                total += loss.item()
        seconds = time.perf_counter() - start
        record(total / STEPS_AN_EPOCH)
        return seconds / STEPS_A_ROUND

    return run


def tuned(task: TrainTask, record: Callable[[float], None]) -> Callable[[], float]:
    """Use fused Adam, gather blocks of batches, and read the losses once an epoch."""
    x, y, model = torch.from_numpy(task.x), torch.from_numpy(task.y), network()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    mse = torch.nn.functional.mse_loss
    block = BATCH_SIZE * GATHERED_BATCHES

    def run() -> float:
        start = time.perf_counter()
        for _ in range(EPOCHS_A_ROUND):
            order = torch.randperm(N_ROWS)
            losses = []
            for first in range(0, N_ROWS, block):
                rows = order[first : first + block]
                batches = zip(x[rows].split(BATCH_SIZE), y[rows].split(BATCH_SIZE), strict=True)
                for features, targets in batches:
                    loss = mse(model(features), targets)
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.detach())
            values = torch.stack(losses).tolist()
        seconds = time.perf_counter() - start
        record(sum(values) / STEPS_AN_EPOCH)
        return seconds / STEPS_A_ROUND

    return run


def data_loader(task: TrainTask, record: Callable[[float], None]) -> Callable[[], float]:
    """Iterate a shuffling DataLoader in this process, else like the plain loop."""
    data = torch.utils.data.TensorDataset(torch.from_numpy(task.x), torch.from_numpy(task.y))
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH_SIZE, shuffle=True)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loss_function = torch.nn.MSELoss()

    def run() -> float:
        start = time.perf_counter()
        for _ in range(EPOCHS_A_ROUND):
            total = 0.0
            for features, targets in loader:
                optimizer.zero_grad()
                loss = loss_function(model(features), targets)
                loss.backward()
                optimizer.step()
                total += loss.item()
        seconds = time.perf_counter() - start
        record(total / STEPS_AN_EPOCH)
        return seconds / STEPS_A_ROUND

    return run
