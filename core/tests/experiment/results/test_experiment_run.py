"""An entry of the history: what ran, when, how it ended, and that it can be saved."""

from datetime import UTC, datetime, timedelta

import pytest

from mml.errors import StateError
from mml.experiment.results import EvalResults, ExperimentRun, PhaseGroupResults
from mml.files.state_codec import flatten_state, unflatten_state


def failed_run():
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return ExperimentRun(
        "breast-cancer",
        PhaseGroupResults("plan", [EvalResults("test")]),
        status="failed",
        started_at=start,
        ended_at=start + timedelta(seconds=1.5),
        exception=RuntimeError("out of cheese"),
    )


def test_a_run_knows_when_and_how():
    run = failed_run()
    assert run.duration_s == 1.5
    assert isinstance(run.exception, RuntimeError)
    assert run.meta.children[0].label == "test"
    assert "failed in 1.5 s" in repr(run)
    assert "test" in run.summary()


def test_a_run_comes_back_from_its_state():
    run = failed_run()
    other = ExperimentRun("breast-cancer", PhaseGroupResults("anything"))
    state = unflatten_state(*flatten_state(run.get_state()))
    other.set_state(state)
    for one in (other, ExperimentRun.from_state(state)):
        assert (one.label, one.status, one.duration_s) == ("breast-cancer", "failed", 1.5)
        assert str(one.failure) == "RuntimeError: out of cheese"
        assert one.meta == run.meta


def test_a_state_of_another_run_is_refused():
    other = ExperimentRun("other", PhaseGroupResults("plan"))
    with pytest.raises(StateError, match="'breast-cancer'"):
        other.set_state(failed_run().get_state())
    assert other.status == "running"
