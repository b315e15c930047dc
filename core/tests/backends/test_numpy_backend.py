"""The NumPy backend: functions as models, owned conversions, and what it says it cannot do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import mml
from mml.backends import Backend, BaseModel, ModelSource, NumpyOps, convert, get_backend
from mml.errors import BackendError, ConfigError, LossError, ModelError, PluginError, ShapeError, StateError


def wrapped(function, **kwargs):
    source = ModelSource(target=function, is_instance=False, name=None, kwargs=kwargs, label="node")
    return get_backend("numpy").wrap(source)


any_array = arrays.arrays(
    dtype=st.sampled_from([np.bool_, np.int8, np.int64, np.uint16, np.float16, np.float32, np.float64]),
    shape=arrays.array_shapes(min_dims=0, max_dims=3, min_side=0),
)


@given(any_array)
def test_conversion_owns_its_memory_and_keeps_every_bit(array):
    backend = get_backend("numpy")
    for made in (backend.to_array(array), backend.to_numpy(array)):
        assert made.dtype == array.dtype
        assert made.shape == array.shape
        assert made.tobytes() == array.tobytes()
        assert not np.shares_memory(made, array)
        assert backend.is_native(made)


def test_between_backends_arrays_are_copies_and_within_one_the_same_object():
    array = np.arange(3.0)
    assert convert(array, "numpy", "numpy") is array
    other = convert(array, "numpy", "reference")
    assert other.tolist() == array.tolist()
    assert not np.shares_memory(other, array)


def test_a_function_is_built_by_probing_and_run_with_its_arguments():
    model = wrapped(lambda x, scale: x[:, :2] * scale, scale=3)
    assert not model.is_built
    model.build((4,))
    assert (model.input_shape, model.output_shape) == ((4,), (2,))
    assert model.is_built
    assert not model.can_learn
    assert not model.can_fit
    assert model.is_fitted
    assert model.dtype is None
    assert model.variables() == ()
    np.testing.assert_array_equal(model.forward(np.ones((3, 4))), np.full((3, 2), 3.0))
    model.freeze()
    assert model.is_frozen
    model.unfreeze()
    assert not model.is_frozen


@pytest.mark.parametrize(
    ("function", "output_shape", "error", "match"),
    [
        (lambda x: x[:1], None, ShapeError, "keep the rows"),
        (lambda x: x.sum(), None, ShapeError, "keep the rows"),
        (lambda x: x, (7,), ShapeError, "declared"),
        (lambda x: 1 / 0, None, ModelError, "ZeroDivisionError"),
        (lambda x: x @ np.ones((9, 1)), None, ModelError, "ValueError"),
    ],
)
def test_a_function_that_is_no_model_is_refused_at_build(function, output_shape, error, match):
    model = wrapped(function)
    with pytest.raises(error, match=match) as caught:
        model.build((4,), output_shape)
    assert "'node'" in str(caught.value)
    assert not model.is_built


def test_a_function_that_loses_rows_later_is_refused_then():
    model = wrapped(lambda x: x[x[:, 0] >= 0])
    model.build((1,))
    with pytest.raises(ShapeError, match="keep the rows"):
        model.forward(np.array([[1.0], [-1.0]]))


def test_a_function_has_no_state_and_a_name_only_where_it_can_be_found():
    model = wrapped(lambda x: x)
    assert model.get_state() == {}
    model.set_state({})
    model.reset(seed=3)
    with pytest.raises(StateError):
        model.set_state({"weight": np.zeros(1)})
    with pytest.raises(ConfigError, match="top level"):
        model.get_config()
    config = mml.Model(np.tanh, backend="numpy").wrap(label="n").get_config()
    again = BaseModel.from_config(config)
    again.build((2,))
    np.testing.assert_array_equal(again.forward(np.ones((1, 2))), np.tanh(np.ones((1, 2))))
    with pytest.raises(AttributeError, match="wraps no native object"):
        _ = model.native


@pytest.mark.parametrize("target", [3, int, "text"])
def test_what_is_no_function_is_refused(target):
    with pytest.raises(ModelError, match="functions over arrays"):
        wrapped(target)


def test_what_is_not_declared_is_refused_by_name():
    backend = get_backend("numpy")
    assert not backend.capabilities.gradients
    assert not backend.capabilities.fit
    with pytest.raises(BackendError, match="'numpy' computes no gradients"):
        backend.gradients(None, {}, np.zeros(1), seed=0, scales=[])
    for call in (lambda: backend.variable(None, "x"), lambda: backend.assign(None, "x", 1)):
        with pytest.raises(BackendError, match="'numpy'"):
            call()
    with pytest.raises(BackendError, match="takes no optimizer"):
        backend.wrap_optimizer(int, {})
    with pytest.raises(BackendError, match="no device 'gpu'"):
        backend.to_array(np.zeros(1), device="gpu")
    with backend.scope(deterministic=True):
        assert backend.device_name("cpu") == "cpu"


def test_backend_names_are_an_open_set():
    assert Backend.NUMPY == "numpy"
    assert Backend.REFERENCE == "reference"
    assert {"numpy", "reference"} <= set(Backend)
    assert "nump" not in Backend
    with pytest.raises(BackendError, match="'numpy'"):
        _ = Backend.NUMPI
    with pytest.raises(PluginError, match="'numpy'"):
        get_backend("numpi")
    assert get_backend("numpy") is get_backend("mml/numpy")


def test_a_class_number_outside_the_classes_is_refused():
    ops = NumpyOps()
    values = np.arange(6.0).reshape(2, 3)
    assert ops.take_along_last(values, np.array([2, 0])).tolist() == [2.0, 3.0]
    for wrong in ([-1, 0], [0, 3]):
        with pytest.raises(LossError, match="outside") as caught:
            ops.take_along_last(values, np.array(wrong))
        assert "0 to 2" in str(caught.value)
    assert ops.take_along_last(values[:0], np.array([], dtype=int)).shape == (0,)


def test_a_wrapped_model_shows_its_shapes():
    model = wrapped(np.tanh)
    model.build((2,))
    assert repr(model) == f"{type(model).__name__}((2,) -> (2,))"
