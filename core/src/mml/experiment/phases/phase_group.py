"""`PhaseGroup`: phases and groups in order; an experiment's plan is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from mml.configuration import checked_config, several
from mml.errors import ConfigError, PhaseError, did_you_mean
from mml.experiment.phases.eval_phase import EvalPhase
from mml.experiment.phases.fit_phase import FitPhase
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.train_phase import TrainPhase
from mml.protocols import Config

_KINDS: dict[str, type[ExperimentPhase]] = {cls.kind: cls for cls in (TrainPhase, EvalPhase, FitPhase)}


class PhaseGroup:
    """An ordered container of phases and nested groups, with unique labels.

    Parameters
    ----------
    label : str
    phases : sequence of ExperimentPhase or PhaseGroup

    Examples
    --------
    >>> group = PhaseGroup("warm-up")
    >>> len(group)
    0
    """

    def __init__(self, label: str, phases: Sequence[Member] = ()) -> None:
        if not isinstance(label, str) or not label or "/" in label:
            raise PhaseError("A phase group needs a label without '/'.", found=repr(label))
        self.label = label
        self._members: dict[str, Member] = {}
        # A group is iterable: given alone, it is a member and not a list of them.
        for one in [phases] if isinstance(phases, ExperimentPhase | PhaseGroup) else phases:
            self._add(one)

    @property
    def phases(self) -> tuple[Member, ...]:
        """The members, in order."""
        return tuple(self._members.values())

    def add_phase(self, phase: ExperimentPhase) -> ExperimentPhase:
        """Append a phase and return it."""
        if not isinstance(phase, ExperimentPhase):
            raise PhaseError(
                "add_phase takes a phase.",
                where={"group": self.label},
                found=type(phase).__name__,
                hint="Use add_group for a PhaseGroup.",
            )
        self._add(phase)
        return phase

    def add_group(self, group: PhaseGroup | str) -> PhaseGroup:
        """Append a group, or a new one of this label, and return it."""
        made = PhaseGroup(group) if isinstance(group, str) else group
        if not isinstance(made, PhaseGroup):
            raise PhaseError(
                "add_group takes a PhaseGroup or a label.",
                where={"group": self.label},
                found=type(made).__name__,
                hint="Use add_phase for a phase.",
            )
        self._add(made)
        return made

    def remove(self, key: str | int) -> Member:
        """Take the member of a label or index out and return it."""
        member = self[key]
        self._members = {label: one for label, one in self._members.items() if one is not member}
        return member

    def _add(self, member: Member) -> None:
        if not isinstance(member, ExperimentPhase | PhaseGroup):
            raise PhaseError(
                "A group holds phases and groups.", where={"group": self.label}, found=type(member).__name__
            )
        if isinstance(member, PhaseGroup) and any(one is self for one in (member, *member.groups())):
            raise PhaseError("A group cannot contain itself.", where={"group": self.label})
        if member.label in self._members:
            raise PhaseError(
                f"The group already has a member {member.label!r}.",
                where={"group": self.label},
                hint="Give the new one another label, or remove the old one first.",
            )
        self._members[member.label] = member

    def groups(self) -> Iterator[PhaseGroup]:
        """Iterate over all groups below this one."""
        for member in self._members.values():
            if isinstance(member, PhaseGroup):
                yield member
                yield from member.groups()

    def flatten(self) -> list[ExperimentPhase]:
        """Return all phases in order of execution, groups dissolved."""
        flat: list[ExperimentPhase] = []
        for member in self._members.values():
            flat.extend(member.flatten() if isinstance(member, PhaseGroup) else [member])
        return flat

    def __getitem__(self, key: str | int) -> Member:
        if isinstance(key, int):
            try:
                return self.phases[key]
            except IndexError as cause:
                raise PhaseError(
                    f"The group has {len(self)} members, none at {key}.", where={"group": self.label}
                ) from cause
        if key not in self._members:
            raise PhaseError(
                f"The group has no member {key!r}.",
                where={"group": self.label},
                hint=did_you_mean(str(key), self._members),
            )
        return self._members[key]

    def __iter__(self) -> Iterator[Member]:
        return iter(self.phases)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, label: object) -> bool:
        return label in self._members

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PhaseGroup) and self.label == other.label and self.phases == other.phases

    __hash__ = None  # type: ignore[assignment]  # mutable

    def get_config(self) -> Config:
        """Return the members' configurations in order."""
        return {"group": self.label, "phases": [one.get_config() for one in self.phases]}

    @classmethod
    def from_config(cls, config: Config) -> PhaseGroup:
        """Build an equal group.

        Raises
        ------
        ConfigError
            If a key is unknown or missing.
        """
        given = checked_config(config, "a phase group", required=("group", "phases"))
        what = f"the phase group {given['group']!r}"
        return cls(given["group"], [member_from_config(one) for one in several(given, "phases", what)])

    def __repr__(self) -> str:
        return f"PhaseGroup({self.label!r}, {list(self._members)})"


Member: TypeAlias = ExperimentPhase | PhaseGroup


def member_from_config(config: Config) -> Member:
    """Build a phase or a group, whichever the configuration describes."""
    if isinstance(config, dict) and "group" in config:
        return PhaseGroup.from_config(config)
    return phase_from_config(config)


def phase_from_config(config: Config) -> ExperimentPhase:
    """Build a phase of the kind that the configuration names.

    Raises
    ------
    ConfigError
        If there is no such kind, or a key is unknown or missing.
    """
    kind = str(config.get("phase")) if isinstance(config, dict) else repr(config)
    if kind not in _KINDS:
        raise ConfigError(f"There is no kind of phase called {kind!r}.", hint=did_you_mean(kind, _KINDS))
    return _KINDS[kind].from_config(config)
