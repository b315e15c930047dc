"""Steps whose counts of live rows differ: how many executables they take, and that no row sees padding."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from mml.backends import Call, Segment, SegmentInput, SegmentLoss, SegmentOptimizer
from mml.graph.optimizers.canonical import Sgd
from mml_keras3.engines.forms import Form, are_uniform, padded

ops = keras.ops
COUNTS = np.array([[7, live] for live in (7, 5, 3, 6, 2, 4, 1, 7, 3, 5, 0, 4)])


def test_a_form_follows_from_the_counts_alone() -> None:
    assert are_uniform((5, 0, 5))
    assert not are_uniform((5, 4))
    assert padded((5, 0, 4)) == Form((5, 0, 5), is_padded=True)
    assert padded((64, 50)) == padded((64, 3)) == Form((64, 64), is_padded=True)
    # Four binary digits: at most an eighth more rows than there are.
    assert [padded((count, 1)).counts[0] for count in (15, 16, 17, 100, 1000)] == [15, 16, 18, 104, 1024]


class Counting(keras.layers.Layer):
    """Counts how often Python runs it."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[int] = []

    def call(self, inputs: Any) -> Any:
        self.ran.append(1)
        return inputs


def _segment(lab: Any, part: Any, loss: Any, **changes: Any) -> Segment:
    """One node over rows of the first column, scored on those of the second."""
    settings: dict[str, Any] = {
        "backend": "keras3",
        "mode": "train",
        "inputs": (SegmentInput("x", (3,), None, 0), SegmentInput("y", (1,), None, 1)),
        "calls": (Call("net", "net", lab.wrapped(part), None, ("x",), True, 0),),
        "losses": (SegmentLoss("l", "net", loss, ("net", "y"), 1.0, 1),),
        "optimizers": (SegmentOptimizer(Sgd(), lab.store(), ("net",)),),
        "outputs": ("net",),
        "n_rows": 2,
    }
    return Segment(**(settings | changes))


def _spoiled(y: np.ndarray) -> np.ndarray:
    spoiled = y.copy()
    for step, (_, live) in enumerate(COUNTS):
        spoiled[step, live:] = np.nan
    return spoiled


def _run(lab: Any, program: Any, **values: np.ndarray) -> Any:
    return program.run(program.stage(lab.block(COUNTS, **values)), 0, 12, lab.controls(12, rate=0.0))


def test_many_combinations_of_counts_take_few_executables(lab: Any) -> None:
    x, y = lab.data(len(COUNTS))
    counting = Counting()
    net = lab.drawn(keras.Sequential([keras.layers.Dense(1), counting]), 3, 0)
    program = lab.program(_segment(lab, net, lab.loss("mse")))
    counting.ran.clear()
    result = program.run(
        program.stage(lab.block(COUNTS, x=x, y=_spoiled(y))), 0, 12, lab.controls(12, rate=0.0)
    )
    if lab.engine != "torch":
        # Three forms, and the search for rows that look at each other.
        assert len(counting.ran) < len({tuple(row) for row in COUNTS.tolist()})
    kernel, bias = net.layers[0].get_weights()
    outputs = x @ kernel + bias
    expected = [
        ((outputs[step] - y[step])[:live] ** 2).mean() if live else np.nan
        for step, (_, live) in enumerate(COUNTS)
    ]
    np.testing.assert_allclose(lab.numpy(result.losses)[:, 0], expected, rtol=1e-5)
    for step, made in enumerate(result.outputs["net"]):
        np.testing.assert_allclose(lab.numpy(made), outputs[step], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_outputs_and_weights_of_fewer_rows_are_cut_to_them(lab: Any, weighted: bool) -> None:
    x, y = lab.data(len(COUNTS))
    weights = np.random.default_rng(2).uniform(0.5, 2.0, size=(len(COUNTS), 7, 1)).astype("float32")
    net = lab.drawn(keras.Sequential([keras.layers.Dense(1)]), 3, 0)
    segment = _segment(lab, net, lab.loss("mae"))
    inputs = (*segment.inputs, SegmentInput("w", (1,), None, 1))
    losses = (replace(segment.losses[0], sample_weight="w" if weighted else None),)
    calls = (replace(segment.calls[0], rows=1),)
    program = lab.program(replace(segment, inputs=inputs, losses=losses, calls=calls))
    result = _run(lab, program, x=x, y=_spoiled(y), w=_spoiled(weights))
    kernel, bias = net.layers[0].get_weights()
    rows = np.abs(x @ kernel + bias - y) * (weights if weighted else 1.0)
    expected = [rows[step, :live].mean() if live else np.nan for step, (_, live) in enumerate(COUNTS)]
    np.testing.assert_allclose(lab.numpy(result.losses)[:, 0], expected, rtol=1e-5)
    made = [None if one is None else tuple(one.shape) for one in result.outputs["net"]]
    assert made == [(live, 1) if live else None for _, live in COUNTS]


def test_rows_that_look_at_each_other_never_see_padding(lab: Any) -> None:
    x, y = lab.data(len(COUNTS))
    norm = keras.layers.BatchNormalization(center=False, scale=False, epsilon=1e-3)
    net = lab.drawn(keras.Sequential([keras.layers.Dense(1), norm]), 3, 0)
    segment = _segment(lab, net, lab.loss("mse"))
    program = lab.program(replace(segment, calls=(replace(segment.calls[0], rows=1),)))
    result = program.run(
        program.stage(lab.block(COUNTS, x=x, y=_spoiled(y))), 0, 12, lab.controls(12, rate=0.0)
    )
    kernel, bias = net.layers[0].get_weights()
    expected = []
    for step, (_, live) in enumerate(COUNTS):
        outputs = (x[step, :live] @ kernel + bias).astype("float64")
        centred = (outputs - outputs.mean(0)) / np.sqrt(outputs.var(0) + 1e-3) if live else outputs
        expected.append(((centred - y[step, :live]) ** 2).mean() if live else np.nan)
    np.testing.assert_allclose(lab.numpy(result.losses)[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_a_loss_over_the_whole_batch_gets_its_live_rows_only(lab: Any) -> None:
    x, y = lab.data(len(COUNTS))
    net = lab.drawn(keras.Sequential([keras.layers.Dense(1)]), 3, 0)
    whole = lab.backend.wrap_loss(lambda outputs, targets: ops.max(ops.abs(outputs - targets)))
    program = lab.program(_segment(lab, net, whole))
    result = program.run(
        program.stage(lab.block(COUNTS, x=x, y=_spoiled(y))), 0, 12, lab.controls(12, rate=0.0)
    )
    kernel, bias = net.layers[0].get_weights()
    rows = np.abs(x @ kernel + bias - y)
    expected = [rows[step, :live].max() if live else np.nan for step, (_, live) in enumerate(COUNTS)]
    np.testing.assert_allclose(lab.numpy(result.losses)[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("cut", [1, 5])
def test_padded_steps_do_not_depend_on_how_they_are_cut(lab: Any, values_of: Any, cut: int) -> None:
    x, y = lab.data(len(COUNTS))

    def trained(cut: int) -> tuple[list[bytes], bytes]:
        net = lab.net(dropout=0.3)
        program = lab.program(_segment(lab, net, lab.loss("huber")))
        losses = lab.run(program, lab.block(COUNTS, x=x, y=_spoiled(y)), lab.controls(12), cut=cut)
        return values_of(net), losses.tobytes()

    assert trained(cut) == trained(12)


def test_a_node_whose_rows_were_all_live_at_first_is_held_to_its_own_later(lab: Any) -> None:
    """The first step with unequal counts leaves nothing out of the rows that are normalised."""
    x, y = lab.data(3)
    norm = keras.layers.BatchNormalization(center=False, scale=False, epsilon=1e-3)
    net = lab.drawn(keras.Sequential([keras.layers.Dense(1), norm]), 3, 0)
    segment = _segment(lab, net, lab.loss("mse"))
    calls, losses = (replace(segment.calls[0], rows=2),), (replace(segment.losses[0], rows=3),)
    program = lab.program(replace(segment, calls=calls, losses=losses, n_rows=4))
    counts = np.array([[7, 5, 7, 5], [7, 7, 4, 4], [7, 3, 3, 3]])
    staged = program.stage(lab.block(counts, x=x, y=y))
    result = program.run(staged, 0, 3, lab.controls(3, rate=0.0))
    kernel, bias = net.layers[0].get_weights()
    for step, (_, _, live, scored) in enumerate(counts):
        outputs = (x[step, :live] @ kernel + bias).astype("float64")
        centred = (outputs - outputs.mean(0)) / np.sqrt(outputs.var(0) + 1e-3)
        np.testing.assert_allclose(lab.numpy(result.outputs["net"][step]), centred, rtol=1e-4, atol=1e-5)
        expected = ((centred[:scored] - y[step, :scored]) ** 2).mean()
        np.testing.assert_allclose(lab.numpy(result.losses)[step, 0], expected, rtol=1e-4)
