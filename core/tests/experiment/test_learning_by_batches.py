"""Models that learn batch by batch without gradients: what they are told, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import OptimizerError, PhaseError
from mml.plugins import get_manager

from . import fitting

N_ROWS = 41


@pytest.fixture(autouse=True)
def fitting_plugin():
    """Let models of the test plugin be named while a test runs."""
    get_manager().register_module(fitting)
    yield
    get_manager().unregister(fitting.NAME)


def data(**targets):
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=(N_ROWS, 3)).astype(np.float32), **targets}
    made = mml.FeatureSet.from_dict("rows", columns, feature_keys="x", target_keys=list(targets))
    made.split_random(ratios={"train": 0.5, "rest": 0.5}, seed=1)
    return made


def counting(rows, *, model="fitting/counts", **settings):
    node = mml.ModelNode("counts", mml.Model(model), rows, **settings)
    return mml.Experiment("toy", mml.ModelGraph([node]))


def train(n_epochs=1, **settings):
    sampler = mml.SimpleSampler(batch_size=6)
    return mml.TrainPhase.from_split("train", split="train", sampler=sampler, n_epochs=n_epochs, **settings)


def test_every_row_of_the_split_is_seen_once_an_epoch():
    made = counting(data(y=np.arange(N_ROWS) % 3))
    made.run_phase(train(3))
    assert made.graph["counts"].model.value == 3 * 21


def test_the_classes_are_those_of_the_whole_bound_split_and_of_no_other_row():
    rows = data(y=np.arange(N_ROWS))
    made = counting(rows)
    made.run_phase(train())
    expected = sorted(rows["train"].get_targets("y").ravel().tolist())
    assert made.graph["counts"].model.classes.tolist() == expected


@pytest.mark.parametrize("apart", [True, False])
def test_several_targets_have_a_list_of_classes_each(apart):
    a, b = np.arange(N_ROWS) % 2, np.arange(N_ROWS) % 3 + 5
    rows = data(a=a, b=b) if apart else data(y=np.stack([a, b], axis=1))
    made = counting(rows)
    made.run_phase(train())
    assert [one.tolist() for one in made.graph["counts"].model.classes] == [[0, 1], [5, 6, 7]]


def test_an_optimizer_of_such_a_node_is_refused_where_it_would_do_nothing():
    made = counting(data(y=np.arange(N_ROWS)), optimizer="adam")
    with pytest.raises(OptimizerError, match="takes no optimizer") as caught:
        made.run_phase(train())
    assert "node 'counts'" in caught.value.where
    assert "Leave it out" in caught.value.hint


def test_training_what_can_only_be_fitted_leads_to_a_fit_phase():
    made = counting(data(y=np.arange(N_ROWS)), model="fitting/centre")
    with pytest.raises(PhaseError, match="can be trained") as caught:
        made.run_phase(train())
    assert caught.value.hint == "A FitPhase can do it for 'counts'."


def test_a_frozen_node_is_to_be_unfrozen_and_not_fitted():
    made = counting(data(y=np.arange(N_ROWS)))
    made.graph["counts"].freeze()
    with pytest.raises(PhaseError, match="can be trained") as caught:
        made.run_phase(train())
    assert "Unfreeze" in caught.value.hint
