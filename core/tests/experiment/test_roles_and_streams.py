"""Phases whose samplers have several roles or FeatureSets: what reaches which head, and that it learns."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

import mml
from mml.errors import (
    DataError,
    LossError,
    PairingWarning,
    PhaseError,
    SamplerError,
    SplitError,
    UnmatchedRowsWarning,
)
from mml_conformance.reference.losses import ReferenceLoss

CELLS = 6
N_EIS, N_CYCLES = 30, 24
ALIGNED = mml.AlignedSampler(mml.SimpleSampler(batch_size=5, shuffle=True, seed=0), by="key")


class TripletMargin(ReferenceLoss):
    """max(0, |a - p|² - |a - n|² + 1) of the rows of three roles."""

    def __call__(self, anchor, positive, negative, *, reduction="mean"):
        values = self.values(anchor, positive, negative)
        return values if reduction == "none" else np.asarray(values.mean())

    def values(self, anchor, positive, negative):
        near = np.square(anchor - positive).sum(axis=1)
        far = np.square(anchor - negative).sum(axis=1)
        return np.maximum(0, near - far + 1).astype(anchor.dtype)

    def slopes(self, anchor, positive, negative, *, factors):
        live = factors * (self.values(anchor, positive, negative) > 0)
        share = (2 * live).astype(anchor.dtype)[:, None]
        return {
            "anchor": share * (negative - positive),
            "positive": share * (positive - anchor),
            "negative": share * (anchor - negative),
        }


def eis(n_rows=N_EIS, **settings):
    """Return impedances: rows of cells, each with a key of its own."""
    rng = np.random.default_rng(1)
    cell = np.arange(n_rows) % CELLS
    x = (np.eye(CELLS, 4)[cell] + 0.3 * rng.normal(size=(n_rows, 4))).astype(np.float32)
    made = mml.FeatureSet.from_dict(
        "eis",
        {"x": x, "y": x.sum(axis=1, keepdims=True), "cell": cell, "key": np.arange(n_rows)},
        feature_keys="x",
        target_keys="y",
        tag_keys=["cell", "key"],
    )
    made.split_random(ratios={"train": 0.7, "val": 0.3}, seed=0, **settings)
    return made


def cycles(n_rows=N_CYCLES):
    """Return cycles of the same samples in reverse; the impedances from `n_rows` on have none."""
    rng = np.random.default_rng(2)
    key = np.arange(n_rows)[::-1].copy()
    z = rng.normal(size=(n_rows, 3)).astype(np.float32)
    made = mml.FeatureSet.from_dict(
        "cycles",
        {"z": z, "y": key[:, None].astype(np.float32), "key": key},
        feature_keys="z",
        target_keys="y",
        tag_keys="key",
    )
    made.split_random(ratios={"train": 1.0}, seed=0)
    return made


def two_heads(first, second, *, merged=False, **settings):
    nodes = [
        mml.ModelNode(
            "a", mml.Model("reference/mlp", output_shape=1), first.reference(features="x", targets="y")
        ),
        mml.ModelNode(
            "b", mml.Model("reference/mlp", output_shape=1), second.reference(features="z", targets="y")
        ),
    ]
    if merged:
        merge = mml.ConcatNode("merge", nodes, concat_axis_targets="a")
        nodes += [merge, mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), merge)]
    return mml.Experiment("toy", mml.ModelGraph(nodes, optimizer=mml.Optimizer("sgd", lr=0.01)), **settings)


def bindings(sampler=ALIGNED, *, splits=(None, None), **settings):
    return [
        mml.InputBinding.for_training(node=node, sampler=sampler, split=split, **settings)
        for node, split in zip("ab", splits, strict=True)
    ]


def head_losses():
    return [mml.AppliedLoss("mse", on=node, inputs=["outputs", "targets.y"]) for node in "ab"]


def keys_of(results, node, data):
    keys = data.get_tags("key")
    return [[keys[row] if row >= 0 else -1 for row in rows] for rows in results.batches(node).values]


@pytest.fixture
def binds(monkeypatch):
    """Count what is bound and which orders are made."""
    counts = Counter()
    for kind in (mml.SimpleSampler, mml.AlignedSampler):
        bind = kind.bind

        def counted(self, *arguments, _bind=bind, **settings):
            counts[type(self).__name__] += 1
            made = _bind(self, *arguments, **settings)
            order = made._order

            def noted(epoch):
                counts["orders", type(self).__name__, epoch] += 1
                return order(epoch)

            made._order = noted
            return made

        monkeypatch.setattr(kind, "bind", counted)
    return counts


@pytest.fixture
def margin():
    """Register a loss of three outputs whose slope is known, as the reference backend needs it."""
    mml.registry("losses").register("margin", backend="reference")(TripletMargin)
    yield "margin"
    mml.registry("losses").remove("margin")


@pytest.mark.filterwarnings("ignore::mml.errors.UnmatchedRowsWarning")
class TestAligned:
    def test_heads_on_two_sets_train_on_rows_that_belong_together(self, binds):
        first, second = eis(), cycles()
        phase = mml.TrainPhase.from_split(
            "train",
            split=None,
            sampler=ALIGNED,
            n_epochs=3,
            losses=[mml.AppliedLoss("mse", on="head", inputs=["outputs", "targets"])],
        )
        results = two_heads(first, second, merged=True).run_phase(phase)
        keys = keys_of(results, "a", first)
        assert keys == keys_of(results, "b", second)
        assert sorted(key for batch in keys[: len(keys) // 3] for key in batch) == list(range(N_CYCLES))
        assert binds["AlignedSampler"] == binds["SimpleSampler"] == 1
        assert [binds["orders", "AlignedSampler", epoch] for epoch in range(3)] == [1, 1, 1]
        losses = results.metrics().where(name="train_loss").values
        assert losses[-1] < losses[0]

    def test_a_merge_computes_with_rows_that_belong_together(self):
        first, second = eis(), cycles()
        made = two_heads(first, second, merged=True)
        phase = mml.EvalPhase.from_split("look", split=None, sampler=ALIGNED, losses=[])
        results = made.run_phase(phase)
        rows = np.concatenate(results.batches("a").values)
        theirs = [second.get_tags("key").tolist().index(key) for key in first.get_tags("key")[rows]]
        inputs = {"a": first.get_features("x")[rows], "b": second.get_features("z")[theirs]}
        expected = made.graph.forward(inputs)["head"]
        np.testing.assert_allclose(results.stacked_tensors("head"), expected, rtol=1e-5)

    def test_one_sampler_counts_once_in_a_schedule(self):
        first, second = eis(), cycles()
        phase = mml.TrainPhase(
            "train",
            input_sources=bindings(),
            losses=head_losses(),
            batch_schedule="alternate_strict",
        )
        results = two_heads(first, second).run_phase(phase)
        # Five batches of 24 rows: with one sampler there is nobody to alternate with.
        assert [len(one) for one in results.batches("b").values] == [5, 5, 5, 5, 4]
        assert all((one >= 0).all() for one in results.batches("a").values)

    def test_splits_may_differ_and_streams_may_be_named(self):
        first, second = eis(), cycles()
        named = [
            mml.InputBinding.for_training(node=node, sampler=ALIGNED, split=split, stream=stream)
            for node, split, stream in (("a", "train", "impedance"), ("b", None, "cycling"))
        ]
        phase = mml.TrainPhase("train", input_sources=named, losses=head_losses())
        results = two_heads(first, second).run_phase(phase)
        assert keys_of(results, "a", first) == keys_of(results, "b", second)
        assert {row for rows in results.batches("a").values for row in rows} <= set(first["train"].rows)

    def test_heads_on_one_set_share_its_stream(self):
        first, second = eis(), cycles()
        nodes = [
            mml.ModelNode(
                label,
                mml.Model("reference/mlp", output_shape=1),
                data.reference(features=key, targets="y"),
            )
            for label, data, key in (("a", first, "x"), ("b", second, "z"), ("c", first, "x"))
        ]
        made = mml.Experiment("toy", mml.ModelGraph(nodes, optimizer="sgd"))
        losses = [mml.AppliedLoss("mse", on=label) for label in "abc"]
        phase = mml.TrainPhase.from_split("train", split=None, sampler=ALIGNED, losses=losses)
        results = made.run_phase(phase)
        assert keys_of(results, "a", first) == keys_of(results, "c", first) == keys_of(results, "b", second)

    def test_the_seed_derives_from_the_primary_set(self):
        base = mml.SimpleSampler(batch_size=4, shuffle=True)
        sampler = mml.AlignedSampler(base, by="key", primary="cycles")

        def order(*, reverse=False, **settings):
            with mml.ExperimentContext().activate():
                first, second = eis(), cycles()
                given = bindings(sampler)[::-1] if reverse else bindings(sampler)
                phase = mml.TrainPhase("train", input_sources=given, losses=head_losses())
                results = two_heads(first, second, **settings).run_phase(phase)
                return keys_of(results, "a", first)

        assert order() == order(reverse=True)
        assert order() != order(seed=1)

    def test_masked_rows_of_one_stream_do_not_count_there(self):
        first, second = eis(), cycles()
        sampler = mml.AlignedSampler(mml.SimpleSampler(batch_size=10), by="key", unmatched="mask")
        phase = mml.TrainPhase("train", input_sources=bindings(sampler), losses=head_losses())
        results = two_heads(first, second).run_phase(phase)
        assert list(results.losses("a").rows) == [10, 10, 10]
        assert list(results.losses("b").rows) == [10, 10, 4]

    def test_inputs_of_a_step_are_read_by_head(self):
        first, second = eis(), cycles()
        seen = []

        class Watch(mml.Callback):
            def on_batch_end(self, *, context, **_):
                seen.append(context.inputs)

        phase = mml.TrainPhase("train", input_sources=bindings(), losses=head_losses(), callbacks=[Watch()])
        two_heads(first, second).run_phase(phase)
        key_of = {row.tobytes(): key for key, row in enumerate(first.get_features("x"))}
        for inputs in seen:
            keys = [key_of[row.tobytes()] for row in inputs["a"].features["x"]]
            assert inputs["b"].targets["y"][:, 0].tolist() == keys

    def test_configurations_come_back(self):
        phase = mml.TrainPhase("train", input_sources=bindings(), losses=head_losses())
        assert mml.TrainPhase.from_config(phase.get_config()) == phase


def merged_training(*samplers, **settings):
    """Return a phase over the head behind a merge of both sets, a sampler for each."""
    return mml.TrainPhase(
        "train",
        input_sources=[
            mml.InputBinding.for_training(node=node, sampler=sampler, split=None)
            for node, sampler in zip("ab", samplers, strict=True)
        ],
        losses=[mml.AppliedLoss("mse", on="head", inputs=["outputs", "targets"])],
        **settings,
    )


class TestRowsThatMeetByPosition:
    SHUFFLED = mml.SimpleSampler(batch_size=5, shuffle=True)

    @pytest.mark.parametrize(
        "second",
        [SHUFFLED, mml.SimpleSampler(batch_size=5), mml.SimpleSampler(batch_size=5, group_by="key")],
        ids=["both-shuffled", "one-shuffled", "groups"],
    )
    def test_are_told_where_each_set_is_ordered_on_its_own(self, second):
        with pytest.warns(PairingWarning, match="AlignedSampler") as caught:
            two_heads(eis(), cycles(), merged=True).run_phase(merged_training(self.SHUFFLED, second))
        (told,) = [str(one.message) for one in caught]
        assert "merge 'merge' of the phase 'train'" in told
        assert "'a' (eis)" in told
        assert "'b' (cycles)" in told
        assert caught[0].filename == __file__

    def test_are_told_where_batches_are_of_different_sizes(self):
        phase = merged_training(mml.SimpleSampler(batch_size=5), mml.SimpleSampler(batch_size=4))
        with pytest.warns(PairingWarning, match="one batch_size"):
            two_heads(eis(), cycles(), merged=True).run_phase(phase)

    def test_are_told_of_a_split_that_every_head_reads(self):
        phase = mml.TrainPhase.from_split(
            "train",
            split="train",
            sampler=self.SHUFFLED,
            losses=[mml.AppliedLoss("mse", on="head", inputs=["outputs", "targets"])],
        )
        with pytest.warns(PairingWarning, match=r"'a' \(eis\[train\]\)"):
            two_heads(eis(), cycles(), merged=True).run_phase(phase)

    @pytest.mark.parametrize(
        "sampler",
        [mml.SimpleSampler(batch_size=5), mml.SimpleSampler(batch_size=5, shuffle=True, seed=3)],
        ids=["in-order", "one-seed"],
    )
    def test_are_as_declared_where_both_have_one_order(self, sampler):
        first, second = eis(n_rows=N_CYCLES), cycles()
        results = two_heads(first, second, merged=True).run_phase(merged_training(sampler, sampler))
        pairs = zip(results.batches("a").values, results.batches("b").values, strict=True)
        assert all(one.tolist() == other.tolist() for one, other in pairs)

    def test_are_not_told_of_heads_of_one_set(self):
        data = eis()
        nodes = [
            mml.ModelNode(label, mml.Model("reference/mlp", output_shape=1), data.reference(targets="y"))
            for label in "ab"
        ]
        merge = mml.ConcatNode("merge", nodes)
        head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), merge)
        made = mml.Experiment("toy", mml.ModelGraph([*nodes, merge, head], optimizer="sgd"))
        results = made.run_phase(merged_training(self.SHUFFLED, self.SHUFFLED))
        assert keys_of(results, "a", data) == keys_of(results, "b", data)

    def test_are_not_told_of_heads_that_no_merge_joins(self):
        phase = mml.TrainPhase.from_split("train", split=None, sampler=self.SHUFFLED, losses=head_losses())
        assert two_heads(eis(), cycles()).run_phase(phase).status == "completed"

    def test_are_not_told_of_samplers_that_take_turns(self):
        phase = merged_training(self.SHUFFLED, self.SHUFFLED, batch_schedule="alternate_strict")
        results = two_heads(eis(), cycles(), merged=True).run_phase(phase)
        assert set(results.losses("head").rows) == {0}


class TestAlignedEvaluation:
    def test_sets_that_share_an_aligning_sampler_are_one_source(self):
        first, second = eis(n_rows=N_CYCLES), cycles()
        results = two_heads(first, second).run_phase(
            mml.EvalPhase("look", input_sources=bindings(), losses=head_losses())
        )
        assert keys_of(results, "a", first) == keys_of(results, "b", second)
        assert results.stacked_tensors("a").shape == (N_CYCLES, 1)

    def test_sets_with_different_aligning_samplers_are_not(self):
        first, second = eis(n_rows=N_CYCLES), cycles()
        other = mml.AlignedSampler(mml.SimpleSampler(batch_size=4), by="key")
        given = [bindings()[0], bindings(other)[1]]
        with pytest.raises(SamplerError, match="two FeatureSets or more"):
            two_heads(first, second).run_phase(mml.EvalPhase("look", input_sources=given))

    def test_unaligned_sets_are_told_how_to_align(self):
        first, second = eis(), cycles()
        phase = mml.EvalPhase.from_split("look", split=None, losses=head_losses())
        with pytest.raises(PhaseError, match="one FeatureSet and split") as caught:
            two_heads(first, second).run_phase(phase)
        assert "AlignedSampler" in caught.value.hint


class TestAlignedRefusals:
    def test_unmatched_rows_are_reported_once_a_phase(self):
        first, second = eis(), cycles()
        phase = mml.TrainPhase("train", input_sources=bindings(), losses=head_losses(), n_epochs=2)
        with pytest.warns(
            UnmatchedRowsWarning, match="6 of 30 rows of eis have no match in cycles"
        ) as caught:
            two_heads(first, second).run_phase(phase)
        assert len(caught) == 1

    def test_two_splits_under_one_stream(self):
        first, second = eis(), cycles()
        nodes = [
            mml.ModelNode(
                label, mml.Model("reference/mlp", output_shape=1), data.reference(features=key, targets="y")
            )
            for label, data, key in (("a", first, "x"), ("b", second, "z"), ("c", first, "x"))
        ]
        made = mml.Experiment("toy", mml.ModelGraph(nodes, optimizer="sgd"))
        given = [
            mml.InputBinding.for_training(node=node, sampler=ALIGNED, split=split)
            for node, split in (("a", "train"), ("b", None), ("c", "val"))
        ]
        phase = mml.TrainPhase("train", input_sources=given, losses=head_losses())
        with pytest.raises(PhaseError, match="stream 'eis' different rows") as caught:
            made.run_phase(phase)
        assert caught.value.found == "eis[train] and eis[val]"

    @pytest.mark.parametrize("primary", [None, "eis"])
    def test_a_set_that_is_not_divided_like_the_primary_one(self, primary):
        first, second = eis(), cycles()
        sampler = mml.AlignedSampler(mml.SimpleSampler(batch_size=5), by="key", primary=primary)
        made = two_heads(first, second)
        phase = mml.TrainPhase.from_split("train", split="val", sampler=sampler, losses=head_losses())
        with pytest.raises(SplitError, match="'cycles' has no split 'val'") as caught:
            made.run_phase(phase)
        assert "node 'b'" in caught.value.where
        assert "InputBinding" in caught.value.hint
        assert "split_by_condition({'val': {'<key>': primary['val'].get_tags('<key>')}}" in caught.value.hint
        second.split_by_condition({"val": {"key": first["val"].get_tags("key")}}, rest="others")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnmatchedRowsWarning)
            results = made.run_phase(phase)
        keys = keys_of(results, "a", first)
        assert keys == keys_of(results, "b", second)
        assert {key for batch in keys for key in batch} == set(first["val"].get_tags("key")) & set(
            second.get_tags("key")
        )

    def test_a_misspelt_split_of_the_primary_one(self):
        first, second = eis(), cycles()
        sampler = mml.AlignedSampler(mml.SimpleSampler(batch_size=5), by="key", primary="eis")
        phase = mml.TrainPhase.from_split("train", split="trian", sampler=sampler, losses=head_losses())
        with pytest.raises(SplitError) as caught:
            two_heads(first, second).run_phase(phase)
        assert caught.value.hint == "Did you mean 'train'?"

    def test_a_stream_that_the_sampler_does_not_have(self):
        first, second = eis(), cycles()
        simple = mml.SimpleSampler(batch_size=5)
        given = bindings(simple, stream="left")
        phase = mml.TrainPhase("train", input_sources=given, losses=head_losses())
        with pytest.raises(SamplerError, match="no stream 'left'") as caught:
            two_heads(first, second).run_phase(phase)
        assert "'default'" in caught.value.expected
        assert "node 'a'" in caught.value.where


def embedding(data, **settings):
    node = mml.ModelNode(
        "net",
        mml.Model("reference/mlp", output_shape=2, **settings),
        data.reference(features="x", targets="y", tags="cell"),
    )
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer("sgd", lr=0.05))
    return mml.Experiment("toy", graph)


def triplets(loss="margin", **settings):
    roles = ("anchor", "positive", "negative")
    applied = mml.AppliedLoss(
        loss, on="net", inputs={role: f"outputs.{role}" for role in roles}, label="triplet"
    )
    sampler = settings.pop("sampler", mml.TripletSampler(batch_size=7, by="cell", shuffle=True, seed=0))
    return mml.TrainPhase.from_split("train", split=None, sampler=sampler, losses=[applied], **settings)


@pytest.mark.usefixtures("margin")
class TestTriplets:
    def test_train_with_a_loss_of_three_outputs(self):
        made = embedding(eis(), hidden=[8])
        results = made.run_phase(triplets(n_epochs=25))
        losses = results.metrics().where(name="train_loss").values
        assert losses[-1] < 0.7 * losses[0]

    def test_a_step_is_the_one_computed_by_hand(self):
        data = eis()
        made = embedding(data)
        made.graph.build(seed=made.initial_seed, context=made.context)
        before = {k: v.astype(np.float64) for k, v in made.graph["net"].get_state()["model"].items()}
        sampler = mml.TripletSampler(batch_size=30, by="cell", seed=3)
        results = made.run_phase(triplets(sampler=sampler, result_recording="all"))
        rows = {role: results.batches("net").where(role=role).values[0] for role in sampler.roles}
        x = data.get_features("x").astype(np.float64)
        weight, bias = before["layers.0.weight"], before["layers.0.bias"]
        a, p, n = (x[rows[role]] @ weight + bias for role in sampler.roles)
        values = np.square(a - p).sum(axis=1) - np.square(a - n).sum(axis=1) + 1
        live = (values > 0)[:, None] * 2 / 30
        gradient = (
            x[rows["anchor"]].T @ (live * (n - p))
            + x[rows["positive"]].T @ (live * (p - a))
            + x[rows["negative"]].T @ (live * (a - n))
        )
        after = made.graph["net"].get_state()["model"]["layers.0.weight"]
        np.testing.assert_allclose(after, weight - 0.05 * gradient, rtol=1e-4, atol=1e-6)
        assert results.losses("net").values[0] == pytest.approx(np.maximum(values, 0).mean(), rel=1e-5)

    def test_recorded_outputs_know_their_role_and_samples(self):
        data = eis()
        results = embedding(data).run_phase(triplets(result_recording="all"))
        cells = data.get_tags("cell")
        batches = results.batches("net")
        for batch in range(4):
            anchor, positive, negative = (
                batches.at(epoch=0, batch=batch, role=role) for role in ("anchor", "positive", "negative")
            )
            assert (cells[anchor] == cells[positive]).all()
            assert (cells[anchor] != cells[negative]).all()

    def test_masked_partners_count_nowhere(self):
        """Of eight rows of six cells, four are alone in theirs."""
        data = eis(n_rows=8)
        sampler = mml.PairedSampler(batch_size=8, conditions={"cell": "similar"}, unmatched="mask")
        losses = [
            mml.AppliedLoss("mse", on="net", inputs=["outputs.anchor", "outputs.pair"], label="pairs"),
            mml.AppliedLoss("mse", on="net", inputs=["outputs.anchor", "outputs.anchor"], label="anchors"),
        ]
        phase = mml.TrainPhase.from_split("train", split=None, sampler=sampler, losses=losses)
        with pytest.warns(UnmatchedRowsWarning, match="4 of 8 rows"):
            results = embedding(data).run_phase(phase)
        counts = {
            label: list(results.losses("net").where(label=label).rows) for label in ("pairs", "anchors")
        }
        assert counts == {"pairs": [4], "anchors": [8]}

    def test_a_lone_domain_is_ambiguous(self):
        applied = mml.AppliedLoss("mse", on="net")
        phase = mml.TrainPhase.from_split(
            "train", split=None, sampler=mml.TripletSampler(batch_size=5, by="cell"), losses=[applied]
        )
        with pytest.raises(LossError, match="several roles") as caught:
            embedding(eis()).run_phase(phase)
        assert "outputs.positive" in caught.value.expected

    def test_aligned_triplets_train_two_heads(self):
        first, second = eis(n_rows=N_CYCLES), cycles()
        base = mml.TripletSampler(batch_size=6, by="cell", shuffle=True, seed=0)
        sampler = mml.AlignedSampler(base, by="key")
        roles = base.roles
        losses = [
            mml.AppliedLoss("margin", on=node, inputs={r: f"outputs.{r}" for r in roles}, label=node)
            for node in "ab"
        ]
        phase = mml.TrainPhase.from_split("train", split=None, sampler=sampler, losses=losses, n_epochs=2)
        results = two_heads(first, second).run_phase(phase)
        for role in roles:
            mine, theirs = (
                [
                    data.get_tags("key")[rows].tolist()
                    for rows in results.batches(node).where(role=role).values
                ]
                for node, data in (("a", first), ("b", second))
            )
            assert mine == theirs


def three_sets():
    """Return a primary set and two others, each of which lacks rows that the other has."""
    sets = []
    for label, keys in (("first", range(8)), ("second", range(6)), ("third", range(2, 8))):
        rng = np.random.default_rng(len(sets))
        columns = {
            "x": rng.normal(size=(len(keys), 3)).astype(np.float32),
            "y": np.array(keys, dtype=np.float32).reshape(-1, 1),
            "key": list(keys),
        }
        sets.append(
            mml.FeatureSet.from_dict(label, columns, feature_keys="x", target_keys="y", tag_keys="key")
        )
    return sets


@pytest.mark.filterwarnings("ignore::mml.errors.UnmatchedRowsWarning")
class TestMasksThatCross:
    """Cells are alone for some rows and keys for others, so partners are masked in one role each."""

    CONDITIONS = {"p": {"cell": "similar"}, "q": {"pair": "similar"}}  # noqa: RUF012 -- never written to

    def data(self):
        cell, pair = [0, 0, 1, 2, 3, 3], [0, 1, 1, 2, 3, 4]
        x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
        columns = {"x": x, "y": x[:, :1], "cell": cell, "pair": pair}
        return mml.FeatureSet.from_dict(
            "rows", columns, feature_keys="x", target_keys="y", tag_keys=["cell", "pair"]
        )

    def losses(self):
        return [
            mml.AppliedLoss("mse", on="net", inputs=["outputs.anchor", f"outputs.{role}"], label=role)
            for role in ("p", "q")
        ]

    def phase(self, losses, *, conditions=None, unmatched="mask", label="train"):
        sampler = mml.NSampler(batch_size=6, conditions=conditions or self.CONDITIONS, unmatched=unmatched)
        return mml.TrainPhase.from_split(label, split=None, sampler=sampler, losses=losses)

    def test_are_told_with_what_crosses_and_a_way_out(self):
        with pytest.raises(DataError, match="masks of these inputs cross") as caught:
            embedding(self.data()).run_phase(self.phase(self.losses()))
        assert "inputs 'net (anchor), net (" in caught.value.where
        assert "beside 'net (" in caught.value.where
        assert "active_nodes" not in caught.value.hint
        for way in ("unmatched='drop'", "fallback", "phase for each loss"):
            assert way in caught.value.hint

    def test_are_none_where_unmatched_rows_are_left_out(self):
        results = embedding(self.data()).run_phase(self.phase(self.losses(), unmatched="drop"))
        assert {label: list(results.losses("net").where(label=label).rows) for label in "pq"} == {
            "p": [1],
            "q": [1],
        }

    def test_are_none_where_a_fallback_serves_every_row(self):
        conditions = {
            role: {column: {"mode": "similar", "fallback": "any"} for column in one}
            for role, one in self.CONDITIONS.items()
        }
        results = embedding(self.data()).run_phase(self.phase(self.losses(), conditions=conditions))
        assert list(results.losses("net").rows) == [6, 6]

    def test_are_none_in_a_phase_for_each_loss(self):
        made = embedding(self.data())
        for loss, n_rows in zip(self.losses(), (4, 2), strict=True):
            results = made.run_phase(self.phase([loss], label=loss.label))
            assert list(results.losses("net").rows) == [n_rows]

    def test_of_streams_are_told_with_their_own_way_out(self):
        first, second, third = three_sets()
        nodes = [
            mml.ModelNode(label, mml.Model("reference/mlp", output_shape=2), data.reference())
            for label, data in (("a", first), ("b", second), ("c", third))
        ]
        merges = [
            mml.ConcatNode(label, [nodes[0], other], concat_axis_targets="a")
            for label, other in (("ab", nodes[1]), ("ac", nodes[2]))
        ]
        heads = [
            mml.ModelNode(f"head-{one.label}", mml.Model("reference/mlp", output_shape=1), one)
            for one in merges
        ]
        made = mml.Experiment("toy", mml.ModelGraph([*nodes, *merges, *heads], optimizer="sgd"))
        losses = [mml.AppliedLoss("mse", on=one.label) for one in heads]
        sampler = mml.AlignedSampler(mml.SimpleSampler(batch_size=8), by="key", unmatched="mask")

        def phase(sampler, losses, **settings):
            return mml.TrainPhase.from_split("train", split=None, sampler=sampler, losses=losses, **settings)

        with pytest.raises(DataError, match="masks of these inputs cross") as caught:
            made.run_phase(phase(sampler, losses))
        assert "inputs 'a, " in caught.value.where
        assert "active_nodes" in caught.value.hint
        branch = phase(sampler, losses[:1], active_nodes=["a", "b", "head-ab"])
        assert list(made.run_phase(branch).losses("head-ab").rows) == [6]
        dropping = mml.AlignedSampler(mml.SimpleSampler(batch_size=8), by="key")
        assert list(made.run_phase(phase(dropping, losses)).losses("head-ac").rows) == [4]
