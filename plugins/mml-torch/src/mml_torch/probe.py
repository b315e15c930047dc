"""What a module makes of an input's shape: found by running it on zeros, leaving every value as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mml.errors import ModelError, ShapeError
from mml_torch.modes import inference_mode

_ROWS = 2
_WIDTHS = ("in_features", "in_channels", "num_features", "input_size", "num_embeddings")


@dataclass(frozen=True)
class Probe:
    """What a module gives for one input shape: the shape of one output sample, and the output's dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def floating_dtype(module: nn.Module) -> torch.dtype | None:
    """Return the dtype of the module's first floating parameter, None where it has none."""
    return next((one.dtype for one in module.parameters() if one.is_floating_point()), None)


def device_of(module: nn.Module) -> torch.device | None:
    """Return the device of the module's first value, None where it has no values."""
    first = next(module.parameters(), next(module.buffers(), None))
    return None if first is None else first.device


def probe(module: nn.Module, input_shape: tuple[int, ...], *, label: str) -> Probe:
    """Run a module in inference mode on zeros of ``(2, *input_shape)``.

    Lazy parameters get their shapes and first values here; buffers that exist already keep theirs.

    Raises
    ------
    ShapeError
        If the module does not take such an input, or does not keep the rows.
    ModelError
        If it fails otherwise, or returns something else than one tensor.
    """
    with torch.no_grad(), inference_mode(module), _buffers_kept(module):
        output = _first_that_runs(module, input_shape, label)
    if not isinstance(output, Tensor):
        raise ModelError(
            "A module in the graph returns one tensor.",
            where={"node": label or None},
            found=type(output).__name__,
            hint="Wrap it in a module that picks the tensor out of what it returns.",
        )
    if output.dim() == 0 or output.shape[0] != _ROWS:
        raise ShapeError(
            "A module in the graph must keep the rows.",
            where={"node": label or None},
            expected=f"({_ROWS}, ...) for {_ROWS} rows",
            found=str(tuple(output.shape)),
        )
    return Probe(tuple(output.shape[1:]), output.dtype)


def _first_that_runs(module: nn.Module, input_shape: tuple[int, ...], label: str) -> Any:
    device = device_of(module)
    try:
        return module(torch.zeros(_ROWS, *input_shape, dtype=floating_dtype(module), device=device))
    except Exception as cause:  # noqa: BLE001 -- told below, unless the second attempt runs
        try:
            # Embeddings take whole numbers only.
            return module(torch.zeros(_ROWS, *input_shape, dtype=torch.int64, device=device))
        except Exception:  # noqa: BLE001 -- the first failure is the one to tell
            raise _refusal(module, input_shape, cause, label) from cause


def _refusal(
    module: nn.Module, input_shape: tuple[int, ...], cause: Exception, label: str
) -> ModelError | ShapeError:
    kind = (
        ShapeError
        if isinstance(cause, RuntimeError | ValueError | IndexError | AssertionError)
        else ModelError
    )
    first = next((one for one in module.modules() if any(hasattr(one, width) for width in _WIDTHS)), None)
    return kind(
        f"The model does not run on inputs of this shape: {cause}",
        where={"node": label or None},
        expected=None if first is None else f"what its layer {first!r} takes",
        found=f"samples of shape {input_shape}",
    )


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    kept = [
        (holder, name, buffer, buffer.clone())
        for holder in module.modules()
        for name, buffer in holder._buffers.items()
        if buffer is not None and not torch.nn.parameter.is_lazy(buffer)
    ]
    try:
        yield
    finally:
        for holder, name, buffer, values in kept:
            if buffer.shape == values.shape:
                buffer.copy_(values)
            holder._buffers[name] = buffer
