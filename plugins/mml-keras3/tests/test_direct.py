"""Models run past Keras' bookkeeping give what Keras gives, whatever they are made of."""

from typing import Any

import keras
import numpy as np
import pytest

from mml_keras3.engines.direct import direct_call
from mml_keras3.models import MLP, CNN1d

layers, ops = keras.layers, keras.ops


def _residual() -> Any:
    inputs = keras.Input((6,))
    hidden = layers.Dense(6, activation="relu")(inputs)
    joined = layers.Add()([hidden, layers.BatchNormalization()(inputs)])
    scaled = ops.multiply(joined, 0.5)
    inner = keras.Sequential([layers.Dense(4), layers.Dropout(0.3, seed=3)])
    return keras.Model(inputs, layers.Concatenate()([inner(scaled), scaled]))


def _masked() -> Any:
    return keras.Sequential([layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3), layers.Dense(2)])


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.parts = [layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.5)]

    def call(self, inputs: Any, training: bool = False) -> Any:
        for part in self.parts:
            inputs = part(inputs, training=training) if part is not self.parts[0] else part(inputs)
        return inputs


CASES: dict[str, Any] = {
    "sequence": lambda: keras.Sequential([layers.Dense(4), layers.BatchNormalization(), layers.ReLU()]),
    "graph": _residual,
    "masks": _masked,
    "subclass": Subclassed,
    "layer": lambda: layers.Dense(3, activation="tanh"),
    "mixed precision": lambda: layers.Dense(3, dtype="mixed_bfloat16"),
    "mlp": lambda: MLP(6, 2, hidden=[5], batch_norm=True),
    "cnn1d": lambda: CNN1d((6,), 2, channels=[3], batch_norm=True),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("training", [False, True])
def test_a_direct_call_is_keras_call_to_the_bit(name: str, training: bool) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(7, 6)).astype("float32")
    if name == "masks":
        inputs = rng.integers(0, 3, size=(7, 6))
    tensor = ops.convert_to_tensor(inputs)
    model = CASES[name]()
    model(tensor, training=False)
    start = [ops.convert_to_numpy(one.value) for one in model.variables]
    seen = []
    for run in (lambda: model(tensor, training=training), lambda: direct_call(model)(tensor, training)):
        for one, value in zip(model.variables, start, strict=True):
            one.assign(value)
        if training and name == "subclass":
            model.parts[2].rate = 0.0
        output = ops.convert_to_numpy(ops.cast(run(), "float32"))
        after = [ops.convert_to_numpy(ops.cast(one.value, "float32")) for one in model.variables]
        seen.append([output.tobytes(), *(one.tobytes() for one in after)])
    assert seen[0] == seen[1]
