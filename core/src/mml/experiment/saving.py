"""Experiments as ``.mml`` archives: structure, values and data, each a member of its own."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mml.context import ExperimentContext, RegistrationPolicy
from mml.data import FeatureSet
from mml.files import ArchiveKind, read_archive, write_archive
from mml.plugins import get_manager
from mml.registry import reading_file

if TYPE_CHECKING:
    from mml.experiment.experiment import Experiment


def save_experiment(experiment: Experiment, path: str | PathLike[str]) -> Path:
    """Write an experiment with its FeatureSets, values and history."""
    target = Path(path)
    members: dict[str, Any] = {}
    names = []
    for number, featureset in enumerate(experiment.featuresets):
        names.append(f"featuresets/{number}/")
        members.update(featureset.archive_members(prefix=names[-1]))
    config = {"experiment": experiment.get_config(), "featuresets": names}
    write_archive(
        target,
        kind=ArchiveKind.EXPERIMENT,
        members={"config": config, "state": experiment.get_state(), **members},
        plugins={one.name: one.version for one in get_manager().plugins},
    )
    return target


def load_experiment(
    cls: type[Experiment], path: str | PathLike[str], *, trusted: Sequence[str]
) -> Experiment:
    """Read an experiment back; code that the file names and nobody vouches for is refused by name."""
    with read_archive(path, kind=ArchiveKind.EXPERIMENT) as archive, reading_file(trusted=trusted):
        config = archive.json("config")
        with ExperimentContext(policy=RegistrationPolicy.NO_REGISTER).activate():
            featuresets = [
                FeatureSet.from_archive(archive, path=path, prefix=prefix) for prefix in config["featuresets"]
            ]
        with ExperimentContext().activate():
            experiment = cls.from_config(config["experiment"], featuresets=featuresets)
        experiment.set_state(archive.state("state"))
    return experiment
