"""The slots of an optimizer as tensors: made, restored from NumPy, and counted.

Slots live in dictionaries that core owns and every program shares; whatever is converted here is put back
into them, so that the next program finds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mml.errors import StateError
from mml_torch import convert

Slots = dict[str, Any]


def fresh_slots(names: Sequence[str], variable: Tensor) -> Mapping[str, Any]:
    """Return the slots before the first update: zeros shaped as the variable, and a count of 0."""
    return {"step": 0, **{name: torch.zeros_like(variable) for name in names}}


def make_native(slots: Slots, names: Sequence[str], variable: Tensor, *, label: str) -> None:
    """Turn restored NumPy arrays into tensors on the variable's device, in place.

    Raises
    ------
    StateError
        If a slot is missing or shaped otherwise than the variable.
    """
    for name in names:
        value = slots.get(name)
        if type(value) is Tensor and value.device == variable.device and value.shape == variable.shape:
            continue
        if isinstance(value, np.ndarray):
            value = convert.to_tensor(value)
        if not isinstance(value, Tensor) or value.shape != variable.shape:
            raise StateError(
                f"The optimizer's slot {name!r} does not fit the variable {label!r}.",
                expected=f"an array of shape {tuple(variable.shape)}",
                found=f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__,
            )
        slots[name] = value.to(variable.device)
    if "step" not in slots:
        raise StateError(f"The optimizer's slots of {label!r} hold no 'step'.", found=str(sorted(slots)))


def counts_as_integers(slots: Sequence[Slots]) -> None:
    """Make every ``step`` a Python integer."""
    for one in slots:
        if type(one["step"]) is not int:
            one["step"] = int(one["step"])


def counts_as_tensors(slots: Sequence[Slots], device: torch.device) -> tuple[Tensor, list[Tensor]]:
    """Make every ``step`` a scalar tensor, all of them views of one, which counts them in one operation.

    Returns
    -------
    float32 tensor of shape (variables,), list of scalar tensors
    """
    views = [one["step"] for one in slots]
    whole = views[0]._base if isinstance(views[0], Tensor) else None
    if whole is None or whole.device != device or not _are_all_views_of(views, whole):
        whole = torch.tensor([float(one) for one in views], dtype=torch.float32, device=device)
        views = list(whole.unbind(0))
        for one, view in zip(slots, views, strict=True):
            one["step"] = view
    return whole, views


def _are_all_views_of(views: Sequence[Any], whole: Tensor) -> bool:
    # Views are handed out once each, so as many as the whole has elements are all of them.
    return (
        whole.dim() == 1
        and len(whole) == len(views)
        and all(isinstance(one, Tensor) and one._base is whole for one in views)
    )


def grouped(variables: Sequence[Tensor]) -> list[list[int]]:
    """Return the indices of the variables by device and dtype, in order of first appearance."""
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, variable in enumerate(variables):
        groups.setdefault((variable.device, variable.dtype), []).append(index)
    return list(groups.values())
