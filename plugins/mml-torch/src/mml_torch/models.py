"""The models that come with a name: `mlp` and `cnn1d`, equal in structure to other backends' of that name.

Both are plain modules; nothing in a graph treats them differently from a user's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mml.errors import ModelError, ShapeError, did_you_mean

Shape = tuple[int, ...]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


class MLP(nn.Module):
    """Fully connected layers, each with an activation; the last one linear.

    Parameters
    ----------
    input_shape : tuple of int or int
        Shape of one input sample; more than one axis is flattened.
    output_shape : tuple of int or int
        Shape of one output sample.
    hidden : sequence of int
        Widths of the hidden layers.
    activation : str
        One of `ACTIVATIONS`.
    dropout : float
        Share of hidden units that training drops, from 0 to below 1.
    batch_norm : bool
        Normalise over the batch before each activation.

    Examples
    --------
    >>> import torch
    >>> MLP((3, 5), 2, hidden=[7])(torch.zeros(4, 3, 5)).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        input_shape: Shape | int,
        output_shape: Shape | int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.output_shape = _shape("mlp", "output_shape", output_shape)
        _check_dropout("mlp", dropout)
        make_activation = _activation("mlp", activation)
        width = math.prod(_shape("mlp", "input_shape", input_shape))
        layers: list[nn.Module] = []
        for size in _sizes("mlp", "hidden", hidden):
            layers.append(nn.Linear(width, size))
            if batch_norm:
                layers.append(nn.BatchNorm1d(size))
            layers.append(make_activation())
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        layers.append(nn.Linear(width, math.prod(self.output_shape)))
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map ``(rows, *input_shape)`` to ``(rows, *output_shape)``."""
        outputs: Tensor = self.layers(inputs if inputs.dim() == 2 else inputs.flatten(1))
        return outputs if len(self.output_shape) == 1 else outputs.view(outputs.shape[0], *self.output_shape)


class CNN1d(nn.Module):
    """Convolutions along one axis, averaged over it, then a linear layer.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, length)``, or ``(length,)`` for one channel.
    output_shape : tuple of int or int
        Shape of one output sample.
    channels : sequence of int
        Channels of the convolutions.
    kernel_size : int
        Odd, so that the length stays.
    activation, dropout, batch_norm
        As in `MLP`, after each convolution.

    Examples
    --------
    >>> import torch
    >>> CNN1d((3, 11), 2, channels=[5])(torch.zeros(4, 3, 11)).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        input_shape: Shape | int,
        output_shape: Shape | int,
        *,
        channels: Sequence[int] = (16, 32),
        kernel_size: int = 3,
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.output_shape = _shape("cnn1d", "output_shape", output_shape)
        shape = _shape("cnn1d", "input_shape", input_shape)
        if len(shape) not in (1, 2):
            raise ShapeError(
                "cnn1d convolves along one axis.",
                expected="(channels, length) or (length,)",
                found=str(shape),
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ModelError(
                "cnn1d got a bad kernel_size.", expected="an odd number above 0", found=repr(kernel_size)
            )
        _check_dropout("cnn1d", dropout)
        make_activation = _activation("cnn1d", activation)
        width = shape[0] if len(shape) == 2 else 1
        layers: list[nn.Module] = []
        for size in _sizes("cnn1d", "channels", channels):
            layers.append(nn.Conv1d(width, size, kernel_size, padding=kernel_size // 2))
            if batch_norm:
                layers.append(nn.BatchNorm1d(size))
            layers.append(make_activation())
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = size
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(width, math.prod(self.output_shape))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map ``(rows, *input_shape)`` to ``(rows, *output_shape)``."""
        features = self.layers(inputs if inputs.dim() == 3 else inputs.unsqueeze(1))
        outputs: Tensor = self.head(features.mean(dim=-1))
        return outputs if len(self.output_shape) == 1 else outputs.view(outputs.shape[0], *self.output_shape)


def _shape(model: str, argument: str, value: Shape | int) -> Shape:
    shape = (value,) if isinstance(value, int) else tuple(value)
    if not all(isinstance(one, int) and one > 0 for one in shape):
        raise ShapeError(
            f"{model} got a bad {argument}.", expected="whole numbers above 0", found=repr(value)
        )
    return shape


def _sizes(model: str, argument: str, value: Sequence[int]) -> list[int]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, int) and one > 0 for one in value):
        raise ModelError(
            f"{model} got a bad {argument}.",
            expected="a list of whole numbers above 0, one a layer",
            found=repr(value),
            hint=f"Write {argument}=[{value}]." if isinstance(value, int) and value > 0 else None,
        )
    return list(value)


def _activation(model: str, name: str) -> Callable[[], nn.Module]:
    if name not in ACTIVATIONS:
        raise ModelError(f"{model} knows no activation {name!r}.", hint=did_you_mean(str(name), ACTIVATIONS))
    return ACTIVATIONS[name]


def _check_dropout(model: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ModelError(
            f"{model} got a bad dropout.", expected="a number from 0 to below 1", found=repr(value)
        )
