"""A block's host arrays on their way to the engine: live rows only, in dtypes that programs have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mml.backends import Block, SegmentInput
from mml_keras3 import convert
from mml_keras3.engines import engine

LINE = 64  # bytes: where some kernels, and whoever takes memory over without a copy, want an array to start


def step_values(block: Block, entry: SegmentInput, count: int, start: int, stop: int) -> np.ndarray:
    """Return the live rows of an input in steps that have as many, ``(steps, count, ...)``; maybe a view.

    Parameters
    ----------
    block : Block
    entry : SegmentInput
    count : int
        Live rows of each step, above 0.
    start, stop : int
        The range of steps.
    """
    values = block.values[entry.name]
    if isinstance(values, list):
        return np.stack([_host(one)[:count] for one in values[start:stop]])
    return convert.for_program(values[start:stop, :count], name=entry.name)


def padded_values(block: Block, entry: SegmentInput, count: int, start: int, stop: int) -> np.ndarray:
    """Return an input of steps with at most `count` live rows, filled up with copies of the first one."""
    counts = block.rows[start:stop, entry.rows].tolist()
    steps = [
        step_values(block, entry, live, start + place, start + place + 1) for place, live in enumerate(counts)
    ]
    made = np.empty((stop - start, count, *steps[0].shape[2:]), dtype=steps[0].dtype)
    for place, (live, array) in enumerate(zip(counts, steps, strict=True)):
        made[place, :live] = array[0]
        made[place, live:] = array[0, 0]
    return made


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return an uninitialised array that starts at the start of a memory line."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + LINE, dtype=np.uint8)
    offset = -raw.ctypes.data % LINE
    return raw[offset : offset + size].view(dtype).reshape(shape)


def _host(native: Any) -> np.ndarray:
    convert.require_native(native)
    return engine().to_numpy(native)
