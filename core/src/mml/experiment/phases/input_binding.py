"""`InputBinding`: which data reaches which head node of the graph.

A binding is symbolic. Which FeatureSet it means is looked up when a phase runs, so that the same phase serves
other data, other folds and other experiments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mml.configuration import checked_config, registered_name
from mml.data import FeatureSet, FeatureSetReference
from mml.errors import PhaseError
from mml.graph import GraphNode, ModelIOReference
from mml.plugins import registry
from mml.protocols import Config

EVERY_HEAD = "*"


@dataclass(frozen=True)
class InputBinding:
    """Binds one head node, or every head, to a split and a sampler.

    Use `for_training` and `for_evaluation`.

    Parameters
    ----------
    node : str
        Label of the head node; ``"*"`` for every head that the phase needs.
    split : str or None
        Name of the split; the whole FeatureSet where None.
    sampler : sampler or None
        Makes the batches.
    upstream : FeatureSetReference or None
        Which of the node's upstreams is bound; needed only where it reads several FeatureSets.
    stream : str or None
        Which stream of the sampler reaches the node. Of an `AlignedSampler`, the name of the stream that this
        binding's rows are; the FeatureSet's label where None.
    """

    node: str
    split: str | None = None
    sampler: Any = None
    upstream: FeatureSetReference | None = None
    stream: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("split", self.split), ("stream", self.stream)):
            if value is not None and not isinstance(value, str):
                raise PhaseError(
                    f"A binding's {name} is named.",
                    where={"node": self.node},
                    found=f"{type(value).__name__}: {value!r}",
                )
        if self.sampler is not None and not (hasattr(self.sampler, "bind") and hasattr(self.sampler, "key")):
            raise PhaseError(
                f"{self.sampler!r} is not a sampler."[:80],
                where={"node": self.node},
                expected="a sampler, such as SimpleSampler(batch_size=32)",
                found=f"{type(self.sampler).__name__}: {self.sampler!r}",
            )

    @classmethod
    def for_training(
        cls,
        *,
        node: Any,
        sampler: Any,
        split: str | None = None,
        upstream: Any = None,
        stream: str | None = None,
    ) -> InputBinding:
        """Bind a head node to batches that a sampler makes.

        Parameters
        ----------
        node : node, reference or str
        sampler : sampler
        split : str, optional
        upstream : FeatureSet or FeatureSetReference, optional
        stream : str, optional
        """
        if sampler is None:
            raise PhaseError("Training needs a sampler.", hint="Pass sampler=SimpleSampler(batch_size=32).")
        return cls(_label(node), split, sampler, _reference(node, upstream), stream)

    @classmethod
    def for_evaluation(
        cls,
        *,
        node: Any,
        split: str | None = None,
        upstream: Any = None,
        sampler: Any = None,
        stream: str | None = None,
    ) -> InputBinding:
        """Bind a head node to all rows of a split, in order, or as a sampler makes batches of them."""
        return cls(_label(node), split, sampler, _reference(node, upstream), stream)

    def get_config(self) -> Config:
        """Return node, split, sampler, upstream and stream."""
        return {
            "node": self.node,
            "split": self.split,
            "sampler": None if self.sampler is None else self.sampler.get_config(),
            "upstream": None if self.upstream is None else self.upstream.get_config(),
            "stream": self.stream,
        }

    @classmethod
    def from_config(cls, config: Config) -> InputBinding:
        """Build an equal binding.

        Raises
        ------
        ConfigError
            If a key is unknown or missing.
        """
        given = checked_config(
            config,
            "an input binding",
            required=("node",),
            optional=("split", "sampler", "upstream", "stream"),
        )
        sampler, upstream = given.get("sampler"), given.get("upstream")
        return cls(
            node=_label(given["node"]),
            split=given.get("split"),
            sampler=None if sampler is None else sampler_from_config(sampler),
            upstream=None if upstream is None else FeatureSetReference.from_config(upstream),
            stream=given.get("stream"),
        )


def sampler_from_config(config: Config) -> Any:
    """Build a sampler from its configuration, by its registered name.

    Raises
    ------
    ConfigError
        If it names none.
    """
    return registry("samplers").load(registered_name(config, "sampler")).from_config(config)


def _label(node: Any) -> str:
    if isinstance(node, GraphNode | ModelIOReference):
        return node.label
    if isinstance(node, str):
        return node
    raise PhaseError("A binding names a node of the graph.", found=f"{type(node).__name__}: {node!r}")


def _reference(node: Any, upstream: Any) -> FeatureSetReference | None:
    """Return the FeatureSet that is meant, None where the node's own is."""
    if isinstance(upstream, FeatureSet):
        return upstream.reference()
    if isinstance(upstream, FeatureSetReference):
        return upstream
    if upstream is not None:
        raise PhaseError(
            "`upstream` is a FeatureSet or a reference to one.",
            where={"node": _label(node)},
            found=f"{type(upstream).__name__}: {upstream!r}",
        )
    return None
