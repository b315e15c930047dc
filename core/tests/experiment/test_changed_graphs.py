"""An experiment whose graph is changed between its runs, and one whose data is made after it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import mml
from mml.errors import GraphError, LeakageWarning, MMLError, PairingWarning

from .toy import digest, experiment, in_own_context, mse, network, rows, training, validation


@pytest.fixture(autouse=True)
def _clean_default_context():
    """These tests are about the context that a script uses."""
    default = mml.ExperimentContext.process_default()
    put_back = default.remember()
    yield
    put_back()


def more_rows():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(47, 2)).astype(np.float32)
    made = mml.FeatureSet.from_dict("more", {"u": x}, feature_keys="u")
    made.split_random(ratios={"train": 0.6, "val": 0.2, "test": 0.2}, seed=0)
    return made


def test_what_a_change_brings_is_taken_over_and_its_labels_are_free_again():
    made = experiment()
    graph, default = made.graph, mml.ExperimentContext.process_default()
    made.run()
    more = more_rows()
    side = mml.ModelNode("side", mml.Model("reference/mlp", output_shape=3), more)
    both = mml.SumNode("both", [graph["trunk"], side], targets="trunk")
    graph.add_node(side)
    assert side.is_built
    graph.insert_node_between(both, "trunk", "head")
    assert made.context.get("side") is side
    assert made.context.get("more") is more
    assert not {"side", "both", "more"} & set(default.labels())
    with pytest.warns(PairingWarning):
        made.run()
    assert made.history[-1].status == "completed"
    with pytest.raises(GraphError):
        graph.remove_node("both")
    assert made.context.get("both") is both


def test_training_goes_on_with_the_slots_of_what_stayed():
    made = experiment()
    made.run()
    steps = {name: slots["step"] for name, slots in made.graph.optimizer.get_state().items()}
    with mml.ExperimentContext().activate():
        new = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), made.graph["trunk"])
    made.graph.replace_node("head", new)
    made.run()
    after = {name: slots["step"] for name, slots in made.graph.optimizer.get_state().items()}
    assert {after[name] - steps[name] for name in steps if name.startswith("trunk/")} == {18}
    assert {after[name] for name in steps if name.startswith("head/")} == {18}


def test_reset_returns_what_is_in_the_graph_by_now_to_its_initial_values():
    made = experiment()
    made.graph["trunk"].freeze()
    before = digest(made)
    made.run()
    made.graph.add_node(mml.ModelNode("tail", mml.Model("reference/mlp", output_shape=1), made.graph["head"]))
    made.reset()
    assert made.graph["trunk"].frozen_by == "user"
    made.graph.remove_node("tail")
    assert digest(made) == before


def test_a_node_in_the_place_of_another_did_not_see_its_rows():
    def check(replaced):
        made = in_own_context(lambda: mml.Experiment("toy", network(rows())))
        made.run_phase(training(n_epochs=1))
        if replaced:
            for label, width in (("trunk", 3), ("head", 1)):
                with mml.ExperimentContext().activate():
                    new = mml.ModelNode(
                        label,
                        mml.Model("reference/mlp", output_shape=width),
                        made.graph[label].upstream[0],
                    )
                made.graph.replace_node(label, new)
        both = mml.EvalPhase.from_split("all", split=None, losses=[mse()])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            made.run_phase(both)
        return [one for one in said if issubclass(one.category, LeakageWarning)]

    assert check(replaced=False)
    assert not check(replaced=True)


def test_a_callback_cannot_change_the_running_graph():
    class Remover(mml.Callback):
        def on_epoch_end(self, *, experiment, **_):
            experiment.graph.remove_node("trunk")

    made = experiment(phases=[training(callbacks=[Remover()])])
    with pytest.raises(MMLError, match="being run"):
        made.run()
    assert list(made.graph.nodes) == ["trunk", "head"]


def test_an_experiment_on_data_that_does_not_exist_yet_runs_once_it_does():
    reference = mml.FeatureSetReference("rows", features="x", targets="y")
    head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), reference)
    made = mml.Experiment("early", mml.ModelGraph([head], optimizer="sgd"))
    made.execution_plan.add_phase(training(n_epochs=1))
    with pytest.raises(MMLError) as caught:
        made.run()
    assert "'rows'" in str(caught.value)
    assert "node 'head'" in str(caught.value)
    assert made.last_run.status == "failed"
    data = rows()
    made.run()
    assert made.featuresets == (data,)
    assert made.preview_phase(validation()).aggregated_losses()
    assert "rows" not in mml.ExperimentContext.process_default().labels()
