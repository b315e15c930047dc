"""The format of experiment documents, version 1, as typed structures.

One rule holds for every component: ``name``, or ``name: {settings}``, which is the call ``name(**settings)``
in Python. What is named in one place is defined in another: data, nodes, losses, evaluations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from mml.documents.parts import (
    CallbackUse,
    DataName,
    DatasetUse,
    EvaluationName,
    LossName,
    LossUse,
    MergeUse,
    MetricUse,
    ModelUse,
    NodeName,
    OneOf,
    OptimizerUse,
    SamplerUse,
    ScalerUse,
    SplitName,
    SplitterUse,
    UpstreamName,
    marked,
)

FORMAT_VERSION = 1

Columns: TypeAlias = str | list[str]
Count: TypeAlias = Annotated[int, Meta(ge=1)]
Seed: TypeAlias = Annotated[int, Meta(ge=0)]
Share: TypeAlias = Annotated[float, Meta(ge=0)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping with known keys."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong between the keys, as pairs of what and hint."""
        yield from ()


class TransformSpec(Section, frozen=True, kw_only=True):
    """A scaler that is fitted and applied: the call ``fit_transform``."""

    scaler: ScalerUse
    domain: Literal["features", "targets"]
    keys: Columns = "*"
    fit_to_split: SplitName | None = None


class SplitSpec(Section, frozen=True, kw_only=True):
    """A splitter, and the split that it divides where that is not all samples."""

    splitter: SplitterUse
    of: SplitName | None = None


class DataSpec(Section, frozen=True, kw_only=True):
    """A FeatureSet: where it comes from, its splits and its transforms, in this order."""

    dataset: DatasetUse | UnsetType = UNSET
    file: str | UnsetType = UNSET
    features: Columns | UnsetType = UNSET
    targets: Columns = []
    tags: Columns = []
    splits: list[SplitSpec] = []
    transforms: list[TransformSpec] = []

    def problems(self) -> Iterator[tuple[str, str]]:
        """Ask for one source."""
        if (self.dataset is UNSET) == (self.file is UNSET):
            yield "Data comes from either a dataset or a file.", "Give one of `dataset` and `file`."
        if self.dataset is not UNSET and self.features is not UNSET:
            yield "A dataset says itself what its features are.", "Take `features` out, or use `file`."


class DataReference(Section, frozen=True, kw_only=True):
    """Columns of data that go into a node: the call ``featureset.reference``."""

    data: DataName
    features: Columns = "*"
    targets: Columns = "*"
    tags: Columns = []
    rep: str | None = None
    combine: Literal["concat", "dict"] | None = None


Upstream: TypeAlias = UpstreamName | DataReference


class ModelNodeSpec(Section, frozen=True, kw_only=True):
    """A node with a model."""

    model: ModelUse
    upstream: Upstream = field(name="from")
    optimizer: OptimizerUse | None = None
    device: str | None = None
    frozen: bool = False


class MergeNodeSpec(Section, frozen=True, kw_only=True):
    """A node that merges others."""

    merge: MergeUse
    upstreams: Annotated[list[Upstream], Meta(min_length=2)] = field(name="from")


NodeSpec: TypeAlias = Annotated[Any, marked(OneOf({"model": ModelNodeSpec, "merge": MergeNodeSpec}))]


class GraphSpec(Section, frozen=True, kw_only=True):
    """Nodes in any order, and the optimizer of all that learn."""

    nodes: dict[str, NodeSpec]
    optimizer: OptimizerUse | None = None
    jit_compile: bool = False
    label: str = "model-graph"


class LossSpec(Section, frozen=True, kw_only=True):
    """A loss on a node: the call ``AppliedLoss``; its key is its label."""

    loss: LossUse
    on: NodeName
    inputs: list[str] | dict[str, str] = field(default_factory=lambda: ["outputs", "targets"])
    weight: Share = 1.0
    sample_weight: str | None = None


class InputSpec(Section, frozen=True, kw_only=True):
    """What one head node reads: the call ``InputBinding``."""

    node: NodeName
    split: SplitName | None = None
    data: DataName | None = None
    sampler: SamplerUse | None = None
    stream: str | None = None


class PhaseSection(Section, frozen=True, kw_only=True):
    """What all phases have in common. Either `split`, for every head node, or `inputs`, one by one."""

    split: SplitName | UnsetType | None = UNSET
    inputs: list[InputSpec] | UnsetType = UNSET
    nodes: list[NodeName] | None = None
    callbacks: list[CallbackUse] = []
    result_recording: Literal["none", "last", "all"] | UnsetType = UNSET
    device: str | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Ask for data, once."""
        if self.split is UNSET and self.inputs is UNSET:
            yield "The phase has no data.", "Give `split`, such as `split: train`; `split: null` is all rows."
        if self.split is not UNSET and self.inputs is not UNSET:
            yield "The phase has `split` and `inputs`.", "Keep one of them: `split` is for every head node."


class FitStep(PhaseSection, frozen=True, kw_only=True):
    """A FitPhase; `fit` is its label."""

    fit: str
    freeze_after_fit: bool = True


class TrainStep(PhaseSection, frozen=True, kw_only=True):
    """A TrainPhase; `train` is its label."""

    train: str
    losses: Annotated[list[LossName], Meta(min_length=1)]
    sampler: SamplerUse | None = None
    epochs: Count = 1
    batch_schedule: Literal["zip_strict", "zip_cycle", "alternate_strict", "alternate_cycle"] = "zip_strict"
    on_nonfinite: Literal["error", "warn", "ignore"] = "error"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Ask for a sampler too."""
        yield from super().problems()
        if self.inputs is not UNSET and self.sampler is not None:
            yield "With `inputs`, each of them has its sampler.", "Move `sampler` into them."
        lacking = self.inputs is UNSET and self.sampler is None
        if lacking or (self.inputs is not UNSET and any(one.sampler is None for one in self.inputs)):
            yield "Training needs a sampler.", "Give `sampler: {simple: {batch_size: 32, shuffle: true}}`."


class EvaluationSpec(PhaseSection, frozen=True, kw_only=True):
    """An EvalPhase that callbacks run; its key is its label."""

    losses: list[LossName] = []
    metrics: list[MetricUse] = []
    batch_size: Count | None = None
    on_nonfinite: Literal["error", "warn", "ignore"] = "error"


class EvalStep(EvaluationSpec, frozen=True, kw_only=True):
    """An EvalPhase; `eval` is its label."""

    evaluate: str = field(name="eval")


class GroupStep(Section, frozen=True, kw_only=True):
    """A PhaseGroup; `group` is its label."""

    group: str
    plan: list[StepSpec]


_STEPS: dict[str, type[Struct]] = {
    "fit": FitStep,
    "train": TrainStep,
    "eval": EvalStep,
    "group": GroupStep,
}
StepSpec: TypeAlias = Annotated[Any, marked(OneOf(_STEPS))]


class DocumentSpec(Section, frozen=True, kw_only=True):
    """A whole experiment."""

    mml: Literal[1]
    label: Annotated[str, Meta(min_length=1)]
    seed: Seed = 0
    deterministic: bool = False
    data: dict[str, DataSpec]
    graph: GraphSpec
    losses: dict[str, LossSpec] = {}
    evaluations: dict[str, EvaluationSpec] = {}
    plan: Annotated[list[StepSpec], Meta(min_length=1)]
    callbacks: list[CallbackUse] = []


class EvaluationSettings(Section, frozen=True, kw_only=True):
    """Settings of the callback ``evaluation``; its phase is one of the document's evaluations."""

    phase: EvaluationName
    every_n_epochs: Count = 1
    run_on_start: bool = False
    metrics: list[MetricUse] = []


class EvalLossSettings(Section, frozen=True, kw_only=True):
    """Settings of the metric ``eval_loss``; its loss is one of the document's losses."""

    loss: LossName | None = None
    name: str = "val_loss"
    reducer: Literal["mean", "sum"] = "mean"


SETTINGS: dict[tuple[str, str], type[Section]] = {
    ("callbacks", "mml/evaluation"): EvaluationSettings,
    ("metrics", "mml/eval_loss"): EvalLossSettings,
}
"""Core components whose settings refer to other parts of the document."""

STRUCTS: tuple[type[msgspec.Struct], ...] = (
    DocumentSpec,
    ModelNodeSpec,
    MergeNodeSpec,
    FitStep,
    TrainStep,
    EvalStep,
    GroupStep,
    EvaluationSettings,
    EvalLossSettings,
)
"""All that a schema describes."""
