"""Results of groups mirror the plan, and are found by label, position and kind."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mml.errors import ResultError, StateError
from mml.experiment.results import (
    EvalResults,
    FitResults,
    PhaseExecutionMeta,
    PhaseGroupExecutionMeta,
    PhaseGroupResults,
    TrainResults,
)
from mml.files.state_codec import flatten_state, unflatten_state


def plan():
    train = TrainResults("train")
    train.metric_store.log("train_loss", 0.25, epoch=0)
    train.status = "stopped"
    train.started_at = datetime(2024, 1, 1, tzinfo=UTC)
    train.ended_at = train.started_at + timedelta(seconds=3)
    group = PhaseGroupResults("fit", [FitResults("pca"), train])
    results = PhaseGroupResults("plan", [group])
    results.add(EvalResults("test"))
    results.status = "completed"
    return results


def test_children_are_found_by_label_and_position_in_order():
    results = plan()
    assert list(results) == list(results.keys()) == ["fit", "test"]
    assert results[0] is results["fit"]
    assert results[-1] is results["test"]
    assert [label for label, _ in results.items()] == [child.label for child in results.values()]
    assert len(results) == 2
    assert "test" in results


@pytest.mark.parametrize(
    ("key", "message"), [("tset", "Did you mean 'test'"), (2, "position 2"), (-3, "position -3")]
)
def test_an_unknown_child_is_a_result_error(key, message):
    with pytest.raises(ResultError, match=message):
        plan()[key]


def test_a_label_stands_once_in_a_group():
    with pytest.raises(ResultError, match="'test'"):
        plan().add(EvalResults("test"))


def test_the_only_result_of_a_kind_needs_no_label_even_nested():
    results = plan()
    assert results.get_train_result() is results["fit"]["train"]
    assert results.get_eval_result("test") is results["test"]
    assert results.get_fit_result().label == "pca"


def test_a_missing_or_ambiguous_kind_lists_what_exists():
    results = plan()
    with pytest.raises(ResultError, match="TrainResults train"):
        results.get_eval_result("train")
    results.add(EvalResults("validate"))
    with pytest.raises(ResultError, match="'test', 'validate'"):
        results.get_eval_result()
    with pytest.raises(ResultError, match="no TrainResults"):
        PhaseGroupResults("empty").get_train_result()
    results.add(PhaseGroupResults("again", [EvalResults("test")]))
    with pytest.raises(ResultError, match="2 EvalResults labelled 'test'"):
        results.get_eval_result("test")


def test_flatten_needs_unique_labels():
    results = plan()
    assert list(results.flatten()) == ["pca", "train", "test"]
    results.add(PhaseGroupResults("again", [EvalResults("test")]))
    with pytest.raises(ResultError, match="'test'"):
        results.flatten()


def test_meta_is_a_tree_of_times_and_states():
    meta = plan().meta
    assert isinstance(meta, PhaseGroupExecutionMeta)
    fit, test = meta.children
    assert isinstance(test, PhaseExecutionMeta)
    assert [child.label for child in fit.children] == ["pca", "train"]
    assert fit.children[1].status == "stopped"
    assert fit.children[1].duration_s == 3.0
    assert test.duration_s is None


def test_state_comes_back():
    results, other = plan(), PhaseGroupResults("plan")
    other.set_state(unflatten_state(*flatten_state(results.get_state())))
    assert other.meta == results.meta
    assert other.get_train_result().metrics() == results.get_train_result().metrics()
    assert isinstance(other["fit"]["pca"], FitResults)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.update(label="other"),
        lambda state: state["children"][1].update(kind="os.system"),
        lambda state: state["children"].append(state["children"][1]),
        lambda state: state["children"].append(np.zeros(2)),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(damage):
    state = plan().get_state()
    damage(state)
    results = PhaseGroupResults("plan")
    with pytest.raises(StateError):
        results.set_state(state)
    assert len(results) == 0


def test_summary_is_a_tree_of_lines():
    lines = plan().summary().splitlines()
    assert lines[0] == "'plan' completed"
    assert lines[1] == "  'fit' running"
    assert lines[3].split() == ["train", "TrainResults", "stopped", "3", "s,", "train_loss", "0.25"]
    assert lines[4].startswith("  test ")
    assert "'fit', 'test'" in repr(plan())
