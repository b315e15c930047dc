"""The kinds of phase results by name, for building them from state."""

from __future__ import annotations

from mml.errors import StateError, did_you_mean
from mml.experiment.results.eval_results import EvalResults
from mml.experiment.results.fit_results import FitResults
from mml.experiment.results.phase_results import PhaseResults
from mml.experiment.results.state_fields import field
from mml.experiment.results.train_results import TrainResults
from mml.protocols import State

_KINDS: dict[str, type[PhaseResults]] = {
    kind.__name__: kind for kind in (PhaseResults, TrainResults, EvalResults, FitResults)
}


def phase_results_from_state(state: State) -> PhaseResults:
    """Build phase results of the kind and label that a state names.

    Raises
    ------
    StateError
        If there is no such kind, or the state does not fit it.
    """
    kind = field(state, "kind", kind=str)
    if kind not in _KINDS:
        raise StateError(f"There are no results of kind {kind!r}.", hint=did_you_mean(kind, _KINDS))
    results = _KINDS[kind](field(state, "label", kind=str))
    results.set_state(state)
    return results
