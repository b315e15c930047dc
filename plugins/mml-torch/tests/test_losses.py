"""Named losses against float64 formulas and differences; raw ones keep their meaning."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mml
from mml.errors import LossError, NonFiniteError, ShapeError
from mml_torch import losses
from mml_torch.ops import TorchOps

RNG = np.random.default_rng(0)
OUT, TARGET = RNG.normal(size=(7, 3)) * 2, RNG.normal(size=(7, 3)) * 2
PROBABILITY, SHARE = RNG.uniform(0.01, 0.99, size=(7, 3)), RNG.uniform(size=(7, 3))
CLASSES = RNG.integers(0, 3, size=(7, 1))
TINY = 1e-37


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def huber(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    d = np.abs(x - t)
    return np.where(d <= 0.7, d**2 / 2, 0.7 * (d - 0.35)).mean(1)


CASES: dict[str, tuple[Any, np.ndarray, np.ndarray, Any]] = {
    "mse": (losses.MeanSquaredError(), OUT, TARGET, lambda x, t: ((x - t) ** 2).mean(1)),
    "mae": (losses.MeanAbsoluteError(), OUT, TARGET, lambda x, t: np.abs(x - t).mean(1)),
    "huber": (losses.Huber(delta=0.7), OUT, TARGET, huber),
    "bce": (
        losses.BinaryCrossEntropy(),
        PROBABILITY,
        SHARE,
        lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x)).mean(1),
    ),
    "bce_logits": (
        losses.BinaryCrossEntropyLogits(),
        OUT,
        SHARE,
        lambda x, t: (np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))).mean(1),
    ),
    "cross_entropy": (
        losses.CrossEntropy(),
        OUT,
        CLASSES,
        lambda x, t: -np.take_along_axis(log_softmax(x), t, 1)[:, 0],
    ),
    "nll": (losses.NegativeLogLikelihood(), OUT, CLASSES, lambda x, t: -np.take_along_axis(x, t, 1)[:, 0]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_values_and_slopes_agree_with_the_formula(name: str, reduction: str) -> None:
    loss, outputs, targets, formula = CASES[name]
    weights = RNG.uniform(0.5, 2.0, size=7) if reduction == "none" else np.full(7, 1 / 7)
    tensor = torch.from_numpy(outputs.copy()).requires_grad_()
    result = loss(tensor, torch.from_numpy(targets), reduction=reduction)
    expected = formula(outputs, targets)
    np.testing.assert_allclose(
        result.detach(), expected.mean() if reduction == "mean" else expected, rtol=1e-12
    )
    (result if reduction == "mean" else (result * torch.from_numpy(weights)).sum()).backward()
    slopes = np.zeros_like(outputs)
    for index in np.ndindex(*outputs.shape):
        moved = [outputs.copy(), outputs.copy()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        above, below = (float((formula(one, targets) * weights).sum()) for one in moved)
        slopes[index] = (above - below) / 2e-6
    np.testing.assert_allclose(tensor.grad, slopes, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "bce", "bce_logits"])
def test_shapes_that_would_broadcast_are_refused(name: str) -> None:
    loss = CASES[name][0]
    for outputs, targets in (((7,), (7, 1)), ((7, 1), (7,)), ((7, 3), (7, 1))):
        with pytest.raises(ShapeError, match=r"\(7"):
            loss(torch.full(outputs, 0.5), torch.full(targets, 0.5))


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "bce", "bce_logits"])
def test_whole_number_targets_and_rows_of_any_rank_are_taken(name: str) -> None:
    loss = CASES[name][0]
    targets = torch.tensor([[[1], [0]], [[0], [1]], [[1], [1]]])
    outputs = torch.linspace(0.1, 0.9, 6).reshape(3, 2, 1)
    rows = loss(outputs, targets, reduction="none")
    assert rows.shape == (3,)
    torch.testing.assert_close(rows.mean(), loss(outputs, targets.float()))
    assert loss(outputs.flatten(), targets.flatten(), reduction="none").shape == (6,)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_logits_of_any_size_keep_value_and_slope(logit: float) -> None:
    outputs = torch.tensor([[logit]], requires_grad=True)
    losses.BinaryCrossEntropyLogits()(outputs, torch.tensor([[0.0 if logit > 0 else 1.0]])).backward()
    assert abs(float(outputs.grad)) == 1.0
    wide = torch.tensor([[logit, 0.0, -logit]], requires_grad=True)
    value = losses.CrossEntropy()(wide, torch.tensor([0 if logit < 0 else 2]))
    value.backward()
    assert float(value.detach()) == 400.0
    assert float(wide.grad.abs().max()) == 1.0


@pytest.mark.parametrize("probability", [1e-3, 1e-15, 1e-30])
def test_no_probability_is_clipped(probability: float) -> None:
    outputs = torch.tensor([[probability]], requires_grad=True)
    value = losses.BinaryCrossEntropy()(outputs, torch.ones(1, 1))
    value.backward()
    np.testing.assert_allclose(float(value.detach()), -np.log(probability), rtol=1e-6)
    np.testing.assert_allclose(float(outputs.grad), -1 / probability, rtol=1e-6)


def test_probabilities_of_0_and_1_have_finite_values_and_slopes() -> None:
    outputs = torch.tensor([[0.0], [1.0], [0.0], [1.0]], requires_grad=True)
    rows = losses.BinaryCrossEntropy()(outputs, torch.tensor([[0.0], [1.0], [1.0], [0.0]]), reduction="none")
    rows.sum().backward()
    np.testing.assert_allclose(rows.detach(), [0.0, 0.0, -np.log(TINY), -np.log(TINY)], rtol=1e-6)
    assert torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.NegativeLogLikelihood()])
def test_class_numbers_come_in_any_integer_dtype_and_nothing_else(loss: Any) -> None:
    outputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    numbers = torch.tensor([0, 1, 2, 1, 0])
    expected = loss(outputs, numbers)
    for dtype in (torch.int8, torch.uint8, torch.int32, torch.int64):
        assert torch.equal(loss(outputs, numbers.to(dtype).reshape(5, 1)), expected)
    with pytest.raises(LossError, match="integer"):
        loss(outputs, numbers.float())
    for targets in (numbers[:4], numbers.reshape(5, 1).repeat(1, 3)):
        with pytest.raises(ShapeError, match="classes"):
            loss(outputs, targets)


@pytest.mark.parametrize("loss", [losses.CrossEntropy(), losses.NegativeLogLikelihood()])
@pytest.mark.parametrize("wrong", [-100, -1, 3])
def test_no_class_number_is_ignored(loss: Any, wrong: int) -> None:
    with pytest.raises(LossError, match="no class") as caught:
        loss(torch.zeros(2, 3), torch.tensor([1, wrong]))
    assert str(wrong) in caught.value.found
    assert "0 to 2" in caught.value.expected
    assert isinstance(caught.value.__cause__, IndexError)


@pytest.mark.parametrize("delta", [0, -1.0, float("inf"), "1"])
def test_a_bad_delta_is_refused(delta: Any) -> None:
    with pytest.raises(LossError, match="delta"):
        losses.Huber(delta=delta)


def wrapped(loss: Any) -> Any:
    return losses.wrap_loss(loss, TorchOps())


def test_a_raw_loss_keeps_its_meaning() -> None:
    outputs, targets = torch.from_numpy(OUT), torch.from_numpy(TARGET)
    summed = wrapped(nn.MSELoss(reduction="sum"))
    assert summed.is_sum
    assert torch.equal(summed(outputs, targets), ((outputs - targets) ** 2).sum())
    assert torch.equal(wrapped(nn.SmoothL1Loss)(outputs, targets), nn.SmoothL1Loss()(outputs, targets))
    rows = wrapped(nn.MSELoss())(outputs, targets, reduction="none")
    torch.testing.assert_close(rows, ((outputs - targets) ** 2).mean(1))
    classes = torch.from_numpy(CLASSES)
    raw = nn.CrossEntropyLoss(weight=torch.tensor([0.2, 1.0, 3.0]).double(), label_smoothing=0.1)
    assert torch.equal(wrapped(raw)(outputs, classes), raw(outputs, classes[:, 0]))
    assert raw.reduction == "mean"


def test_a_raw_elementwise_loss_refuses_to_broadcast() -> None:
    with pytest.raises(ShapeError):
        wrapped(nn.MSELoss())(torch.zeros(7, 1), torch.zeros(7))


def test_callables_give_one_value_or_one_a_row() -> None:
    outputs, targets = torch.from_numpy(OUT), torch.from_numpy(TARGET)
    by_row = wrapped(lambda x, t: (x - t).abs())
    assert torch.equal(by_row(outputs, targets), (outputs - targets).abs().mean())
    assert by_row(outputs, targets, reduction="none").shape == (7,)
    functional = wrapped(nn.functional.mse_loss)
    torch.testing.assert_close(
        functional(outputs, targets, reduction="none"), ((outputs - targets) ** 2).mean(1)
    )
    with pytest.raises(LossError, match="one number"):
        wrapped(lambda x, t: (x - t).abs().mean())(outputs, targets, reduction="none")
    with pytest.raises(LossError):
        wrapped(3)


def test_probabilities_that_are_logits_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    with mml.ExperimentContext().activate():
        data = mml.FeatureSet.from_numpy(
            "rows", rng.normal(size=(40, 3)).astype("float32"), targets=rng.integers(0, 2, 40)
        )
        node = mml.ModelNode("net", mml.Model("torch/mlp", output_shape=1), data)
        made = mml.Experiment("logits", mml.ModelGraph([node], optimizer="adam"), seed=0)
        phase = mml.TrainPhase.from_split(
            "train",
            split=None,
            sampler=mml.SimpleSampler(batch_size=8),
            losses=[mml.AppliedLoss("bce", on="net")],
        )
        with pytest.raises(NonFiniteError) as caught:
            made.run_phase(phase)
    assert caught.value.hint.startswith("'bce' takes probabilities from 0 to 1")
    assert "'bce_logits'" in caught.value.hint
