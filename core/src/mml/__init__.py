"""MML (Modular ML): compose machine-learning experiments out of parts that know nothing of each other."""

from mml.backends import Backend
from mml.context import ExperimentContext, ExperimentNode, RegistrationPolicy
from mml.data import FeatureSet, FeatureSetReference, FeatureSetView, SampleCollection
from mml.errors import LeakageError, LeakageWarning, MMLError, MMLWarning
from mml.experiment import Experiment
from mml.experiment.callbacks import (
    Callback,
    EarlyStopping,
    EvalLossMetric,
    Evaluation,
    EvaluationMetric,
    ExperimentCallback,
    FreezeChange,
    OutputMetric,
)
from mml.experiment.phases import (
    BatchSchedulingPolicy,
    EvalPhase,
    ExecutionContext,
    ExperimentPhase,
    FitPhase,
    InputBinding,
    PhaseGroup,
    TrainPhase,
)
from mml.experiment.results import AxisSeries, CallbackResult, MetricResult
from mml.graph import (
    AppliedLoss,
    ConcatNode,
    Loss,
    MergeNode,
    Model,
    ModelGraph,
    ModelIOReference,
    ModelNode,
    Optimizer,
)
from mml.plugins import registry
from mml.processing import (
    Batch,
    BatchView,
    ConditionSplitter,
    MinMaxScaler,
    RandomSplitter,
    Scaler,
    SimpleSampler,
    StandardScaler,
)
from mml.protocols import Configurable, Stateful
from mml.strictness import strict
from mml.version import __version__

__all__ = [
    "AppliedLoss",
    "AxisSeries",
    "Backend",
    "Batch",
    "BatchSchedulingPolicy",
    "BatchView",
    "Callback",
    "CallbackResult",
    "ConcatNode",
    "ConditionSplitter",
    "Configurable",
    "EarlyStopping",
    "EvalLossMetric",
    "EvalPhase",
    "Evaluation",
    "EvaluationMetric",
    "ExecutionContext",
    "Experiment",
    "ExperimentCallback",
    "ExperimentContext",
    "ExperimentNode",
    "ExperimentPhase",
    "FeatureSet",
    "FeatureSetReference",
    "FeatureSetView",
    "FitPhase",
    "FreezeChange",
    "InputBinding",
    "LeakageError",
    "LeakageWarning",
    "Loss",
    "MMLError",
    "MMLWarning",
    "MergeNode",
    "MetricResult",
    "MinMaxScaler",
    "Model",
    "ModelGraph",
    "ModelIOReference",
    "ModelNode",
    "Optimizer",
    "OutputMetric",
    "PhaseGroup",
    "RandomSplitter",
    "RegistrationPolicy",
    "SampleCollection",
    "Scaler",
    "SimpleSampler",
    "StandardScaler",
    "Stateful",
    "TrainPhase",
    "__version__",
    "registry",
    "strict",
]
