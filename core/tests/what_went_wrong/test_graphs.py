"""What went wrong with graphs and freezing elsewhere: checks that MML passes and faulty doubles do not.

A double is a few lines of NumPy, or MML with the defect built in, that answer the few calls of one check.
"""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import MMLError
from mml.files import state_digest

N_ROWS = 24


def rows(label="rows", *, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_ROWS, 3)).astype(np.float32)
    made = mml.FeatureSet.from_dict(
        label, {"x": x, "y": x.sum(1, keepdims=True)}, feature_keys="x", target_keys="y"
    )
    made.split_random(ratios={"train": 0.75, "val": 0.25}, seed=0)
    return made


def dense(label, upstream, width=1, **settings):
    return mml.ModelNode(label, mml.Model("reference/mlp", output_shape=width), upstream, **settings)


def training(*losses, label="train", **settings):
    sampler = mml.SimpleSampler(batch_size=6, shuffle=True, seed=1)
    return mml.TrainPhase.from_split(label, split="train", sampler=sampler, losses=losses, **settings)


def digest(graph, *labels):
    return [state_digest(graph[label].get_state()["model"]) for label in labels]


@pytest.fixture(autouse=True)
def _own_context():
    with mml.ExperimentContext(policy="error").activate():
        yield


# --- merges ------------------------------------------------------------------------------------------------


class Merged:
    """Two branches that meet before a head."""

    def __init__(self):
        data = rows()
        branches = [dense(label, data, 2) for label in ("a", "b")]
        both = mml.ConcatNode("both", branches)
        graph = mml.ModelGraph([*branches, both, dense("head", both)], optimizer="sgd")
        self.experiment = mml.Experiment("merged", graph)

    def values(self):
        return digest(self.experiment.graph.build(), "a", "b", "head")

    def train(self):
        self.experiment.run_phase(training(mml.AppliedLoss("mse", on="head")))


class Detached(Merged):
    """The merge is computed outside of the framework, so that nothing comes back through it."""

    def train(self):
        self.experiment.graph.freeze(["a", "b"])
        super().train()


def check_branches_learn(kind):
    made = kind()
    before = made.values()
    made.train()
    still = [old == new for old, new in zip(before, made.values(), strict=True)]
    assert not any(still), f"no gradient arrived at {still.count(True)} nodes"


def test_training_passes_through_a_merge():
    """'training through a merge raises'"""
    check_branches_learn(Merged)
    with mml.ExperimentContext().activate(), pytest.raises(AssertionError, match="arrived at 2 nodes"):
        check_branches_learn(Detached)


# --- stage by stage ----------------------------------------------------------------------------------------


class StageWise:
    """A chain without a graph optimizer."""

    def __init__(self):
        data = rows()
        first = dense("first", data, optimizer=mml.Optimizer("adam", lr=0.05))
        second = dense("second", first, optimizer=mml.Optimizer("sgd", lr=0.05, momentum=0.9))
        self.experiment = mml.Experiment("stages", mml.ModelGraph([first, second]))
        self.losses = [mml.AppliedLoss("mse", on=label) for label in ("first", "second")]

    def train(self, *, preview=False):
        run = self.experiment.preview_phase if preview else self.experiment.run_phase
        return run(training(*self.losses))

    def state(self):
        return state_digest(self.experiment.graph.get_state())

    def save(self, path):
        self.experiment.save(path)

    def load(self, path):
        self.experiment = mml.Experiment.load(path)


class WithGraphOptimizerInMind(StageWise):
    """Reads the graph's optimizer back, whether there is one or not."""

    def load(self, path):
        config = self.experiment.get_config()["graph"]
        self.experiment.graph.optimizer = mml.Optimizer.from_config(config["optimizer"])


class PreviewsByGraphOptimizer(StageWise):
    """Puts back what the graph's optimizer holds, and forgets those of the nodes."""

    def train(self, *, preview=False):
        before = {
            label: node.get_state() for label, node in self.experiment.graph.build(seed=0).nodes.items()
        }
        found = super().train()
        for label, state in before.items() if preview else ():
            self.experiment.graph[label].set_state(state)
        return found


def check_stage_wise(kind, path):
    made = kind()
    made.train()
    kept = made.state()
    made.train(preview=True)
    assert made.state() == kept, "the preview left something behind"
    made.save(path)
    made.train()
    trained = made.state()
    try:
        with mml.ExperimentContext().activate():
            made.load(path)
    except MMLError as error:
        raise AssertionError(f"it cannot be loaded: {error}") from error
    assert made.state() == kept
    made.train()
    assert made.state() == trained


def test_a_stage_wise_graph_is_saved_loaded_and_previewed(tmp_path):
    """'a stage-wise graph can be saved but not loaded, previewed or cross-validated'"""
    check_stage_wise(StageWise, tmp_path / "stages.mml")
    doubles = ((WithGraphOptimizerInMind, "cannot be loaded"), (PreviewsByGraphOptimizer, "left something"))
    for kind, told in doubles:
        with mml.ExperimentContext().activate(), pytest.raises(AssertionError, match=told):
            check_stage_wise(kind, tmp_path / f"{kind.__name__}.mml")


# --- freezing ----------------------------------------------------------------------------------------------


class Transfer:
    """A trunk that was trained elsewhere, and a head on it."""

    def __init__(self):
        data = rows()
        trunk = dense("trunk", data, 2)
        self.graph = mml.ModelGraph([trunk, dense("head", trunk)], optimizer="adam")
        self.experiment = mml.Experiment("transfer", self.graph)

    def train(self):
        self.experiment.run_phase(training(mml.AppliedLoss("mse", on="head")))


class UnfreezesAll(Transfer):
    """A phase begins by letting every node learn."""

    def train(self):
        self.graph.unfreeze()
        super().train()


class FreezesAgain(Transfer):
    """A phase lets every node learn, and puts the flags back when it is over."""

    def train(self):
        self.graph.unfreeze()
        super().train()
        self.graph.freeze("trunk")


def check_frozen_stays(kind):
    made = kind()
    made.experiment.run_phase(mml.EvalPhase.from_split("look", split="val"))
    made.graph.freeze("trunk")
    trunk, head = digest(made.graph, "trunk", "head")
    made.train()
    assert made.graph["trunk"].is_frozen, "the phase unfroze it"
    assert digest(made.graph, "trunk") == [trunk], "it learned while it was frozen"
    assert digest(made.graph, "head") != [head]


def test_a_phase_leaves_frozen_what_the_user_froze():
    """'A TrainPhase unfreezes what the user froze'"""
    check_frozen_stays(Transfer)
    for kind, told in ((UnfreezesAll, "unfroze"), (FreezesAgain, "learned while")):
        with mml.ExperimentContext().activate(), pytest.raises(AssertionError, match=told):
            check_frozen_stays(kind)


# --- inactive branches -------------------------------------------------------------------------------------


class Alternating:
    """Two branches on data of their own, trained in turns with one Adam."""

    def __init__(self):
        nodes = [dense(label, rows(f"rows {label}", seed=seed)) for seed, label in enumerate("ab")]
        self.graph = mml.ModelGraph(nodes, optimizer=mml.Optimizer("adam", lr=0.1)).build(seed=0)
        self.losses = {label: mml.AppliedLoss("mse", on=label) for label in "ab"}

    def turn(self, label):
        """Train one branch on one batch, the other one masked."""
        x, y = np.ones((4, 3), np.float32), np.zeros((4, 1), np.float32)
        self.graph.train_step({label: x}, {label: y}, losses=self.losses[label], active_nodes=label)

    def values(self, label):
        return self.graph[label].get_state()["model"]


class MovedByMomentum(Alternating):
    """Steps every parameter, with a gradient of zero where nothing came: Adam moves it all the same."""

    def turn(self, label):
        super().turn(label)
        other = "ab".replace(label, "")
        slots = {
            name.partition("/")[2]: one
            for name, one in self.graph.optimizer.get_state().items()
            if name.startswith(f"{other}/") and one["step"]
        }
        state = self.values(other)
        for name, one in slots.items():
            first, second = (array for key, array in one.items() if key != "step")
            state[name] -= (0.1 * 0.9 * first / (np.sqrt(0.999 * second) + 1e-8)).astype(np.float32)
        self.graph[other].set_state({"model": state, "frozen": None})


def check_inactive_stays(kind):
    made = kind()
    made.turn("a")
    made.turn("b")
    kept = state_digest(made.values("a"))
    made.turn("b")
    assert state_digest(made.values("a")) == kept, "the inactive branch moved"
    made.turn("a")
    assert state_digest(made.values("a")) != kept


def test_an_inactive_branch_does_not_move():
    """'Under alternating schedules the inactive branch still runs and moves, by Adam's momentum.'"""
    check_inactive_stays(Alternating)
    with mml.ExperimentContext().activate(), pytest.raises(AssertionError, match="inactive branch moved"):
        check_inactive_stays(MovedByMomentum)


# --- whose moments -----------------------------------------------------------------------------------------


class Moments:
    """A graph whose optimizer's state goes into an equal graph, made in another order."""

    def __init__(self, order):
        data = rows()
        nodes = {label: dense(label, data) for label in order}
        self.graph = mml.ModelGraph(nodes.values(), optimizer=mml.Optimizer("adam", lr=0.1)).build(seed=0)
        self.losses = [mml.AppliedLoss("mse", on=label) for label in "pq"]
        self.order = order

    def step(self, sign=1.0):
        x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
        given = {"p": x, "q": -2 * sign * x}
        self.graph.train_step(given, np.ones((4, 1), np.float32), losses=self.losses)

    def get_state(self):
        return self.graph.get_state()

    def set_state(self, state):
        self.graph.set_state(state)

    def values(self):
        return digest(self.graph, "p", "q")


class ByPosition(Moments):
    """Keeps moments in the order in which parameters came out of a set."""

    def get_state(self):
        state = super().get_state()
        slots = state["optimizers"]["graph"]
        own = sorted(slots, key=lambda name: (self.order.index(name[0]), name))
        return {**state, "slots": [slots[name] for name in own]}

    def set_state(self, state):
        slots = state.pop("slots")
        names = sorted(state["optimizers"]["graph"], key=lambda name: (self.order.index(name[0]), name))
        state["optimizers"]["graph"] = dict(zip(names, slots, strict=True))
        super().set_state(state)


def check_moments_find_their_parameters(kind):
    first = kind("pq")
    first.step()
    state = first.get_state()
    first.step(sign=-1)
    with mml.ExperimentContext().activate():
        second = kind("qp")
    second.set_state(state)
    second.step(sign=-1)
    assert second.values() == first.values(), "moments sit on the wrong parameters"


def test_moments_go_with_the_names_of_their_parameters():
    """'Resume in a new process puts Adam's moments on the wrong parameters ... gathered from a set'"""
    check_moments_find_their_parameters(Moments)
    with mml.ExperimentContext().activate(), pytest.raises(AssertionError, match="wrong parameters"):
        check_moments_find_their_parameters(ByPosition)


# --- several experiments -----------------------------------------------------------------------------------


class Loop:
    """A script that makes the same experiment again for another seed."""

    def __init__(self):
        self.made = []

    def experiment(self, seed):
        # Where a script works: labels that are taken there are an error.
        with mml.ExperimentContext.process_default().activate():
            data = rows(seed=seed)
            made = mml.Experiment("run", mml.ModelGraph([dense("head", data)], optimizer="sgd"), seed=seed)
        self.made.append((made, data))
        return made

    def train(self, made):
        made.run_phase(training(mml.AppliedLoss("mse", on="head"), label=f"train {len(made.history)}"))

    def data_of(self, made):
        return made.featuresets[0]


class OneRegistry(Loop):
    """One table of labels for the whole process: the second experiment takes the first one's names."""

    def data_of(self, made):
        return self.made[-1][1]


def check_experiments_stay_apart(kind):
    loop = kind()
    first, second = loop.experiment(0), loop.experiment(1)
    loop.train(first)
    loop.train(second)
    loop.train(first)
    assert [len(one.history) for one, _ in loop.made] == [2, 1]
    for made, data in loop.made:
        assert loop.data_of(made) is data, "an experiment reads another one's data"


@pytest.fixture
def _scripts_context():
    put_back = mml.ExperimentContext.process_default().remember()
    yield
    put_back()


@pytest.mark.usefixtures("_scripts_context")
def test_a_second_experiment_leaves_the_first_one_as_it_is():
    """'A second Experiment in a process breaks the first.'"""
    check_experiments_stay_apart(Loop)
    with pytest.raises(AssertionError, match="another one's data"):
        check_experiments_stay_apart(OneRegistry)
