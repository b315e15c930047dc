"""The models that come with a name."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mml.errors import ModelError, ShapeError
from mml_torch.models import ACTIVATIONS, MLP, CNN1d


def unseeded(make: Any) -> Any:
    with torch.random.fork_rng():
        return make()


def test_mlp_computes_its_layers() -> None:
    net = unseeded(lambda: MLP((3, 2), (2, 5), hidden=[7], activation="tanh")).double()
    inputs = np.random.default_rng(0).normal(size=(4, 3, 2))
    first, last = (one for one in net.layers if isinstance(one, nn.Linear))
    hidden = np.tanh(inputs.reshape(4, 6) @ first.weight.detach().numpy().T + first.bias.detach().numpy())
    expected = (hidden @ last.weight.detach().numpy().T + last.bias.detach().numpy()).reshape(4, 2, 5)
    np.testing.assert_allclose(net(torch.from_numpy(inputs)).detach().numpy(), expected, rtol=1e-12)


def test_cnn1d_averages_what_its_convolutions_see() -> None:
    net = unseeded(lambda: CNN1d((2, 11), 3, channels=[5], kernel_size=3, activation="identity")).double()
    inputs = np.random.default_rng(0).normal(size=(4, 2, 11))
    convolution = net.layers[0]
    weight, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()
    padded = np.pad(inputs, [(0, 0), (0, 0), (1, 1)])
    seen = np.stack(
        [np.einsum("nck,ock->no", padded[:, :, i : i + 3], weight) + bias for i in range(11)], axis=-1
    )
    head = net.head
    expected = seen.mean(-1) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(net(torch.from_numpy(inputs)).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("model", [MLP, CNN1d])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_options_build_and_keep_the_rows(model: Any, activation: str) -> None:
    net = unseeded(lambda: model((11,), (2, 3), activation=activation, dropout=0.2, batch_norm=True)).eval()
    assert [tuple(net(torch.zeros(rows, 11)).shape) for rows in (0, 1, 7)] == [
        (rows, 2, 3) for rows in (0, 1, 7)
    ]
    kinds = [type(one) for one in net.layers]
    assert kinds[1:4] == [nn.BatchNorm1d, type(ACTIVATIONS[activation]()), nn.Dropout]


def test_an_mlp_without_hidden_layers_is_linear() -> None:
    assert [type(one) for one in unseeded(lambda: MLP(3, 2, hidden=[])).layers] == [nn.Linear]


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: MLP(3, 2, activation="rellu"), ModelError, "'relu'"),
        (lambda: MLP(3, 2, hidden="64"), ModelError, "hidden"),
        (lambda: MLP(3, 2, hidden=[0]), ModelError, "hidden"),
        (lambda: MLP(3, 2, hidden=32), ModelError, r"a list of whole numbers(.|\n)*try: Write hidden=\[32\]"),
        (lambda: MLP(3, 2, dropout=1.0), ModelError, "dropout"),
        (lambda: MLP(3, 0), ShapeError, "output_shape"),
        (lambda: CNN1d((3, 5, 7), 2), ShapeError, "cnn1d"),
        (lambda: CNN1d((3, 5), 2, kernel_size=4), ModelError, "kernel_size"),
        (lambda: CNN1d((3, 5), 2, channels=[-1]), ModelError, "channels"),
    ],
)
def test_bad_settings_are_named(make: Any, error: Any, named: str) -> None:
    with pytest.raises(error, match=named):
        make()
