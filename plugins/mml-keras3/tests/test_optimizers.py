"""Keras' optimizer classes: what is kept, what is refused with its mend, how slots are named and restored."""

from typing import Any

import keras
import numpy as np
import pytest

from mml.errors import OptimizerError, StateError
from mml.graph.optimizers.canonical import Adam, Sgd
from mml_keras3.optimizers import FrameworkOptimizer


@pytest.mark.parametrize(
    ("settings", "mend"),
    [
        ({"global_clipnorm": 1.0}, "clip_norm"),
        ({"gradient_accumulation_steps": 2}, "accumulate"),
        ({"use_ema": True}, "callback"),
        ({"loss_scale_factor": 2.0}, "weight"),
        ({"learning_rate": keras.optimizers.schedules.CosineDecay(0.1, 10)}, "schedule="),
        ({"lerning_rate": 0.1}, "lerning_rate"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_mend(settings: Any, mend: str) -> None:
    with pytest.raises(OptimizerError, match=mend):
        FrameworkOptimizer(keras.optimizers.Adam, settings)


def test_only_optimizer_classes_of_keras_are_taken() -> None:
    for target in (dict, keras.optimizers.Adam(), "adam"):
        with pytest.raises(OptimizerError, match=r"keras\.optimizers\.Optimizer"):
            FrameworkOptimizer(target, {})


def test_slots_are_called_alike_in_every_process_and_count_by_parameter(lab: Any) -> None:
    x, y = lab.data(3)
    store = lab.store()
    rule = FrameworkOptimizer(keras.optimizers.Adam, {"amsgrad": True})
    program = lab.program(lab.segment(lab.wrapped(lab.net()), lab.loss("mse"), rule, store))
    lab.run(program, lab.block(x=x, y=y), lab.controls(3))
    assert set(store.slots) == {
        "net/dense.kernel",
        "net/dense.bias",
        "net/dense_1.kernel",
        "net/dense_1.bias",
    }
    assert set(store.slots["net/dense.kernel"]) == {"step", "momentum", "velocity", "velocity_hat"}
    assert {held["step"] for held in store.slots.values()} == {3}


def test_initial_slots_are_keras_own(lab: Any) -> None:
    x, y = lab.data(1)
    store = lab.store()
    rule = FrameworkOptimizer(keras.optimizers.Adagrad, {"initial_accumulator_value": 0.25})
    program = lab.program(lab.segment(lab.wrapped(lab.net()), lab.loss("mse"), rule, store))
    lab.run(program, lab.block([[0]], x=x, y=y), lab.controls(1))
    np.testing.assert_array_equal(
        lab.numpy(store.slots["net/dense.bias"]["accumulator"]), np.full(5, 0.25, "float32")
    )


def test_a_parameter_released_late_counts_its_own_steps(lab: Any) -> None:
    x, y = lab.data(4)
    net, store = lab.net(), lab.store()
    net.layers[0].kernel.trainable = False
    rule = FrameworkOptimizer(keras.optimizers.Adam, {})
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), rule, store))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(4)
    program.run(staged, 0, 3, controls)
    net.layers[0].kernel.trainable = True
    before = keras.ops.convert_to_numpy(net.layers[0].kernel.value).copy()
    program.run(staged, 3, 4, controls)
    moved = keras.ops.convert_to_numpy(net.layers[0].kernel.value) - before
    # The first step of Adam has the length of the learning rate, whatever the gradient.
    np.testing.assert_allclose(np.abs(moved), 1e-2, rtol=1e-3)
    assert store.slots["net/dense.kernel"]["step"] == 1


@pytest.mark.parametrize("rule", [Adam(), FrameworkOptimizer(keras.optimizers.Adam, {})])
def test_state_of_another_kind_of_optimizer_is_refused(lab: Any, rule: Any) -> None:
    x, y = lab.data(1)
    model, store = lab.wrapped(lab.net()), lab.store()
    program = lab.program(lab.segment(model, lab.loss("mse"), Sgd(), store))
    lab.run(program, lab.block(x=x, y=y), lab.controls(1))
    other = lab.program(lab.segment(model, lab.loss("mse"), rule, store))
    with pytest.raises(StateError, match="another kind"):
        lab.run(other, lab.block(x=x, y=y), lab.controls(1))


def test_a_misshapen_slot_is_named(lab: Any) -> None:
    x, y = lab.data(1)
    model, store = lab.wrapped(lab.net()), lab.store()
    program = lab.program(lab.segment(model, lab.loss("mse"), Adam(), store))
    lab.run(program, lab.block(x=x, y=y), lab.controls(1))
    store.slots["net/dense.bias"]["first_moment"] = np.zeros(3, "float32")
    with pytest.raises(StateError, match=r"(?s)first_moment.*net/dense\.bias.*\(5,\)"):
        lab.run(program, lab.block(x=x, y=y), lab.controls(1))
