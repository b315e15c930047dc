"""From a checked document to an experiment: data, graph, losses and plan, each mistake told at its place.

A rehearsal makes everything but the data, so that a document can be checked without reading any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from mml.context import ExperimentContext, RegistrationPolicy
from mml.data import FeatureSet, FeatureSetReference
from mml.documents.data_source import read_featureset
from mml.documents.format import (
    DataReference,
    DataSpec,
    DocumentSpec,
    EvalStep,
    EvaluationSpec,
    FitStep,
    GroupStep,
    InputSpec,
    MergeNodeSpec,
    ModelNodeSpec,
    PhaseSection,
    Section,
    TrainStep,
)
from mml.documents.mistakes import Path as DocumentPath
from mml.documents.parts import ComponentUse
from mml.errors import MMLError
from mml.experiment import Experiment
from mml.experiment.callbacks import EvalLossMetric, Evaluation, EvaluationMetric, OutputMetric
from mml.experiment.phases import EvalPhase, ExperimentPhase, FitPhase, InputBinding, PhaseGroup, TrainPhase
from mml.experiment.phases.phase import every_head
from mml.experiment.progress import ProgressDisplay
from mml.graph import (
    AppliedLoss,
    ComputeNode,
    Loss,
    Model,
    ModelGraph,
    ModelIOReference,
    ModelNode,
    Optimizer,
)
from mml.plugins import registry
from mml.processing import Scaler


class Builder:
    """Builds what a document describes.

    Parameters
    ----------
    spec : DocumentSpec
    fail : callable
        ``fail(path, error)`` returns the error to raise for one that a part of the document caused.
    folder : Path
        Where relative file names begin.
    with_data : bool
        Whether FeatureSets are made; without them references stay symbolic.
    """

    def __init__(
        self,
        spec: DocumentSpec,
        *,
        fail: Callable[[DocumentPath, Exception], MMLError],
        folder: Path,
        with_data: bool = True,
    ) -> None:
        self._spec = spec
        self._fail = fail
        self._folder = folder
        self._with_data = with_data
        self._featuresets: dict[str, FeatureSet] = {}
        self._losses: dict[str, AppliedLoss] = {}
        self._evaluations: dict[str, EvalPhase] = {}

    def experiment(self, *, progress: ProgressDisplay | None = None) -> Experiment:
        """Return the experiment, its data in a context of its own.

        Raises
        ------
        MMLError
            What `fail` returned for the first part that could not be made.
        """
        spec = self._spec
        with ExperimentContext(policy=RegistrationPolicy.ERROR).activate():
            if self._with_data:
                for label, one in spec.data.items():
                    self._featuresets[label] = self._featureset(label, one)
            graph = self._graph()
            for label, loss in spec.losses.items():
                with self._at("losses", label):
                    self._losses[label] = AppliedLoss(
                        self._called(Loss, loss.loss),
                        on=loss.on,
                        inputs=loss.inputs,
                        weight=loss.weight,
                        sample_weight=loss.sample_weight,
                        label=label,
                    )
            for label, evaluation in spec.evaluations.items():
                self._evaluations[label] = self._eval_phase(label, evaluation, ("evaluations", label))
            callbacks = [self._callback(one) for one in spec.callbacks]
            with self._at():
                experiment = Experiment(
                    spec.label,
                    graph,
                    seed=spec.seed,
                    deterministic=spec.deterministic,
                    callbacks=callbacks,
                    progress=progress,
                )
            self._fill(experiment.execution_plan, spec.plan, ("plan",))
        return experiment

    @contextmanager
    def _at(self, *path: str | int, whatever: bool = False) -> Iterator[None]:
        """Turn an error inside into one that names the place in the document."""
        try:
            yield
        except Exception as error:
            known = isinstance(error, MMLError | TypeError | ValueError)
            if getattr(error, "mistakes", None) or not (known or whatever):
                raise
            raise self._fail(path, error) from error

    def _called(self, make: Callable[..., Any], use: ComponentUse) -> Any:
        """Call with a component's name and settings."""
        with self._at(*use.path):
            return make(use.name, **use.settings)

    def _loaded(self, use: ComponentUse, *leading: Any, **settings: Any) -> Any:
        """Load a component and call it with its settings."""
        with self._at(*use.path):
            return registry(use.kind).load(use.name)(*leading, **{**use.settings, **settings})

    # --- data ------------------------------------------------------------------------------------------

    def _featureset(self, label: str, spec: DataSpec) -> FeatureSet:
        path = ("data", label)
        if isinstance(spec.file, str):
            columns = {"target_keys": spec.targets, "tag_keys": spec.tags}
            if isinstance(spec.features, str | list):
                columns["feature_keys"] = spec.features
            with self._at(*path, "file", whatever=True):
                made = read_featureset(label, self._folder / spec.file, keys=columns)
        else:
            dataset: Any = spec.dataset
            with self._at(*dataset.path, whatever=True):
                keywords = registry("datasets").load(dataset.name)(**dataset.settings)
                made = FeatureSet.from_dict(label, **keywords)
        for number, split in enumerate(spec.splits):
            with self._at(*path, "splits", number):
                whole = made if split.of is None else made[split.of]
            with self._at(*split.splitter.path):
                whole.split(split.splitter.name, **split.splitter.settings)
        for number, one in enumerate(spec.transforms):
            scaler = self._called(Scaler, one.scaler)
            with self._at(*path, "transforms", number):
                made.fit_transform(scaler, domain=one.domain, keys=one.keys, fit_to_split=one.fit_to_split)
        return made

    def _reference(self, spec: DataReference) -> FeatureSetReference:
        columns = {"features": spec.features, "targets": spec.targets, "tags": spec.tags}
        settings: dict[str, Any] = {**columns, "rep": spec.rep, "combine": spec.combine}
        if self._with_data:
            return self._featuresets[spec.data].reference(**settings)
        return FeatureSetReference(spec.data, **settings)

    # --- graph -----------------------------------------------------------------------------------------

    def _graph(self) -> ModelGraph:
        spec = self._spec.graph
        # Known before the nodes are made, so that nodes may stand in any order.
        uuids = {label: uuid4().hex for label in spec.nodes}
        nodes = [self._node(label, one, uuids) for label, one in spec.nodes.items()]
        optimizer = None if spec.optimizer is None else self._called(Optimizer, spec.optimizer)
        with self._at("graph"):
            return ModelGraph(nodes, optimizer=optimizer, jit_compile=spec.jit_compile, label=spec.label)

    def _node(self, label: str, spec: ModelNodeSpec | MergeNodeSpec, uuids: dict[str, str]) -> ComputeNode:
        path = ("graph", "nodes", label)
        if isinstance(spec, MergeNodeSpec):
            with self._at(*path, "from"):
                upstreams = [self._upstream(one, uuids) for one in spec.upstreams]
            merge: ComputeNode = self._loaded(spec.merge, label, upstreams, uuid=uuids[label])
            return merge
        with self._at(*path, "from"):
            upstream = self._upstream(spec.upstream, uuids)
        model = self._called(Model, spec.model)
        optimizer = None if spec.optimizer is None else self._called(Optimizer, spec.optimizer)
        with self._at(*path):
            node = ModelNode(
                label, model, upstream, optimizer=optimizer, device=spec.device, uuid=uuids[label]
            )
            if spec.frozen:
                node.freeze()
        return node

    def _upstream(self, spec: str | DataReference, uuids: dict[str, str]) -> Any:
        if isinstance(spec, str) and spec in uuids:
            return ModelIOReference(label=spec, uuid=uuids[spec])
        return self._reference(DataReference(data=spec) if isinstance(spec, str) else spec)

    # --- plan ------------------------------------------------------------------------------------------

    def _fill(self, group: PhaseGroup, steps: list[Any], path: DocumentPath) -> None:
        for number, step in enumerate(steps):
            here = (*path, number)
            with self._at(*here):
                if isinstance(step, GroupStep):
                    self._fill(group.add_group(step.group), step.plan, (*here, "plan"))
                else:
                    group.add_phase(self._phase(step, here))

    def _phase(self, step: Section, path: DocumentPath) -> ExperimentPhase:
        if isinstance(step, EvalStep):
            return self._eval_phase(step.evaluate, step, path)
        if isinstance(step, FitStep):
            with self._at(*path):
                return FitPhase(
                    step.fit,
                    input_sources=self._inputs(step, None),
                    freeze_after_fit=step.freeze_after_fit,
                    **self._common(step),
                )
        assert isinstance(step, TrainStep)  # the reader makes no other
        sampler = None if step.sampler is None else self._loaded(step.sampler)
        losses = [self._losses[label] for label in step.losses]
        with self._at(*path):
            return TrainPhase(
                step.train,
                input_sources=self._inputs(step, sampler),
                losses=losses,
                n_epochs=step.epochs,
                batch_schedule=step.batch_schedule,
                on_nonfinite=step.on_nonfinite,
                **self._common(step),
            )

    def _eval_phase(self, label: str, spec: EvaluationSpec, path: DocumentPath) -> EvalPhase:
        metrics = [self._metric(one) for one in spec.metrics]
        with self._at(*path):
            return EvalPhase(
                label,
                input_sources=self._inputs(spec, None),
                losses=[self._losses[one] for one in spec.losses],
                metrics=metrics,
                batch_size=spec.batch_size,
                on_nonfinite=spec.on_nonfinite,
                **self._common(spec),
            )

    def _common(self, step: PhaseSection) -> dict[str, Any]:
        recording = step.result_recording
        return {
            "active_nodes": step.nodes,
            "callbacks": [self._callback(one) for one in step.callbacks],
            "device": step.device,
            **({"result_recording": recording} if isinstance(recording, str) else {}),
        }

    def _inputs(self, step: PhaseSection, sampler: Any) -> list[InputBinding]:
        if isinstance(step.inputs, list):
            return [self._binding(one) for one in step.inputs]
        return [every_head(step.split if isinstance(step.split, str) else None, sampler)]

    def _binding(self, spec: InputSpec) -> InputBinding:
        upstream = None if spec.data is None else self._reference(DataReference(data=spec.data))
        sampler = None if spec.sampler is None else self._loaded(spec.sampler)
        return InputBinding(spec.node, spec.split, sampler, upstream, spec.stream)

    def _callback(self, use: ComponentUse) -> Any:
        with self._at(*use.path):
            target = registry(use.kind).load(use.name)
            if target is Evaluation:
                settings = dict(use.settings)
                phase = self._evaluations[settings.pop("phase")]
                metrics = [self._metric(one) for one in settings.pop("metrics")]
                return Evaluation(phase, metrics=metrics, **settings)
            return target(**use.settings)

    def _metric(self, use: ComponentUse) -> EvaluationMetric:
        with self._at(*use.path):
            target: Any = registry(use.kind).load(use.name)
            settings = dict(use.settings)
            if target is EvalLossMetric:
                return EvalLossMetric(**settings)
            if isinstance(target, type) and issubclass(target, EvaluationMetric):
                own: EvaluationMetric = target(**settings)
                return own
            node, name = settings.pop("node", None), settings.pop("name", None)
            return OutputMetric(target(**settings), node=node, name=name)
