"""Losses as batch-level metrics, beside what was logged batch by batch.

They are derived from the loss log when somebody asks, so that training logs nothing per batch.
"""

from __future__ import annotations

import numpy as np

from mml.experiment.results.axis import Axis
from mml.experiment.results.data_series import MetricDataSeries
from mml.experiment.results.loss_log import LossLog


def with_batch_losses(logged: MetricDataSeries, losses: LossLog, *, metric: str) -> MetricDataSeries:
    """Append the losses of each batch to logged metrics.

    Parameters
    ----------
    logged : MetricDataSeries
        With axes (name, epoch, batch); a name that it holds is not derived again.
    losses : LossLog
        Where the losses are.
    metric : str
        Name of the weighted total; ``<metric>/<label>`` are the losses themselves.

    Returns
    -------
    MetricDataSeries
        With the unmasked rows behind each loss; logged values count as one row.
    """
    total_epochs, totals = losses.batch_totals()
    epochs, columns = losses.counted_columns()
    names = [metric, *(f"{metric}/{label}" for label in losses.nodes)]
    codes = np.concatenate([totals.codes, columns.codes + np.int32(1)])
    taken = logged.axes_values()["name"]
    fresh = np.array([name not in taken for name in names])[codes]
    vocabulary = dict.fromkeys([*taken, *names])
    positions = {name: position for position, name in enumerate(vocabulary)}
    derived = np.array([positions[name] for name in names], dtype=np.int32)[codes[fresh]]
    stored = np.array([positions[name] for name in logged.coordinates("name")], dtype=np.int32)
    axes = {
        "name": Axis(np.concatenate([stored, derived]), tuple(vocabulary)),
        "epoch": Axis.encode(
            np.concatenate(
                [
                    logged.coordinates("epoch").astype(np.int64),
                    np.concatenate([total_epochs, epochs])[fresh],
                ]
            )
        ),
        "batch": Axis.encode(
            np.concatenate(
                [
                    logged.coordinates("batch").astype(np.int64),
                    np.concatenate([totals.batches, columns.batches])[fresh],
                ]
            )
        ),
    }
    values = np.concatenate([logged.values, np.concatenate([totals.values, columns.values])[fresh]])
    ones = np.ones(len(logged), dtype=np.int64)
    rows = np.concatenate([ones, np.concatenate([totals.rows, columns.rows])[fresh]])
    return MetricDataSeries(axes, values, rows=rows)
