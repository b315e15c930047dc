"""The reference's model: building, values, configuration; and its losses and arrays."""

import numpy as np
import pytest

from mml.backends import BaseModel, ModelSource, NumpyOps, get_backend
from mml.errors import BackendError, ConfigError, LossError, ModelError, ShapeError, StateError
from mml.graph.losses import canonical
from mml.plugins import get_manager
from mml_conformance.bench import make_model, same_bits
from mml_conformance.reference import Mlp, ReferenceModel
from mml_conformance.reference.layers import Run
from mml_conformance.reference.losses import (
    BinaryCrossEntropyOfLogits,
    CrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
)

REFERENCE = get_backend("reference")


def wrap_instance(network):
    return REFERENCE.wrap(ModelSource(target=network, is_instance=True, name=None, kwargs={}, label="m"))


def test_the_plugin_declares_backend_model_losses_and_claim():
    assert REFERENCE.name == "reference"
    assert get_manager().claim_for(Mlp).backend == "reference"
    assert get_manager().registry("models").load("mlp", backend="reference") is Mlp


def test_values_depend_on_seed_and_name_alone():
    one, same, other = (make_model(REFERENCE, hidden=[5], seed=seed) for seed in (3, 3, 4))
    deeper = make_model(REFERENCE, hidden=[5, 4], seed=3)
    assert same_bits(one.get_state(), same.get_state())
    assert one.get_state()["layers.0.weight"].tobytes() != other.get_state()["layers.0.weight"].tobytes()
    np.testing.assert_array_equal(one.get_state()["layers.0.weight"], deeper.get_state()["layers.0.weight"])


def test_shapes_with_several_axes_are_flattened_inside():
    model = make_model(REFERENCE, input_shape=(2, 3), output_shape=(4, 2), hidden=[5])
    for rows in (0, 1, 7):
        outputs = model.forward(np.zeros((rows, 2, 3), "float32"))
        assert (outputs.shape, outputs.dtype) == ((rows, 4, 2), np.float32)
    assert (model.input_shape, model.output_shape) == ((2, 3), (4, 2))


def test_variables_name_roles_shapes_and_dtypes():
    model = make_model(REFERENCE, hidden=[5], batch_norm=True, dtype="float64")
    assert [(one.name, one.role, one.shape) for one in model.variables()] == [
        ("layers.0.weight", "param", (3, 5)),
        ("layers.0.bias", "param", (5,)),
        ("norms.0.weight", "param", (5,)),
        ("norms.0.bias", "param", (5,)),
        ("norms.0.running_mean", "buffer", (5,)),
        ("norms.0.running_var", "buffer", (5,)),
        ("layers.1.weight", "param", (5, 1)),
        ("layers.1.bias", "param", (1,)),
    ]
    assert {one.dtype for one in model.variables()} == {"float64"}


def test_state_is_a_snapshot_and_is_refused_whole():
    model = make_model(REFERENCE, hidden=[5])
    kept = model.get_state()
    model.reset(seed=9)
    assert not same_bits(kept, model.get_state())
    now = model.get_state()
    missing = {name: value for name, value in kept.items() if name != "layers.0.bias"}
    for bad, message in [
        (missing, "layers.0.bias"),
        (kept | {"ghost": np.zeros(1)}, "ghost"),
        (kept | {"layers.1.bias": np.zeros(2, "float32")}, r"layers\.1\.bias"),
        (kept | {"layers.1.bias": np.zeros(1, "float64")}, "float64"),
    ]:
        with pytest.raises(StateError, match=message):
            model.set_state(bad)
        assert same_bits(now, model.get_state())
    model.set_state(kept)
    assert same_bits(kept, model.get_state())


def test_an_instance_keeps_its_values_and_returns_to_them():
    network = Mlp(input_shape=3, hidden=[4], seed=8)
    model = wrap_instance(network)
    model.build((3,), (1,), seed=1)
    came = model.get_state()
    network.values["layers.0.bias"][...] = 7
    model.build((3,), (1,), seed=2)
    assert (model.get_state()["layers.0.bias"] == 7).all()
    model.reset(seed=5)
    assert same_bits(came, model.get_state())
    assert model.native is network


def test_an_instance_of_another_width_is_refused():
    with pytest.raises(ShapeError, match="input shape"):
        wrap_instance(Mlp(input_shape=3)).build((4,))
    with pytest.raises(ShapeError, match="output shape"):
        wrap_instance(Mlp(input_shape=3)).build((3,), (2,))


def test_configuration_makes_an_equal_model():
    model = make_model(REFERENCE, hidden=[5], dropout=0.1)
    copy = BaseModel.from_config(model.get_config())
    copy.build((3,), (1,), seed=0)
    assert isinstance(copy, ReferenceModel)
    assert copy.get_config() == model.get_config()
    assert same_bits(copy.get_state(), model.get_state())
    with pytest.raises(ConfigError, match="by name"):
        wrap_instance(Mlp(input_shape=3)).get_config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "gelu"}, "activation: one of"),
        ({"dropout": 1.0}, "dropout: a number"),
        ({"dtype": "float16"}, "dtype: one of"),
        ({"hidden": [0]}, "hidden: widths"),
        ({"wide": 3}, "wide"),
    ],
)
def test_bad_settings_name_the_argument(settings, message):
    with pytest.raises(ModelError, match=message):
        make_model(REFERENCE, **settings)


def test_what_is_no_model_is_refused():
    with pytest.raises(ModelError, match="mlp only"):
        wrap_instance(object())
    source = ModelSource(target=lambda: 3, is_instance=False, name=None, kwargs={}, label="m")
    with pytest.raises(ModelError, match="no model"):
        REFERENCE.wrap(source).build((3,))
    with pytest.raises(ModelError, match="not built"):
        _ = REFERENCE.wrap(source).native


def test_dropout_scales_and_follows_the_seed():
    network = Mlp(input_shape=2000, output_shape=1, hidden=[2000], activation="relu", dropout=0.25)
    dropout = network.layers[2]
    ones = np.ones((5, 2000), "float32")
    first, _ = dropout.forward({}, ones, Run(training=True, seed=1, stream="m"))
    again, _ = dropout.forward({}, ones, Run(training=True, seed=1, stream="m"))
    other, _ = dropout.forward({}, ones, Run(training=True, seed=2, stream="m"))
    assert (first == again).all()
    assert (first != other).any()
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    assert first.mean() == pytest.approx(1.0, abs=0.02)


def test_batch_norm_moves_its_buffers_by_the_textbook():
    model = make_model(REFERENCE, hidden=[5], batch_norm=True, dtype="float64")
    inputs = np.random.default_rng(0).normal(size=(7, 3))
    hidden = inputs @ model.get_state()["layers.0.weight"] + model.get_state()["layers.0.bias"]
    model.native.forward(inputs, Run(training=True))
    np.testing.assert_allclose(model.get_state()["norms.0.running_mean"], 0.1 * hidden.mean(axis=0))
    np.testing.assert_allclose(
        model.get_state()["norms.0.running_var"], 0.9 + 0.1 * hidden.var(axis=0, ddof=1)
    )


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (MeanSquaredError(), canonical.mse),
        (MeanAbsoluteError(), canonical.mae),
        (Huber(), canonical.huber),
        (BinaryCrossEntropyOfLogits(), canonical.bce_logits),
    ],
)
def test_losses_agree_with_the_canonical_ones(loss, formula):
    outputs, targets = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    seen = loss(outputs, targets, reduction="none")
    np.testing.assert_allclose(seen, formula(NumpyOps(), outputs, targets), rtol=1e-6)
    np.testing.assert_allclose(loss(outputs, targets), seen.mean(), rtol=1e-6)


def test_classes_are_checked():
    loss = CrossEntropy()
    numbers = np.array([[0], [3]])
    outputs = np.random.default_rng(0).normal(size=(2, 4))
    np.testing.assert_allclose(
        loss(outputs, numbers, reduction="none"), canonical.cross_entropy(NumpyOps(), outputs, numbers)
    )
    with pytest.raises(LossError, match="from 0 to 3"):
        loss(outputs, np.array([0, 4]))
    with pytest.raises(LossError, match="float64"):
        loss(outputs, np.array([0.0, 1.0]))
    with pytest.raises(ShapeError, match="classes"):
        loss(outputs, np.zeros((2, 4), int))


def test_conversion_refuses_what_no_framework_shares():
    for bad in (
        np.array([object()]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.zeros(2, np.longdouble),
        np.zeros(2, np.dtype("float32").newbyteorder()),
    ):
        with pytest.raises(BackendError, match=r"dtype|byte order"):
            REFERENCE.to_array(bad)
    with pytest.raises(BackendError, match="list"):
        REFERENCE.to_array([1.0])
    with pytest.raises(BackendError, match="gpu"):
        REFERENCE.to_array(np.zeros(1), device="gpu")
