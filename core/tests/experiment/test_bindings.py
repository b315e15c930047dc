"""Input bindings: which rows reach which head, what runs once, and what is refused before the first step."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import mml
from mml.errors import DataError, MMLError, PhaseError, SamplerError, SplitError
from mml.processing import BoundSampler, Epoch

from .toy import N_FEATURES

SAMPLER = mml.SimpleSampler(batch_size=5, shuffle=True)


def data_set(label="rows", *, n_rows=30, seed=0, ratios=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    made = mml.FeatureSet.from_dict(
        label, {"x": x, "y": x.sum(axis=1, keepdims=True)}, feature_keys="x", target_keys="y"
    )
    made.split_random(ratios=ratios or {"train": 0.5, "val": 0.5}, seed=0)
    return made


def dense(label, upstream, width=1):
    if isinstance(upstream, mml.FeatureSet):
        upstream = upstream.reference(features="x", targets="y")
    return mml.ModelNode(label, mml.Model("reference/mlp", output_shape=width), upstream)


def two_heads(first, second, **settings):
    """Return an experiment with a branch on each set."""
    graph = mml.ModelGraph([dense("a", first), dense("b", second)], optimizer=mml.Optimizer("sgd", lr=0.01))
    return mml.Experiment("toy", graph, **settings)


def losses():
    return [mml.AppliedLoss("mse", on="a"), mml.AppliedLoss("mse", on="b")]


def bound(node, **settings):
    return mml.InputBinding.for_training(node=node, sampler=settings.pop("sampler", SAMPLER), **settings)


def train(*bindings, **settings):
    settings.setdefault("losses", losses())
    return mml.TrainPhase("train", input_sources=bindings, **settings)


def rows_of(results, node):
    return [rows.tolist() for rows in results.batches(node).values]


@pytest.fixture
def orders(monkeypatch):
    """Count the orders that are made, by epoch."""
    made = Counter()
    bind = mml.SimpleSampler.bind

    def counted(self, *arguments, **settings):
        sampler = bind(self, *arguments, **settings)
        order = sampler._order

        def noted(epoch):
            made[epoch] += 1
            return order(epoch)

        sampler._order = noted
        return sampler

    monkeypatch.setattr(mml.SimpleSampler, "bind", counted)
    return made


class TestSharing:
    def test_equal_samplers_over_the_same_rows_run_once(self, orders):
        data = data_set()
        phase = train(bound("a", split="train"), bound("b", split="train"), n_epochs=3)
        results = two_heads(data, data).run_phase(phase)
        assert rows_of(results, "a") == rows_of(results, "b")
        assert orders == {0: 1, 1: 1, 2: 1}

    def test_the_shortcut_binds_every_head_to_one_sampler(self, orders):
        data = data_set()
        phase = mml.TrainPhase.from_split("train", split="train", sampler=SAMPLER, losses=losses())
        results = two_heads(data, data).run_phase(phase)
        assert rows_of(results, "a") == rows_of(results, "b")
        assert orders == {0: 1}

    @pytest.mark.parametrize(
        "other",
        [
            {"split": "val"},
            {"split": "train", "sampler": mml.SimpleSampler(batch_size=5, shuffle=True, seed=1)},
            {"split": "train", "sampler": mml.SimpleSampler(batch_size=5)},
        ],
        ids=["another split", "another seed", "another setting"],
    )
    def test_what_differs_runs_by_itself(self, orders, other):
        data = data_set()
        results = two_heads(data, data).run_phase(train(bound("a", split="train"), bound("b", **other)))
        assert rows_of(results, "a") != rows_of(results, "b")
        assert orders == {0: 2}

    def test_another_feature_set_runs_by_itself(self, orders):
        results = two_heads(data_set("p"), data_set("q")).run_phase(
            mml.TrainPhase.from_split("train", split="train", sampler=SAMPLER, losses=losses())
        )
        assert orders == {0: 2}
        assert rows_of(results, "a") != rows_of(results, "b")

    def test_an_evaluation_reads_a_shared_split_once(self, orders):
        data = data_set()
        phase = mml.EvalPhase.from_split("val", split="val", losses=losses(), batch_size=4)
        results = two_heads(data, data).run_phase(phase)
        assert orders == {0: 1}
        assert np.concatenate(rows_of(results, "a")).tolist() == data["val"].rows.tolist()


class TestSeeds:
    def order(self, *, seed=0, label="train", split="train", name="rows", sampler=SAMPLER):
        with mml.ExperimentContext().activate():
            data = data_set(name)
            graph = mml.ModelGraph([dense("a", data)], optimizer="sgd")
            phase = mml.TrainPhase.from_split(
                label, split=split, sampler=sampler, losses=[mml.AppliedLoss("mse", on="a")]
            )
            results = mml.Experiment("toy", graph, seed=seed).run_phase(phase)
            return np.concatenate(rows_of(results, "a")).tolist()

    def test_an_order_derives_from_experiment_feature_set_split_and_phase(self):
        orders = [
            self.order(),
            self.order(seed=1),
            self.order(label="other"),
            self.order(name="others"),
        ]
        assert len({tuple(one) for one in orders}) == len(orders)
        assert self.order() == orders[0]

    def test_a_seed_of_the_samplers_own_wins(self):
        own = mml.SimpleSampler(batch_size=5, shuffle=True, seed=7)
        assert self.order(sampler=own, seed=1) == self.order(sampler=own, seed=2, label="other")


class TestOtherData:
    def test_a_binding_may_put_another_set_in_place_of_a_nodes_own(self):
        own, other = data_set("own"), data_set("other", n_rows=12, seed=1)
        with mml.ExperimentContext().activate() as context:
            context.register(own)
            context.register(other)
            made = mml.Experiment("toy", mml.ModelGraph([dense("a", own)], optimizer="sgd"))
            made.context.register(other)
        binding = mml.InputBinding.for_evaluation(node="a", split="val", upstream=other)
        results = made.run_phase(mml.EvalPhase("look", input_sources=[binding]))
        assert np.array_equal(results.stacked_targets("a"), other["val"].get_targets("y"))
        assert np.array_equal(
            results.stacked_tensors("a"), made.graph.forward(other["val"].get_features("x"))["a"]
        )

    def merged(self, first, second, **settings):
        upstream = [one.reference(features="x", targets="y") for one in (first, second)]
        merge = mml.ConcatNode("merge", upstream, concat_axis_targets="first", **settings)
        head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), merge)
        return mml.Experiment("toy", mml.ModelGraph([merge, head], optimizer="sgd"))

    def test_a_merge_of_two_sets_takes_a_binding_for_each(self):
        first, second = data_set("first"), data_set("second", seed=1)
        made = self.merged(first, second)
        own = mml.SimpleSampler(batch_size=4)
        bindings = [
            mml.InputBinding.for_training(node="merge", split="train", sampler=own, upstream=one)
            for one in (first, second)
        ]
        phase = mml.TrainPhase(
            "train",
            input_sources=bindings,
            losses=[mml.AppliedLoss("mse", on="head", inputs=["outputs", "targets"])],
        )
        with pytest.raises(MMLError, match="different targets"):
            made.run_phase(phase)

    def test_an_upstream_that_the_node_does_not_read_is_refused(self):
        first, second, third = data_set("first"), data_set("second"), data_set("third")
        made = self.merged(first, second)
        phase = train(bound("merge", split="train", upstream=third), losses=[])
        with pytest.raises(PhaseError, match="none of those that the node reads") as caught:
            made.run_phase(phase)
        assert "'first' or 'second'" in caught.value.expected
        assert "'third'" in caught.value.found


class TestActiveNodes:
    def test_heads_that_nothing_needs_ask_for_no_data(self):
        made = two_heads(data_set("p"), data_set("q", ratios={"other": 1.0}))
        settings = {"split": "train", "sampler": SAMPLER, "losses": losses()[:1]}
        with pytest.raises(SplitError, match="train"):
            made.run_phase(mml.TrainPhase.from_split("train", **settings))
        results = made.run_phase(mml.TrainPhase.from_split("train", active_nodes=["a"], **settings))
        assert len(rows_of(results, "a")) == 3

    def test_a_node_may_be_named_by_itself_or_by_its_object(self):
        data = data_set()
        made = two_heads(data, data)
        for active in ("a", ["a"], made.graph["a"], [made.graph["a"]]):
            phase = mml.TrainPhase.from_split(
                "train", split="train", sampler=SAMPLER, losses=losses()[:1], active_nodes=active
            )
            assert phase.active_nodes == ("a",)
        before = made.graph.build(seed=made.initial_seed, context=made.context).get_state()["nodes"]
        results = made.run_phase(phase)
        after = made.graph.get_state()["nodes"]
        assert _bits(before["b"]) == _bits(after["b"])
        assert _bits(before["a"]) != _bits(after["a"])
        assert results.status == "completed"


class Fixed:
    """A sampler of somebody else's, which hands out the rows that it was given."""

    def __init__(self, rows):
        self._rows = np.array(rows)

    def key(self):
        return ("fixed", tuple(self._rows.tolist()))

    def bind(self, view, *, seed=None):
        batches = Epoch({"default": self._rows}, np.array([0, len(self._rows)]))
        return BoundSampler(view, order=lambda epoch: batches, seed=0)


class TestRowsOfSamplers:
    @pytest.mark.parametrize("prefetch", ["0", "1"])
    @pytest.mark.parametrize("row", [30, 2**40, -2, -(2**40)])
    def test_that_do_not_exist_are_refused(self, row, prefetch, monkeypatch):
        monkeypatch.setenv("MML_PREFETCH", prefetch)
        data = data_set(n_rows=30)
        phase = train(bound("*", sampler=Fixed([3, row, 29])), n_epochs=2)
        with pytest.raises(DataError, match=f"row {row}, which does not exist") as caught:
            two_heads(data, data).run_phase(phase)
        assert "phase 'train'" in caught.value.where
        assert "lane 'a', role 'default'" in caught.value.where
        assert caught.value.expected == "rows from 0 to 29, or -1 for a masked one"

    def test_that_are_masked_are_not_trained_on(self):
        data = data_set(n_rows=30)
        results = two_heads(data, data).run_phase(train(bound("*", sampler=Fixed([3, -1, 29]))))
        assert list(results.losses("a").rows) == [2]


class TestRefusals:
    def refused(self, phase, error, match, **data):
        made = two_heads(data_set(**data), mml.ExperimentContext.active().get("rows"))
        with pytest.raises(error, match=match) as caught:
            made.run_phase(phase)
        assert "phase 'train'" in caught.value.where
        return caught.value

    def test_a_node_that_is_no_head(self):
        error = self.refused(train(bound("aa", split="train")), PhaseError, "'aa'")
        assert "'a'" in error.hint

    def test_a_split_that_does_not_exist(self):
        error = self.refused(train(bound("a", split="tran"), bound("b", split="train")), SplitError, "tran")
        assert "node 'a'" in error.where
        assert "'train'" in error.hint

    def test_a_head_bound_twice(self):
        phase = train(bound("a", split="train"), bound("*", split="train"))
        error = self.refused(phase, PhaseError, "Two bindings")
        assert "node 'a'" in error.where

    def test_a_head_without_a_binding(self):
        error = self.refused(train(bound("a", split="train")), PhaseError, "no input binding")
        assert "node 'b'" in error.where

    def test_an_empty_split_where_it_is_made(self):
        with pytest.raises(SplitError, match="would be empty"):
            data_set(ratios={"train": 0.99, "val": 0.01})

    def test_a_sampler_whose_last_batch_is_its_only_one_and_dropped(self):
        sampler = mml.SimpleSampler(batch_size=16, drop_last=True)
        error = self.refused(train(bound("*", split="train", sampler=sampler)), SamplerError, "drop_last")
        assert "node 'a'" in error.where

    def test_a_set_that_nobody_knows(self):
        upstream = mml.FeatureSetReference("nowhere", features="x")
        phase = train(bound("a", split="train", upstream=upstream), bound("b", split="train"))
        error = self.refused(phase, MMLError, "nowhere")
        assert "node 'a'" in error.where

    def test_a_sampler_that_makes_no_batch_in_some_epoch(self, monkeypatch):
        monkeypatch.setattr(BoundSampler, "n_batches", lambda self, epoch=0: 3 if epoch < 2 else 0)
        error = self.refused(train(bound("*", split="train"), n_epochs=3), PhaseError, "no batch")
        assert "epoch 2" in error.where

    @pytest.mark.parametrize("size", [0, -1, 1.5, True])
    def test_a_batch_size_that_is_none(self, size):
        with pytest.raises(SamplerError):
            mml.SimpleSampler(batch_size=size)
        with pytest.raises(PhaseError, match="batch_size"):
            mml.EvalPhase.from_split("val", split="val", batch_size=size)

    def test_training_without_a_sampler(self):
        with pytest.raises(PhaseError, match="sampler"):
            mml.InputBinding.for_training(node="a", sampler=None)
        with pytest.raises(PhaseError, match="needs a sampler") as caught:
            mml.TrainPhase("train", input_sources=[mml.InputBinding.for_evaluation(node="a")], losses=[])
        assert "node 'a'" in caught.value.where

    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"node": 3}, "names a node"),
            ({"node": "a", "sampler": 32}, "32 is not a sampler"),
            ({"node": "a", "split": 0.5}, "split is named"),
            ({"node": "a", "stream": 1}, "stream is named"),
            ({"node": "a", "upstream": "rows"}, "`upstream`"),
        ],
    )
    def test_what_is_no_binding(self, settings, match):
        with pytest.raises(PhaseError, match=match):
            mml.InputBinding.for_evaluation(**settings)

    def test_streams_that_a_sampler_does_not_have(self):
        phase = train(bound("a", split="train", stream="left"), bound("b", split="train"))
        error = self.refused(phase, SamplerError, "left")
        assert "node 'a'" in error.where


class TestEvaluation:
    def test_reads_one_set_and_split_only(self):
        data = data_set()
        bindings = [
            mml.InputBinding.for_evaluation(node=node, split=split)
            for node, split in (("a", "train"), ("b", "val"))
        ]
        with pytest.raises(PhaseError, match="one FeatureSet and split") as caught:
            two_heads(data, data).run_phase(mml.EvalPhase("look", input_sources=bindings))
        assert "rows[train], rows[val]" in caught.value.found

    def test_refuses_two_sets_under_one_name_of_split(self):
        with pytest.raises(PhaseError, match="one FeatureSet and split"):
            two_heads(data_set("p"), data_set("q")).run_phase(mml.EvalPhase.from_split("look", split="val"))

    def test_refuses_chunks_that_leave_rows_out(self):
        data = data_set()
        bindings = [
            mml.InputBinding.for_evaluation(node="a", split="val"),
            mml.InputBinding.for_evaluation(node="b", split="val", sampler=mml.SimpleSampler(batch_size=4)),
        ]
        with pytest.raises(PhaseError, match="different numbers of batches"):
            two_heads(data, data).run_phase(mml.EvalPhase("look", input_sources=bindings))

    def test_without_a_split_reads_every_row(self):
        data = data_set()
        results = two_heads(data, data).run_phase(mml.EvalPhase.from_split("look", split=None))
        assert np.array_equal(results.stacked_targets("a"), data.get_targets("y"))


def _bits(state):
    return {name: value.tobytes() for name, value in state["model"].items()}
