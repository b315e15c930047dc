"""How the text of a loss input is read: ``domain``, ``domain.name`` or ``domain.name.key``.

The name is a role of the stream, else a column; which of the two is decided where the stream is known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mml.data import FeatureSetReference
from mml.errors import LossError, did_you_mean
from mml.graph.nodes.graph_node import GraphNode
from mml.graph.references import ModelIOReference
from mml.protocols import Config

_DOMAINS = ("outputs", "targets", "features", "tags")
DEFAULT_ROLE = "default"
ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class LossInput:
    """One value that a loss reads.

    Parameters
    ----------
    domain : str
        ``outputs``, ``targets``, ``features`` or ``tags``; ``node`` for the output of another node;
        ``elsewhere`` for columns of a FeatureSet outside the batch.
    name : str or None
        A role or a column; the label of the other node where `domain` is ``node``.
    key : str or None
        A column, where `name` is a role.
    reference : FeatureSetReference or None
        The columns, where `domain` is ``elsewhere``; `name` is then the label of their FeatureSet.
    """

    domain: str
    name: str | None = None
    key: str | None = None
    reference: FeatureSetReference | None = None

    @property
    def text(self) -> str:
        """The input as a user writes it."""
        return ".".join(part for part in (self.domain, self.name, self.key) if part is not None)

    @property
    def written(self) -> str | Config:
        """The input as a configuration holds it."""
        return self.text if self.reference is None else self.reference.get_config()

    def role_and_key(self, roles: Collection[str], *, loss: str) -> tuple[str, str | None]:
        """Tell role from column, given the roles of the stream.

        Raises
        ------
        LossError
            If a lone domain is asked of a stream with several roles, or the role does not exist.
        """
        if self.name in roles:
            return str(self.name), self.key
        if self.key is not None:
            raise LossError(
                f"The stream has no role {self.name!r}.",
                where={"loss": loss, "input": self.text},
                hint=did_you_mean(str(self.name), roles),
            )
        if self.name == DEFAULT_ROLE and DEFAULT_ROLE not in roles:
            raise LossError(
                "The stream has no role 'default'.",
                where={"loss": loss, "input": self.text},
                hint=did_you_mean("default", roles),
            )
        if self.domain == "outputs" and self.name is not None:
            raise self._no_such_output(roles, loss=loss)
        if len(roles) > 1:
            listed_roles = ", ".join(f'"outputs.{role}"' for role in roles)
            raise LossError(
                f"The stream has several roles; {self.text!r} fits each of them.",
                where={"loss": loss},
                expected=" or ".join(f"{self.domain}.{role}" for role in roles),
                hint=f"Name what the loss reads: AppliedLoss(..., inputs=[{listed_roles}]).",
            )
        return next(iter(roles)), self.name

    def _no_such_output(self, roles: Collection[str], *, loss: str) -> LossError:
        if len(roles) > 1:
            texts = [f"outputs.{role}" for role in roles]
            return LossError(
                f"The stream has no role {self.name!r}.",
                where={"loss": loss, "input": self.text},
                expected=" or ".join(texts),
                hint=did_you_mean(self.text, texts),
            )
        return LossError(
            f"A node's outputs have no part {self.name!r}, and the sampler brings no roles.",
            where={"loss": loss, "input": self.text},
            hint="Read 'outputs', or bind a sampler whose batches have such a role: PairedSampler (anchor, "
            "pair), TripletSampler (anchor, positive, negative) or NSampler.",
        )


def parse_input(value: Any) -> LossInput:
    """Read one input of a loss.

    Raises
    ------
    LossError
        If it is neither a known domain nor a node.
    """
    if isinstance(value, GraphNode | ModelIOReference):
        return LossInput(domain="node", name=value.label)
    if isinstance(value, Mapping):
        value = FeatureSetReference.from_config(dict(value))
    if isinstance(value, FeatureSetReference):
        return LossInput(domain=ELSEWHERE, name=value.label, reference=value)
    parts = str(value).split(".", 2)
    if parts[0] == "node" and len(parts) > 1:
        return LossInput(domain="node", name=str(value).partition(".")[2])
    if not isinstance(value, str) or parts[0] not in _DOMAINS or "" in parts:
        raise LossError(
            f"Unknown loss input {value!r}.",
            expected="'outputs', 'targets', 'features' or 'tags', with '.role', '.column' or '.role.column'; "
            "another node; or a reference to columns of a FeatureSet",
            hint=did_you_mean(parts[0], _DOMAINS),
        )
    domain, name, key = (*parts, None, None)[:3]
    return LossInput(str(domain), name, key)
