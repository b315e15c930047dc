"""PhaseGroupResults: the results of a group of phases, in the shape of the group."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import TypeAlias, TypeVar, Union

from mml.errors import ResultError, StateError, did_you_mean, listed
from mml.experiment.results.eval_results import EvalResults
from mml.experiment.results.execution_meta import PhaseGroupExecutionMeta
from mml.experiment.results.execution_record import ExecutionRecord
from mml.experiment.results.fit_results import FitResults
from mml.experiment.results.phase_results import PhaseResults
from mml.experiment.results.result_kinds import phase_results_from_state
from mml.experiment.results.state_fields import field
from mml.experiment.results.summary import heading, phase_rows
from mml.experiment.results.train_results import TrainResults
from mml.protocols import State

ChildResults: TypeAlias = Union[PhaseResults, "PhaseGroupResults"]
_Kind = TypeVar("_Kind", bound=PhaseResults)


class PhaseGroupResults(ExecutionRecord):
    """Results of phases and nested groups by label, in order of execution.

    Parameters
    ----------
    label : str
        Label of the group.
    children : iterable of PhaseResults or PhaseGroupResults
        Results to start with.
    """

    def __init__(self, label: str, children: Iterable[ChildResults] = ()) -> None:
        super().__init__(label)
        self._children: dict[str, ChildResults] = {}
        for child in children:
            self.add(child)

    def add(self, child: ChildResults) -> None:
        """Append the results of the next phase or sub-group.

        Raises
        ------
        ResultError
            If the label is taken in this group.
        """
        if child.label in self._children:
            raise ResultError(
                f"The group already has results labelled {child.label!r}.",
                where={"group": self.label},
                hint="Give the phases of one group different labels, or put them into groups of their own.",
            )
        self._children[child.label] = child

    def __getitem__(self, key: str | int) -> ChildResults:
        """Return a child by label or by position."""
        if isinstance(key, int):
            if not -len(self) <= key < len(self):
                raise ResultError(
                    f"The group has no position {key}.",
                    where={"group": self.label},
                    expected=f"less than {len(self)}",
                )
            return list(self._children.values())[key]
        if key not in self._children:
            raise ResultError(
                f"The group has no results labelled {key!r}.",
                where={"group": self.label},
                hint=did_you_mean(str(key), self._children),
            )
        return self._children[key]

    def __contains__(self, label: object) -> bool:
        return label in self._children

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the labels, as a dict does."""
        return iter(self._children)

    def keys(self) -> KeysView[str]:
        """Labels in order of execution."""
        return self._children.keys()

    def values(self) -> ValuesView[ChildResults]:
        """Results in order of execution."""
        return self._children.values()

    def items(self) -> ItemsView[str, ChildResults]:
        """Labels and results in order of execution."""
        return self._children.items()

    def phases(self) -> list[PhaseResults]:
        """List the results of all phases, nested ones included, in order of execution."""
        found: list[PhaseResults] = []
        for child in self._children.values():
            found += child.phases() if isinstance(child, PhaseGroupResults) else [child]
        return found

    def flatten(self) -> dict[str, PhaseResults]:
        """Return the results of all phases by label, nested ones included.

        Raises
        ------
        ResultError
            If a label stands in several groups.
        """
        phases = self.phases()
        flat = {phase.label: phase for phase in phases}
        if len(flat) < len(phases):
            labels = [phase.label for phase in phases]
            repeated = [label for label in flat if labels.count(label) > 1]
            raise ResultError(
                "Results with equal labels cannot be flattened.",
                where={"group": self.label},
                found=listed(repeated),
                hint="Read them through their groups: results[group][label].",
            )
        return flat

    def get_train_result(self, label: str | None = None) -> TrainResults:
        """Return the results of a TrainPhase, nested ones included.

        Parameters
        ----------
        label : str, optional
            May be left out where there is only one.

        Raises
        ------
        ResultError
            If there is none, or several; the message lists what exists.
        """
        return self._of_kind(TrainResults, label)

    def get_eval_result(self, label: str | None = None) -> EvalResults:
        """Return the results of an EvalPhase; as :meth:`get_train_result`."""
        return self._of_kind(EvalResults, label)

    def get_fit_result(self, label: str | None = None) -> FitResults:
        """Return the results of a FitPhase; as :meth:`get_train_result`."""
        return self._of_kind(FitResults, label)

    @property
    def meta(self) -> PhaseGroupExecutionMeta:
        """Timing and status of the group and all below it, without the results."""
        return PhaseGroupExecutionMeta(
            label=self.label,
            kind=type(self).__name__,
            status=self.status,
            started_at=self.started_at,
            ended_at=self.ended_at,
            failure=self.failure,
            children=tuple(child.meta for child in self._children.values()),
        )

    def summary(self) -> str:
        """Describe the group as plain text, a line per phase."""
        rows = iter(phase_rows([one for one in self._children.values() if isinstance(one, PhaseResults)]))
        lines = [heading(self)]
        for child in self._children.values():
            text = child.summary() if isinstance(child, PhaseGroupResults) else next(rows)
            lines += ["  " + line for line in text.splitlines()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label!r} {self.status}: {listed(self._children) or 'empty'}>"

    def get_state(self) -> State:
        """Return all results: arrays and JSON only."""
        return self._record_state() | {"children": [child.get_state() for child in self._children.values()]}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; a state that does not fit changes nothing."""
        record = self._checked_record(state)
        children: dict[str, ChildResults] = {}
        for child_state in field(state, "children", kind=list):
            child = results_from_state(child_state)
            if child.label in children:
                raise StateError(f"The state of group {self.label!r} holds {child.label!r} twice.")
            children[child.label] = child
        for name, value in (record | {"_children": children}).items():
            setattr(self, name, value)

    def _of_kind(self, kind: type[_Kind], label: str | None) -> _Kind:
        known = [phase for phase in self.phases() if isinstance(phase, kind)]
        found = [phase for phase in known if label in (None, phase.label)]
        if len(found) == 1:
            return found[0]
        asked = kind.__name__ if label is None else f"{kind.__name__} labelled {label!r}"
        if found:
            raise ResultError(
                f"There are {len(found)} {asked}.",
                where={"group": self.label},
                found=listed(phase.label for phase in found),
                hint="Name one, or read it through its group: results[group].",
            )
        raise ResultError(
            f"There is no {asked}.",
            where={"group": self.label},
            expected=f"one of {listed(phase.label for phase in known)}" if known else None,
            found=listed(f"{type(phase).__name__} {phase.label}" for phase in self.phases()) or "no results",
        )


def results_from_state(state: State) -> ChildResults:
    """Build the results of a phase or a group from its state."""
    if field(state, "kind", kind=str) != PhaseGroupResults.__name__:
        return phase_results_from_state(state)
    group = PhaseGroupResults(field(state, "label", kind=str))
    group.set_state(state)
    return group
