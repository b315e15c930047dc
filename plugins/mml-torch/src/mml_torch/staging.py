"""A block of host arrays on the device: one copy for each input, one view for each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mml.backends import Block, SegmentInput
from mml_torch import convert

_LINE = 64  # bytes: how far apart kernels may tell two addresses


@dataclass(slots=True)
class StagedBlock:
    """A block on the device.

    Parameters
    ----------
    values : list of dict of str to tensor
        For each step, the live rows by input name; an input without live rows is absent.
    rows : list of list of int
        For each step, the counts of live rows.
    """

    values: list[dict[str, Tensor]]
    rows: list[list[int]]


def stage(block: Block, inputs: tuple[SegmentInput, ...], device: torch.device) -> StagedBlock:
    """Bring a block to a device; the host buffers may be overwritten afterwards."""
    rows: list[list[int]] = block.rows.tolist()
    steps: list[dict[str, Tensor]] = [{} for _ in rows]
    for entry in inputs:
        values = block.values[entry.name]
        arrays = values if isinstance(values, list) else _host_steps(values, device)
        for step, (counts, array) in enumerate(zip(rows, arrays, strict=True)):
            count = counts[entry.rows]
            if count and array is not None:
                live = array if len(array) == count else array[:count]
                steps[step][entry.name] = live if live.device == device else live.to(device)
    return StagedBlock(values=steps, rows=rows)


def _host_steps(values: np.ndarray, device: torch.device) -> tuple[Tensor, ...]:
    """Copy ``(steps, capacity, ...)`` and return one view a step, each at the start of a memory line.

    Some kernels give other bits for another alignment, and a step must not depend on its place in a block.
    """
    dtype = convert.torch_dtype(values.dtype)
    n_steps, shape = values.shape[0], values.shape[1:]
    size = math.prod(shape)
    line = _LINE // values.dtype.itemsize
    buffer = torch.empty(n_steps, max(line, -(-size // line) * line), dtype=dtype)
    staged = buffer[:, :size].view(n_steps, *shape)
    # NumPy copies from any layout, read-only or reversed; sharing its memory would not take all of them.
    np.copyto(staged.numpy(), values)
    return staged.to(device).unbind(0)
