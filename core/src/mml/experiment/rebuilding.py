"""Experiments out of configurations: structure anew, data looked up, nothing trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mml.configuration import checked_config, several
from mml.context import ExperimentContext, RegistrationPolicy
from mml.data import FeatureSet
from mml.errors import ConfigError
from mml.experiment.callbacks.callback import ExperimentCallback
from mml.experiment.phases.phase_group import PhaseGroup
from mml.graph import ModelGraph
from mml.protocols import Config

if TYPE_CHECKING:
    from mml.experiment.experiment import Experiment

_WHAT = "an experiment"


def experiment_from_config(
    cls: type[Experiment], config: Config, *, featuresets: Sequence[FeatureSet]
) -> Experiment:
    """Build an experiment in a context of its own; data that is not given is looked up in the active one."""
    config = checked_config(
        config,
        _WHAT,
        required=("label", "graph", "execution_plan"),
        optional=("seed", "deterministic", "callbacks"),
    )
    outside = ExperimentContext.active()
    inside = ExperimentContext(policy=RegistrationPolicy.ERROR)
    with inside.activate():
        for reference in _references(config):
            found = _featureset(reference, featuresets, outside)
            if found is not None and found not in inside:
                inside.register(found)
        experiment = cls(
            config["label"],
            None if config["graph"] is None else ModelGraph.from_config(config["graph"]),
            seed=config.get("seed", 0),
            deterministic=config.get("deterministic", False),
            callbacks=[ExperimentCallback.from_config(one) for one in several(config, "callbacks", _WHAT)],
        )
    for one in featuresets:
        # What losses and bindings read beside the graph.
        if one not in experiment.context:
            experiment.context.register(one)
    experiment.execution_plan = PhaseGroup.from_config(config["execution_plan"])
    return experiment


def _featureset(
    reference: Config, given: Sequence[FeatureSet], outside: ExperimentContext
) -> FeatureSet | None:
    """Return the FeatureSet that is meant; None where it may be made later."""
    for one in given:
        if reference["uuid"] == one.uuid or reference["label"] == one.label:
            return one
    found = outside.find(reference["uuid"]) or outside.find(reference["label"])
    return found if isinstance(found, FeatureSet) else None


def _references(config: Config) -> list[Config]:
    """Return the FeatureSet references in the configuration's graph."""
    found = []
    graph = {} if config["graph"] is None else config["graph"]
    if not isinstance(graph, dict):
        raise ConfigError(f"The graph in the configuration of {_WHAT} is no mapping.", found=f"{graph!r}")
    for node in graph.get("nodes", ()):
        for upstream in [node["upstream"]] if "upstream" in node else node.get("upstreams", ()):
            if "node" not in upstream:
                found.append(upstream)
    return found
