"""Training from several samplers: what is inactive stays as it is, bit for bit, and merges pair rows."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import PairingWarning

WIDTH = 4
BRANCHES = ("a", "b")


def data_set(label, n_rows, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, WIDTH)).astype(np.float32)
    y = (x.sum(axis=1, keepdims=True) * (1 + seed)).astype(np.float32)
    return mml.FeatureSet.from_dict(label, {"x": x, "y": y}, feature_keys="x", target_keys="y")


def branches(*, n_rows=(23, 12), dropout=0.0, optimizer=None):
    """Return an experiment with two branches, each on a set of its own, under one optimizer with momentum."""
    with mml.ExperimentContext().activate():
        nodes = [
            mml.ModelNode(
                label,
                mml.Model("reference/mlp", hidden=[3], output_shape=1, dropout=dropout),
                data_set(f"data-{label}", n, seed).reference(features="x", targets="y"),
            )
            for seed, (label, n) in enumerate(zip(BRANCHES, n_rows, strict=True))
        ]
        optimizer = optimizer or mml.Optimizer("adamw", lr=0.01, weight_decay=0.1)
        return mml.Experiment("toy", mml.ModelGraph(nodes, optimizer=optimizer))


def phase(schedule, *, labels=BRANCHES, batch_size=5, n_epochs=2, **settings):
    sizes = dict(zip(BRANCHES, np.broadcast_to(batch_size, 2).tolist(), strict=True))
    return mml.TrainPhase(
        "train",
        input_sources=[
            mml.InputBinding.for_training(
                node=label, sampler=mml.SimpleSampler(batch_size=sizes[label], shuffle=True, seed=3)
            )
            for label in labels
        ],
        losses=[mml.AppliedLoss("mse", on=label) for label in labels],
        n_epochs=n_epochs,
        batch_schedule=schedule,
        **settings,
    )


def values(made, label):
    state = made.graph[label].get_state()["model"]
    return {name: value.tobytes() for name, value in state.items()}


def slots(made, label):
    """Return everything that the optimizer remembers of a node, as bytes."""
    found = {}

    def walk(value, path):
        if isinstance(value, dict):
            for key, one in value.items():
                walk(one, (*path, str(key)))
        elif any(part.startswith(f"{label}/") for part in path):
            found["/".join(path)] = np.asarray(value).tobytes()

    walk(made.graph.optimizer.get_state(), ())
    return found


class Watch(mml.Callback):
    """Keeps values and slots of both branches after every batch."""

    def __init__(self):
        self.seen = []
        self.losses = []

    def on_batch_end(self, *, experiment, context, **_):
        self.seen.append({label: (values(experiment, label), slots(experiment, label)) for label in BRANCHES})
        self.losses.append(dict(context.losses))


class TestAlternate:
    @pytest.mark.parametrize("schedule", ["alternate_strict", "alternate_cycle"])
    def test_the_inactive_branch_keeps_every_bit(self, schedule):
        watch = Watch()
        branches().run_phase(phase(schedule, callbacks=[watch]))
        assert len(watch.seen) == 2 * 2 * (3 if schedule.endswith("strict") else 5)
        for step in range(1, len(watch.seen)):
            active, idle = BRANCHES[step % 2], BRANCHES[1 - step % 2]
            before, after = watch.seen[step - 1], watch.seen[step]
            assert after[idle] == before[idle]
            assert after[active][0] != before[active][0]
            assert after[active][1] != before[active][1]

    @pytest.mark.parametrize("schedule", ["alternate_strict", "alternate_cycle"])
    def test_the_inactive_loss_counts_no_rows(self, schedule):
        watch = Watch()
        results = branches().run_phase(phase(schedule, callbacks=[watch]))
        for step, losses in enumerate(watch.losses):
            active, idle = BRANCHES[step % 2], BRANCHES[1 - step % 2]
            assert np.isnan(losses[f"{idle}/mse"])
            assert np.isfinite(losses[f"{active}/mse"])
        for label in BRANCHES:
            series = results.losses(label).where(epoch=0)
            live = series.rows > 0
            expected = np.average(np.asarray(series.values)[live], weights=series.rows[live])
            logged = results.metrics().at(name=f"train_loss/{label}/mse", epoch=0)
            assert logged == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize("n_rows", [(20, 20), (23, 23)])
    def test_two_branches_train_as_each_would_alone(self, n_rows):
        """Equal numbers of batches, so that alone each branch takes the very steps of its turns."""
        together, alone = branches(n_rows=n_rows), branches(n_rows=n_rows)
        together.run_phase(phase("alternate_strict", n_epochs=3))
        for label in BRANCHES:
            alone.run_phase(phase("zip_strict", labels=(label,), n_epochs=3, active_nodes=[label]))
        for label in BRANCHES:
            assert values(together, label) == values(alone, label)
            assert slots(together, label) == slots(alone, label)

    def test_a_step_count_is_the_number_of_updates(self):
        made = branches()
        made.run_phase(phase("alternate_cycle", n_epochs=2))
        counts = {
            key: value
            for label in BRANCHES
            for key, value in slots(made, label).items()
            if key.endswith("step")
        }
        assert set(counts.values()) == {np.asarray(2 * 5).tobytes()}

    def test_blocks_do_not_matter(self, monkeypatch):
        usual, cut = branches(dropout=0.2), branches(dropout=0.2)
        usual.run_phase(phase("alternate_cycle"))
        monkeypatch.setattr("mml.experiment.running.pacing._FIRST_STEPS", 1)
        monkeypatch.setattr("mml.experiment.running.pacing.Pacing.end", lambda self, n_steps: None)
        cut.run_phase(phase("alternate_cycle"))
        assert [values(usual, label) for label in BRANCHES] == [values(cut, label) for label in BRANCHES]


class TestZip:
    @pytest.mark.parametrize("schedule", ["zip_strict", "zip_cycle"])
    def test_batches_of_different_sizes_train_each_on_its_rows(self, schedule):
        """23 rows in fives and 12 in fours: five batches beside three, most of unequal length."""
        results = branches().run_phase(phase(schedule, batch_size=(5, 4), n_epochs=1))
        n_steps = 3 if schedule == "zip_strict" else 5
        rows = {label: list(results.losses(label).rows) for label in BRANCHES}
        assert rows == {"a": [5, 5, 5, 5, 3][:n_steps], "b": [4, 4, 4, 4, 4][:n_steps]}

    def test_unequal_branches_train_as_each_would_alone(self):
        together, alone = branches(n_rows=(20, 12)), branches(n_rows=(20, 12))
        together.run_phase(phase("zip_strict", batch_size=(5, 3), n_epochs=2))
        for label, size in zip(BRANCHES, (5, 3), strict=True):
            alone.run_phase(
                phase("zip_strict", labels=(label,), batch_size=size, n_epochs=2, active_nodes=[label])
            )
        for label in BRANCHES:
            assert values(together, label) == values(alone, label)

    def merged(self, n_rows=(12, 12)):
        with mml.ExperimentContext().activate():
            first, second = (
                data_set(name, n, seed) for seed, (name, n) in enumerate(zip(("p", "q"), n_rows, strict=True))
            )
            branch = [
                mml.ModelNode(
                    label,
                    mml.Model("reference/mlp", output_shape=2),
                    one.reference(features="x", targets="y"),
                )
                for label, one in (("a", first), ("b", second))
            ]
            merge = mml.ConcatNode("merge", branch, concat_axis_targets="a")
            head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), merge)
            graph = mml.ModelGraph([*branch, merge, head], optimizer=mml.Optimizer("sgd", lr=0.01))
            return mml.Experiment("toy", graph), first, second

    def merged_phase(self, *, sizes=(4, 4), **settings):
        return mml.TrainPhase(
            "train",
            input_sources=[
                mml.InputBinding.for_training(node=label, sampler=mml.SimpleSampler(batch_size=size))
                for label, size in zip(BRANCHES, sizes, strict=True)
            ],
            losses=[mml.AppliedLoss("mse", on="head")],
            **settings,
        )

    def test_a_merge_of_two_sets_pairs_rows_by_position(self):
        made, first, second = self.merged()
        results = made.run_phase(self.merged_phase(result_recording="all", callbacks=[]))
        made.reset()
        inputs = {"a": first.get_features("x")[:4], "b": second.get_features("x")[:4]}
        expected = made.graph.forward(inputs)["head"]
        np.testing.assert_allclose(results.tensors("head").values[0], expected, rtol=1e-5)
        assert np.array_equal(
            results.tensors("head", content="targets").values[0], first.get_targets("y")[:4]
        )

    def test_a_merge_of_batches_of_unequal_rows_uses_the_rows_that_both_have(self):
        made, _, _ = self.merged()
        with pytest.warns(PairingWarning):
            results = made.run_phase(self.merged_phase(sizes=(4, 3), result_recording="all"))
        assert [len(one) for one in results.tensors("head").values] == [3, 3, 3]
        assert list(results.losses("head").rows) == [3, 3, 3]

    def test_under_alternate_nothing_below_the_merge_runs_or_learns(self):
        made, _, _ = self.merged()
        made.graph.build(seed=made.initial_seed, context=made.context)
        before = [values(made, label) for label in ("a", "b", "head")]
        results = made.run_phase(self.merged_phase(batch_schedule="alternate_strict"))
        assert set(results.losses("head").rows) == {0}
        assert "train_loss" not in results.metric_store
        assert [values(made, label) for label in ("a", "b", "head")] == before


def test_each_branch_learns_under_an_optimizer_of_its_own_too():
    with mml.ExperimentContext().activate():
        nodes = [
            mml.ModelNode(
                label,
                mml.Model("reference/mlp", output_shape=1),
                data_set(f"data-{label}", 20, seed).reference(features="x", targets="y"),
                optimizer=mml.Optimizer("sgd", lr=0.01, momentum=0.9),
            )
            for seed, label in enumerate(BRANCHES)
        ]
        made = mml.Experiment("toy", mml.ModelGraph(nodes))
    watched = []

    class Watched(mml.Callback):
        def on_batch_end(self, *, experiment, **_):
            watched.append({label: values(experiment, label) for label in BRANCHES})

    made.run_phase(phase("alternate_strict", callbacks=[Watched()]))
    for step in range(1, len(watched)):
        active, idle = BRANCHES[step % 2], BRANCHES[1 - step % 2]
        assert watched[step][idle] == watched[step - 1][idle]
        assert watched[step][active] != watched[step - 1][active]
