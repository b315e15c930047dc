"""Core's own components, declared through the same hooks as any plugin's.

Targets are text, so that this module knows the names of the floors above it and imports none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mml.plugins.declarations import API_VERSION, Claim, PluginInfo
from mml.plugins.markers import hookimpl
from mml.registry import CORE, Component

_DECLARED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "backends": {
        "numpy": ("mml.backends.numpy_backend:NumpyBackend", "Forward and hand-derived gradients in NumPy."),
    },
    "scalers": {
        "standard": ("mml.processing.scalers:StandardScaler", "Mean 0 and standard deviation 1 per column."),
        "minmax": ("mml.processing.scalers:MinMaxScaler", "From smallest to largest value onto a range."),
        "maxabs": ("mml.processing.scalers:MaxAbsScaler", "The largest absolute value becomes 1."),
        "robust": ("mml.processing.scalers:RobustScaler", "Median and quantile range; ignores outliers."),
        "per_sample_minmax": (
            "mml.processing.scalers:PerSampleMinMaxScaler",
            "Each sample from its own smallest to its own largest value onto a range.",
        ),
        "per_sample_zero": (
            "mml.processing.scalers:PerSampleZeroStart",
            "Each sample shifted so that it starts at zero, or at an offset.",
        ),
        "negate": ("mml.processing.scalers:NegateScaler", "The opposite sign."),
        "absolute": ("mml.processing.scalers:AbsoluteScaler", "The value without its sign."),
        "segmented": (
            "mml.processing.scalers:SegmentedScaler",
            "Each segment of a sample by itself.",
        ),
    },
    "splitters": {
        "random": ("mml.processing.splitters:RandomSplitter", "Random rows, grouped or stratified."),
        "condition": ("mml.processing.splitters:ConditionSplitter", "Rows that fulfil conditions."),
    },
    "samplers": {
        "simple": ("mml.processing.samplers:SimpleSampler", "Batches of rows, in order or shuffled."),
        "paired": ("mml.processing.samplers:PairedSampler", "Every row with a partner by conditions."),
        "triplet": (
            "mml.processing.samplers:TripletSampler",
            "Every row with one like it and one unlike it.",
        ),
        "n": ("mml.processing.samplers:NSampler", "Every row with partners in any number of roles."),
        "aligned": ("mml.processing.samplers:AlignedSampler", "Rows of several FeatureSets that match."),
    },
    "merge_nodes": {
        "concat": ("mml.graph.nodes:ConcatNode", "Concatenates its upstreams along an axis."),
        "sum": ("mml.graph.nodes:SumNode", "Adds up upstreams of one shape."),
        "mean": ("mml.graph.nodes:MeanNode", "Averages upstreams of one shape."),
        "stack": ("mml.graph.nodes:StackNode", "Stacks upstreams of one shape along a new axis."),
    },
    "callbacks": {
        "evaluation": ("mml.experiment.callbacks:Evaluation", "Runs an EvalPhase during training."),
        "early_stopping": ("mml.experiment.callbacks:EarlyStopping", "Stops when a metric stops improving."),
    },
    "metrics": {
        "eval_loss": ("mml.experiment.callbacks:EvalLossMetric", "A loss of an evaluation as a metric."),
        "accuracy": ("mml.experiment.metrics:Accuracy", "Share of rows classified rightly."),
        "auroc": ("mml.experiment.metrics:AUROC", "Area under the ROC curve, exact with ties."),
        "f1": ("mml.experiment.metrics:F1Score", "Harmonic mean of precision and recall."),
        "mae": ("mml.experiment.metrics:MeanAbsoluteError", "Mean absolute error."),
        "rmse": ("mml.experiment.metrics:RootMeanSquaredError", "Root of the mean squared error."),
        "r2": ("mml.experiment.metrics:R2Score", "Share of the variance that is explained."),
    },
    "losses": {
        "mse": ("mml.graph.losses.canonical:mse", "Mean squared error."),
        "mae": ("mml.graph.losses.canonical:mae", "Mean absolute error."),
        "bce_logits": ("mml.graph.losses.canonical:bce_logits", "Binary cross-entropy of logits."),
        "bce": ("mml.graph.losses.canonical:bce", "Binary cross-entropy of probabilities."),
        "cross_entropy": (
            "mml.graph.losses.canonical:cross_entropy",
            "Cross-entropy of logits over classes.",
        ),
        "huber": ("mml.graph.losses.canonical:huber", "Squared near zero, absolute beyond."),
        "log_cosh": ("mml.graph.losses.canonical:log_cosh", "Logarithm of the error's hyperbolic cosine."),
        "nll": ("mml.graph.losses.canonical:nll", "Negative log-likelihood of log-probabilities."),
        "kl_div": ("mml.graph.losses.canonical:kl_div", "Kullback-Leibler divergence of log-probabilities."),
        "cosine": ("mml.graph.losses.canonical:cosine", "One minus the cosine of the angle between rows."),
        "hinge": ("mml.graph.losses.canonical:hinge", "Hinge loss for targets of -1 and 1."),
        "gaussian_nll": ("mml.graph.losses.canonical:gaussian_nll", "Likelihood of a mean and a variance."),
        "triplet": ("mml.graph.losses.embedding:triplet", "Anchors nearer to positives than to negatives."),
        "contrastive": ("mml.graph.losses.embedding:contrastive", "Equal labels near, others a margin away."),
    },
    "optimizers": {
        "sgd": ("mml.graph.optimizers.canonical:Sgd", "Gradient descent with momentum or nesterov."),
        "adam": ("mml.graph.optimizers.canonical:Adam", "Adam; weight decay as L2."),
        "adamw": ("mml.graph.optimizers.canonical:AdamW", "Adam with decoupled weight decay."),
        "rmsprop": ("mml.graph.optimizers.canonical:RMSprop", "Steps divided by a running root mean square."),
        "adagrad": ("mml.graph.optimizers.canonical:Adagrad", "Steps divided by the root of all squares."),
    },
}


@hookimpl
def mml_plugin() -> PluginInfo:
    """Return core's identity."""
    return PluginInfo(CORE, api_version=(API_VERSION, API_VERSION))


@hookimpl
def mml_components() -> Iterator[Component]:
    """Declare what core brings."""
    for kind, declared in _DECLARED.items():
        for name, (target, text) in declared.items():
            yield Component(kind, CORE, name, target, text)


@hookimpl
def mml_claims() -> tuple[Claim, ...]:
    """Claim nothing: core's own objects need no wrapping."""
    return ()
