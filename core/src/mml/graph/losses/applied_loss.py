"""`AppliedLoss`: a loss bound to a node of the graph, to what goes into it, and to a weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mml.configuration import checked_config
from mml.data import FeatureSetReference
from mml.errors import LossError, MMLError
from mml.graph.losses.loss import Loss
from mml.graph.losses.routing import LossInput, parse_input
from mml.graph.nodes.graph_node import GraphNode
from mml.graph.references import ModelIOReference
from mml.protocols import Config


class AppliedLoss:
    """Apply a loss on a node.

    Parameters
    ----------
    loss : Loss, str, type or callable
        What to compute. A callable with a parameter ``context`` receives the `ExecutionContext` of the step
        there: its phase, epoch, batch and inputs; outputs and losses are not in it yet.
    on : node, reference or str
        The node that predicts.
    inputs : sequence or mapping
        What the loss receives: positionally, or by keyword for a mapping; a lone input may stand by itself.
        Each is ``"outputs"``, ``"targets"``, ``"features"`` or ``"tags"``, with a role or a column behind a
        dot (``"outputs.anchor"``, ``"targets.y"``), another node of the graph, or a reference to columns of
        a FeatureSet outside the batch, whose rows are found by their sample UUIDs:
        ``other.reference(features=(), targets="z")``.
    weight : float
        Factor in the phase's total.
    sample_weight : str, optional
        Column with one weight a row, such as ``"tags.weight"``; the loss becomes
        ``sum(w * l) / number of unmasked rows``.
    label : str, optional
        Unique in its phase; ``"<node>/<loss>"`` where left out.

    Examples
    --------
    >>> AppliedLoss("mse", on="head")
    AppliedLoss('head/mse', on='head', weight=1.0)
    """

    def __init__(
        self,
        loss: Any,
        *,
        on: Any,
        inputs: Sequence[Any] | Mapping[str, Any] = ("outputs", "targets"),
        weight: float = 1.0,
        sample_weight: str | None = None,
        label: str | None = None,
    ) -> None:
        self.loss = loss if isinstance(loss, Loss) else Loss(loss)
        self.on = on.label if isinstance(on, GraphNode | ModelIOReference) else str(on)
        self.label = label if label is not None else f"{self.on}/{self.loss.name}"
        self.weight = self._checked_weight(weight)
        keywords = tuple(inputs) if isinstance(inputs, Mapping) else ()
        try:
            values = _listed(inputs)
            self.inputs = tuple(parse_input(one) for one in values)
            self.sample_weight = None if sample_weight is None else _weight_column(sample_weight)
        except MMLError as error:
            raise error.located({"loss": self.label}) from error.__cause__
        self.keywords: tuple[str, ...] = keywords
        if not self.inputs:
            raise LossError("A loss without inputs computes nothing.", where={"loss": self.label})

    def _checked_weight(self, weight: float) -> float:
        is_number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight < math.inf:
            raise LossError(
                "A loss weight is a finite number of at least zero.",
                where={"loss": self.label},
                found=repr(weight),
            )
        return float(weight)

    @property
    def routed(self) -> tuple[LossInput, ...]:
        """Every value that the loss reads, its row weights included."""
        return self.inputs if self.sample_weight is None else (*self.inputs, self.sample_weight)

    def check_inputs(self, backend: str, *, roles: Sequence[str]) -> None:
        """Refuse inputs that a canonical loss does not read, or lacks.

        Parameters
        ----------
        backend : str
        roles : sequence of str
            The roles of the stream that the loss is applied on, for the message.

        Raises
        ------
        LossError
        """
        read = self.loss.parameters(backend)
        if read is None:
            return
        given = self.keywords or tuple(one.name for one in read[: len(self.inputs)])
        needed = [one.name for one in read if one.default is one.empty]
        known = {one.name for one in read}
        if len(given) == len(self.inputs) and set(needed) <= set(given) <= known:
            return
        optional = "".join(f", optionally {one.name}" for one in read if one.default is not one.empty)
        raise LossError(
            f"The loss {self.loss.name!r} reads {len(needed)} inputs: {', '.join(needed)}{optional}.",
            found=", ".join(repr(one.text) for one in self.inputs)
            + (f" as {', '.join(self.keywords)}" if self.keywords else ""),
            hint=_inputs_hint(needed, roles),
        )

    def get_config(self) -> Config:
        """Return loss, node, inputs and weights."""
        try:
            loss = self.loss.get_config()
        except MMLError as error:
            raise error.located({"loss": self.label}) from error.__cause__
        inputs = [one.written for one in self.inputs]
        return {
            "loss": loss,
            "on": self.on,
            "inputs": dict(zip(self.keywords, inputs, strict=True)) if self.keywords else inputs,
            "weight": self.weight,
            "sample_weight": None if self.sample_weight is None else self.sample_weight.text,
            "label": self.label,
        }

    @classmethod
    def from_config(cls, config: Config) -> AppliedLoss:
        """Build an equal applied loss."""
        settings = checked_config(
            config,
            "an applied loss",
            required=("loss", "on"),
            optional=("inputs", "weight", "sample_weight", "label"),
        )
        return cls(Loss.from_config(settings.pop("loss")), **settings)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AppliedLoss):
            return NotImplemented
        mine = (self.loss, self.on, self.inputs, self.keywords, self.weight, self.sample_weight, self.label)
        return mine == (
            other.loss,
            other.on,
            other.inputs,
            other.keywords,
            other.weight,
            other.sample_weight,
            other.label,
        )

    __hash__ = None  # type: ignore[assignment]  # compared by value, never a key

    def __repr__(self) -> str:
        return f"AppliedLoss({self.label!r}, on={self.on!r}, weight={self.weight})"


def _inputs_hint(needed: Sequence[str], roles: Sequence[str]) -> str:
    if len(roles) >= len(needed):
        return f"Name one each: inputs={[f'outputs.{role}' for role in roles[: len(needed)]]}."
    if len(needed) > 2 and len(roles) == 1:
        return (
            "Name one each; several outputs of a node are roles, which a sampler brings, such as "
            "TripletSampler: inputs=['outputs.anchor', ...]."
        )
    return "Name one each: inputs=[...]."


def _weight_column(value: Any) -> LossInput:
    try:
        return parse_input(value)
    except LossError as cause:
        if not isinstance(value, str) or not value or "." in value:
            raise
        raise LossError(
            "The column of the row weights is named with its domain.",
            found=f"sample_weight={value!r}",
            hint=f"Write sample_weight='tags.{value}', or another domain in place of tags.",
        ) from cause


def _listed(inputs: Any) -> tuple[Any, ...]:
    if isinstance(inputs, Mapping):
        return tuple(inputs.values())
    if isinstance(inputs, str | GraphNode | ModelIOReference | FeatureSetReference):
        return (inputs,)
    if isinstance(inputs, Sequence):
        return tuple(inputs)
    raise LossError(
        "The inputs of a loss are a list of names, or a mapping of keywords to names.", found=repr(inputs)
    )
