"""Results of phases: what is recorded is read back, combined by rows, and survives as state."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import MMLError, ResultError, ShapeError, StateError
from mml.experiment.results import (
    CallbackResult,
    EvalResults,
    FitResults,
    MetricResult,
    PhaseResults,
    TrainResults,
)
from mml.files.state_codec import flatten_state, unflatten_state

LABELS, NODES, WEIGHTS = ("head/bce", "enc/l2"), ("head", "enc"), np.array([1.0, 0.25])


def record(results, *, epoch, values, rows, first=0, labels=LABELS, nodes=NODES, weights=WEIGHTS):
    values = np.asarray(values)
    results.record_losses(
        epoch=epoch,
        batches=np.arange(first, first + len(values)),
        labels=labels,
        nodes=nodes,
        values=values,
        rows=np.asarray(rows, dtype=np.int64),
        weights=weights,
    )


def record_output(results, *, batch, node="head", epoch=0, role="default", n=2, targets=True):
    outputs = np.full((n, 3), 10.0 * epoch + batch, dtype=np.float32)
    results.record_outputs(
        epoch=epoch,
        batch=batch,
        node=node,
        role=role,
        outputs=outputs,
        targets=np.full((n, 1), batch) if targets else None,
        sample_uuids=np.full((n, 16), batch, dtype=np.uint8),
    )


def filled(kind=TrainResults):
    results = kind("phase")
    results.status = "completed"
    results.started_at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    results.ended_at = results.started_at + timedelta(seconds=90)
    for epoch in range(2):
        record(results, epoch=epoch, values=[[1.0, math.nan], [3.0 + epoch, 4.0]], rows=[[2, 0], [1, 5]])
        results.close_epoch(epoch)
        results.record_batches(
            epoch=epoch, batches=np.arange(2), node="head", rows=[np.array([4, 1]), np.array([0, -1, 3])]
        )
        record_output(results, epoch=epoch, batch=0)
        record_output(results, epoch=epoch, batch=1, targets=False, node="enc")
    results.metric_store.log("lr/graph", 0.1, epoch=0, batch=1)
    nested = EvalResults("validate")
    record(nested, epoch=0, values=[[1.0, 2.0]], rows=[[2, 2]])
    results.record_callback(MetricResult("val_loss", 0.5, callback="Evaluation"), epoch=0)
    results.record_callback(CallbackResult("Evaluation", nested), epoch=0)
    value = {
        "a": [1, (2.5, math.inf), None],
        "b": np.arange(3, dtype=np.int16),
        "c": np.float32(0.1),
        "d": True,
    }
    results.record_callback(CallbackResult("Custom", value), epoch=1, batch=1)
    return results


BLOCKS = st.lists(
    st.lists(
        st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=6,
)


@given(BLOCKS)
def test_losses_combine_by_rows_whatever_the_blocks(blocks):
    results = EvalResults("eval")
    first = 0
    for block in blocks:
        record(
            results,
            epoch=0,
            values=[one[:2] for one in block],
            rows=[one[2:] for one in block],
            first=first,
        )
        first += len(block)
    batches = [one for block in blocks for one in block]
    expected = {}
    for position, label in enumerate(LABELS):
        rows = sum(one[2 + position] for one in batches)
        if rows:
            expected[label] = math.fsum(one[position] * one[2 + position] for one in batches) / rows
    total = sum(
        weight * expected[label] for label, weight in zip(LABELS, WEIGHTS, strict=True) if label in expected
    )
    found = results.aggregated_losses()
    assert found == pytest.approx(
        expected | {"total": total if expected else math.nan}, nan_ok=True, abs=1e-9
    )
    whole = EvalResults("eval")
    record(whole, epoch=0, values=[one[:2] for one in batches], rows=[one[2:] for one in batches])
    # The bits do not depend on how the executor cut its blocks.
    assert whole.losses() == results.losses()
    assert np.array_equal(list(whole.aggregated_losses().values()), list(found.values()), equal_nan=True)


def test_blocks_of_different_losses_for_the_same_batches_interleave():
    together, apart = TrainResults("train"), TrainResults("train")
    record(together, epoch=0, values=[[1.0, 2.0], [3.0, 4.0]], rows=np.full((2, 2), 3))
    record(
        apart,
        epoch=0,
        values=[[1.0], [3.0]],
        rows=[[3], [3]],
        labels=LABELS[:1],
        nodes=("head",),
        weights=[1.0],
    )
    record(
        apart,
        epoch=0,
        values=[[2.0], [4.0]],
        rows=[[3], [3]],
        labels=LABELS[1:],
        nodes=("enc",),
        weights=[0.25],
    )
    assert apart.losses() == together.losses()
    assert apart.close_epoch(0) == together.close_epoch(0)
    assert apart.metrics("batch") == together.metrics("batch")


def test_losses_are_fetched_once_and_only_when_read():
    calls = []

    def fetch():
        calls.append(1)
        return np.array([[1.0, 2.0]], dtype=np.float32)

    results = TrainResults("train")
    results.record_losses(
        epoch=0,
        batches=np.array([0]),
        labels=LABELS,
        nodes=NODES,
        values=fetch,
        rows=np.array([[4, 4]]),
        weights=WEIGHTS,
    )
    assert calls == []
    assert results.close_epoch(0) == 1.5
    assert results.losses().at(epoch=0, batch=0, label="enc/l2") == 2.0
    assert results.get_state() is not None
    assert calls == [1]


def test_losses_are_series_by_epoch_batch_and_label():
    results = filled()
    losses = results.losses()
    assert losses.axes == ("epoch", "batch", "label")
    assert losses.at(epoch=1, batch=1, label="head/bce") == 4.0
    assert losses.values.dtype == np.float64
    assert losses.rows.tolist() == [2, 0, 1, 5] * 2
    assert results.losses("enc").axes_values()["label"] == ["enc/l2"]
    with pytest.raises(ResultError, match="Did you mean 'head'"):
        results.losses("haed")


def test_a_node_may_stand_for_its_label():
    class Node:
        label = "enc"

    results = filled()
    assert results.losses(Node()) == results.losses("enc")
    np.testing.assert_array_equal(results.tensors(Node()).at(epoch=0), results.tensors("enc").at(epoch=0))


def test_a_view_read_before_does_not_grow():
    results = TrainResults("train")
    record(results, epoch=0, values=[[1.0, 1.0]], rows=[[1, 1]])
    before = results.losses()
    assert results.losses() is before
    record(results, epoch=1, values=[[2.0, 2.0]], rows=[[1, 1]])
    assert len(before) == 2
    assert len(results.losses()) == 4


def test_closing_an_epoch_logs_the_total_and_each_loss():
    results = TrainResults("train")
    record(results, epoch=3, values=[[1.0, math.nan], [4.0, 2.0]], rows=[[2, 0], [1, 1]])
    assert results.close_epoch(3) == 2.0 + 0.25 * 2.0
    metrics = results.metrics()
    assert metrics.axes == ("name", "epoch")
    assert metrics.at(name="train_loss", epoch=3) == 2.5
    assert metrics.at(name="train_loss/head/bce", epoch=3) == 2.0
    assert metrics.at(name="train_loss/enc/l2", epoch=3) == 2.0
    assert results.metric_store.latest("train_loss") == 2.5


def test_an_evaluation_logs_under_its_own_name_and_any_name_may_be_given():
    results = EvalResults("test")
    record(results, epoch=0, values=[[1.0, 2.0]], rows=[[1, 1]])
    results.close_epoch(0)
    results.close_epoch(0, metric="val_loss")
    assert {"eval_loss", "eval_loss/head/bce", "val_loss"} <= set(results.metric_store.names())


def test_an_epoch_without_rows_logs_nothing():
    results = TrainResults("train")
    record(results, epoch=0, values=[[math.nan, math.nan]], rows=[[0, 0]])
    assert math.isnan(results.close_epoch(0))
    assert results.metric_store.names() == []
    assert len(results.metrics("batch")) == 0


def test_batch_metrics_hold_losses_with_their_rows():
    results = TrainResults("train")
    record(results, epoch=0, values=[[1.0, math.nan], [4.0, 2.0]], rows=[[2, 0], [1, 1]])
    results.close_epoch(0)
    results.metric_store.log("lr/graph", 0.5, epoch=0, batch=1)
    metrics = results.metrics(level="batch")
    assert metrics.axes == ("name", "epoch", "batch")
    assert metrics.at(name="train_loss", epoch=0, batch=0) == 1.0
    assert metrics.at(name="train_loss", epoch=0, batch=1) == 4.5
    assert metrics.select(name="train_loss/enc/l2") == [2.0]
    assert metrics.at(name="lr/graph", epoch=0, batch=1) == 0.5
    # Combined over batches by rows: not the mean of batch means, which is 2.5.
    assert metrics.where(name="train_loss/head/bce").collapse("batch", "mean").at() == 2.0


def test_a_loss_logged_by_hand_per_batch_is_not_derived_again():
    results = TrainResults("train")
    record(results, epoch=0, values=[[1.0, 1.0]], rows=[[1, 1]])
    results.metric_store.log("train_loss", 9.0, epoch=0, batch=0)
    assert results.metrics("batch").select(name="train_loss") == [9.0]


def test_epochs_of_training():
    results = filled()
    assert results.epoch_indices == [0, 1]
    assert results.n_epochs == 2
    losses = results.epoch_losses()
    assert losses.axes == ("epoch", "label")
    assert losses.at(epoch=0, label="head/bce") == pytest.approx(5 / 3)
    assert losses.at(epoch=0, label="enc/l2") == 4.0
    assert results.epoch_losses("enc").select() == [4.0, 4.0]


def test_stacked_tensors_follow_the_batches_with_targets_and_uuids_beside_them():
    results = EvalResults("test")
    for batch in (2, 0, 1):
        record_output(results, batch=batch, n=batch + 1)
    outputs = results.stacked_tensors("head")
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs[:, 0], [0, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(results.stacked_targets()[:, 0], [0, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(results.stacked_sample_uuids()[:, 5], [0, 1, 1, 2, 2, 2])
    assert results.tensors().axes == ("epoch", "batch")
    np.testing.assert_array_equal(results.tensors("head").at(batch=1), np.ones((2, 3)))


def test_what_to_stack_must_be_unambiguous():
    results = EvalResults("test")
    record_output(results, batch=0, node="a", role="anchor")
    record_output(results, batch=0, node="b", targets=False)
    with pytest.raises(ResultError, match="'a', 'b'"):
        results.stacked_tensors()
    with pytest.raises(ResultError, match="one of 'anchor'"):
        results.stacked_tensors("a")
    with pytest.raises(ResultError, match="Available: 'a', 'b'"):
        results.stacked_tensors("zzz")
    with pytest.raises(ResultError, match="No targets"):
        results.stacked_targets("b")
    assert results.stacked_tensors("a", role="anchor").shape == (2, 3)


def test_outputs_of_different_width_do_not_stack():
    results = EvalResults("test")
    record_output(results, batch=0)
    results.record_outputs(
        epoch=0,
        batch=1,
        node="head",
        role="default",
        outputs=np.zeros((2, 4)),
        targets=None,
        sample_uuids=np.zeros((2, 16), dtype=np.uint8),
    )
    with pytest.raises(ShapeError, match=r"\(2, 3\), \(2, 4\)"):
        results.stacked_tensors()


def test_tensors_that_were_not_recorded_name_the_option():
    results = EvalResults("test", result_recording="none")
    record_output(results, batch=0)
    for ask in (results.stacked_tensors, results.stacked_targets, results.tensors):
        with pytest.raises(ResultError, match="result_recording") as caught:
            ask("head")
        assert "phase 'test'" in str(caught.value)


def test_last_keeps_the_latest_epoch_only():
    results = TrainResults("train", result_recording="last")
    for epoch in range(3):
        for batch in range(2):
            record_output(results, epoch=epoch, batch=batch)
    assert results.tensors().axes_values() == {"epoch": [2], "batch": [0, 1]}


def test_dropped_tensors_say_so_and_everything_else_stays():
    results = EvalResults("test")
    record(results, epoch=0, values=[[1.0, 2.0]], rows=[[1, 1]])
    record_output(results, batch=0)
    results.drop_tensors()
    with pytest.raises(ResultError, match="dropped"):
        results.stacked_tensors()
    assert results.aggregated_losses()["total"] == 1.5


def test_an_unknown_recording_is_refused():
    with pytest.raises(ResultError, match="'none', 'last' or 'all'"):
        EvalResults("test", result_recording="some")


def test_batches_hold_row_numbers():
    batches = filled().batches()
    assert batches.axes == ("epoch", "batch", "role")
    np.testing.assert_array_equal(batches.at(epoch=1, batch=1, role="default"), [0, -1, 3])
    np.testing.assert_array_equal(batches.collapse("batch", "concat").at(epoch=0), [4, 1, 0, -1, 3])
    with pytest.raises(ResultError, match="Did you mean 'head'"):
        filled().batches("heat")
    with pytest.raises(ResultError, match="No batches"):
        TrainResults("train").batches()


def test_callback_results_are_kept_and_metrics_logged():
    results = filled()
    series = results.callbacks()
    assert series.axes == ("epoch", "batch", "callback")
    assert series.at(callback="Custom").value["d"] is True
    assert isinstance(series.select(callback="Evaluation")[0], MetricResult)
    assert results.metrics().at(name="val_loss", epoch=0) == 0.5
    with pytest.raises(ResultError, match="float"):
        results.record_callback(0.5, epoch=0)


def test_results_of_callbacks_are_named_and_filled_in():
    result = MetricResult("val_loss", 0.5)
    assert (result.callback, result.name, result.value) == ("", "val_loss", 0.5)
    assert CallbackResult("Custom").value is None
    assert MetricResult("val_loss", 0.5, callback="x") != result


def test_losses_that_do_not_fit_their_batches_are_refused():
    results = TrainResults("train")
    record(results, epoch=0, values=np.zeros((2, 3)), rows=np.ones((2, 2)))
    with pytest.raises(ResultError, match=r"shape \(2, 2\)"):
        results.losses()
    results = TrainResults("train")
    record(results, epoch=0, values=np.zeros((2, 2)), rows=np.ones((1, 2)))
    with pytest.raises(ResultError, match="rows"):
        results.losses()


@pytest.mark.parametrize("kind", [PhaseResults, TrainResults, EvalResults, FitResults])
def test_state_comes_back_bit_for_bit(kind):
    results, other = filled(kind), kind("phase")
    tree, arrays = flatten_state(results.get_state())
    other.set_state(unflatten_state(tree, arrays))
    assert other.losses() == results.losses()
    assert other.metrics() == results.metrics()
    assert other.metrics("batch") == results.metrics("batch")
    assert other.tensors("head") == results.tensors("head")
    assert other.batches() == results.batches()
    assert other.meta == results.meta
    assert (other.duration_s, other.status) == (90.0, "completed")
    custom = other.callbacks().at(callback="Custom").value
    assert custom["a"] == [1, (2.5, math.inf), None]
    assert custom["b"].dtype == np.int16
    assert type(custom["c"]) is np.float32
    nested = other.callbacks().select(callback="Evaluation")[1].value
    assert isinstance(nested, EvalResults)
    assert nested.aggregated_losses() == {"head/bce": 1.0, "enc/l2": 2.0, "total": 1.5}
    again = flatten_state(other.get_state())
    assert again[0] == tree
    assert {path: array.tobytes() for path, array in again[1].items()} == {
        path: array.tobytes() for path, array in arrays.items()
    }


def test_recording_continues_after_loading_as_if_nothing_had_happened():
    whole, first, second = TrainResults("train"), TrainResults("train"), TrainResults("train")
    rng = np.random.default_rng(0)
    blocks = [rng.random((3, 2)) for _ in range(4)]
    for position, block in enumerate(blocks):
        record(whole, epoch=0, values=block, rows=np.full((3, 2), 7), first=3 * position)
    for position, block in enumerate(blocks[:2]):
        record(first, epoch=0, values=block, rows=np.full((3, 2), 7), first=3 * position)
    second.set_state(first.get_state())
    for position, block in enumerate(blocks[2:], start=2):
        record(second, epoch=0, values=block, rows=np.full((3, 2), 7), first=3 * position)
    assert second.close_epoch(0) == whole.close_epoch(0)
    assert second.losses() == whole.losses()


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.update(label="other"),
        lambda state: state.update(kind="EvalResults"),
        lambda state: state.update(status="splendid"),
        lambda state: state.update(started_at="yesterday"),
        lambda state: state.update(failure={"type": "ValueError"}),
        lambda state: state.pop("losses"),
        lambda state: state["losses"].update(rows=np.zeros(1, dtype=np.int64)),
        lambda state: state["losses"].update(label=np.full(8, 7, dtype=np.int32)),
        lambda state: state["losses"].update(nodes=["head"]),
        lambda state: state["tensors"].update(recording="some"),
        lambda state: state["tensors"]["outputs"].pop(),
        lambda state: state["tensors"].update(outputs=[1, 2, 3, 4]),
        lambda state: state["batches"].update(ends=np.array([2, 5, 7, 11])),
        lambda state: state["batches"].update(ends=np.array([2, 1, 7, 10])),
        lambda state: state["callbacks"].update(epoch=[0]),
        lambda state: state["callbacks"].update(epoch=["0", "0", "1"]),
        lambda state: state["callbacks"]["results"][0].update(value={"type": "code", "value": "x"}),
        lambda state: state["callbacks"]["results"][0].update(value={"type": "array", "value": "x"}),
        lambda state: state["callbacks"]["results"][1]["value"]["value"].update(kind="Unknown"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(damage):
    state = filled().get_state()
    damage(state)
    results = TrainResults("phase")
    record(results, epoch=0, values=[[1.0, 1.0]], rows=[[1, 1]])
    with pytest.raises(MMLError):
        results.set_state(state)
    assert results.losses().select() == [1.0, 1.0]
    assert results.status == "running"


def test_a_callback_value_that_cannot_be_saved_names_its_callback():
    results = TrainResults("train")
    results.record_callback(CallbackResult("Odd", object()), epoch=0)
    with pytest.raises(StateError, match="callback 'Odd'"):
        results.get_state()


def test_a_failure_is_kept_as_text():
    results, other = TrainResults("train"), TrainResults("train")
    results.status = "failed"
    results.exception = ValueError("it broke")
    other.set_state(results.get_state())
    assert other.exception is None
    assert str(other.failure) == "ValueError: it broke"
    assert "ValueError: it broke" in other.summary()


def test_an_unknown_status_is_refused():
    with pytest.raises(ResultError, match="completed"):
        TrainResults("train").status = "done"


def test_summary_reads_as_text():
    text = filled().summary()
    assert "TrainResults 'phase' completed, 1 min 30 s" in text
    assert "2 epochs" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["val_loss", "0.5", "0.5", "0.5", "0.5"] in lines
    assert "train_loss" in repr(filled())
