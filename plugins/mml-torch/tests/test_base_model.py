"""Wrapping modules: building, shapes, values, configuration, reset."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mml.backends import ModelSource, get_backend
from mml.errors import ConfigError, ModelError, ShapeError, StateError
from mml_torch import MLP, TorchBaseModel


class Custom(nn.Module):
    """Takes shapes under its own names, keeps a buffer out of its state_dict, and counts calls."""

    def __init__(self, features: int, out: int = 2) -> None:
        super().__init__()
        self.linear = nn.Linear(features, out)
        self.norm = nn.BatchNorm1d(out)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, inputs: Any) -> Any:
        self.calls = self.calls + 1
        return self.norm(self.linear(inputs))


def unseeded(make: Any) -> Any:
    with torch.random.fork_rng():
        return make()


def source(target: Any, **changes: Any) -> ModelSource:
    settings = {"is_instance": isinstance(target, nn.Module), "name": None, "kwargs": {}, "label": "node"}
    return ModelSource(target=target, **(settings | changes))


def bits(model: TorchBaseModel) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.get_state().items()}


def test_a_class_receives_the_inferred_shapes_and_users_arguments_win() -> None:
    model = TorchBaseModel(MLP, kwargs={"hidden": [5], "output_shape": 4})
    model.build((3, 2), (4,), seed=1)
    assert (model.input_shape, model.output_shape, model.dtype) == ((3, 2), (4,), "float32")
    assert [spec.shape for spec in model.variables()] == [(5, 6), (5,), (4, 5), (4,)]


def test_shapes_go_to_arguments_of_other_names_and_as_widths_where_those_are_numbers() -> None:
    model = TorchBaseModel(Custom, input_argument="features", output_argument="out")
    model.build((3,), (5,))
    assert model.output_shape == (5,)
    linear = TorchBaseModel(nn.Linear, kwargs={"out_features": 2}, input_argument="in_features")
    linear.build((3,))
    assert linear.output_shape == (2,)
    with pytest.raises(ShapeError, match="in_features"):
        TorchBaseModel(nn.Linear, kwargs={"out_features": 2}, input_argument="in_features").build((3, 2))


def test_a_declared_output_shape_that_the_class_does_not_take_is_checked() -> None:
    TorchBaseModel(nn.LazyLinear, kwargs={"out_features": 2, "output_shape": 2}).build((3,), (2,))
    with pytest.raises(ShapeError, match=r"(?s)\(7,\).*\(2,\)"):
        TorchBaseModel(nn.LazyLinear, kwargs={"out_features": 2}).build((3,), (7,))


def test_initial_values_depend_on_the_seed_alone() -> None:
    def built(seed: int) -> dict[str, bytes]:
        model = TorchBaseModel(MLP, kwargs={"hidden": [5]})
        model.build((3,), (2,), seed=seed)
        return bits(model)

    first = built(7)
    with torch.random.fork_rng():
        torch.rand(13)
        assert built(7) == first
    assert built(8) != first


def test_initial_values_are_equal_in_another_process() -> None:
    script = (
        "import hashlib; from mml_torch import MLP, TorchBaseModel\n"
        "m = TorchBaseModel(MLP, kwargs={'hidden': [5]}); m.build((3,), (2,), seed=7)\n"
        "print(hashlib.sha256(b''.join(v.tobytes() for v in m.get_state().values())).hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def test_building_changes_no_buffer_and_no_mode_of_a_module() -> None:
    module = unseeded(lambda: Custom(3))
    module.norm.running_mean.fill_(0.5)
    before = {name: value.clone() for name, value in module.named_buffers()}
    module.norm.eval()
    TorchBaseModel(module).build((3,))
    assert all(torch.equal(before[name], value) for name, value in module.named_buffers())
    assert (module.training, module.norm.training) == (True, False)


def test_a_given_module_keeps_its_values_and_lazy_parts_draw_from_the_seed() -> None:
    module = unseeded(lambda: nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Linear(5, 2)))
    kept = module[2].weight.detach().clone()
    model = TorchBaseModel(module)
    model.build((3,), seed=3)
    assert torch.equal(module[2].weight, kept)
    assert int(module[1].num_batches_tracked) == 0
    first = bits(model)
    with torch.no_grad():
        module[0].weight.fill_(1.0)
        module[2].weight.fill_(1.0)
    model.reset(seed=3)
    assert bits(model) == first
    model.reset(seed=4)
    assert torch.equal(module[2].weight, kept)
    assert bits(model) != first


def test_reset_returns_a_module_to_what_it_came_with_and_a_class_to_its_seed() -> None:
    given = TorchBaseModel(unseeded(lambda: Custom(3)))
    given.build((3,))
    made = TorchBaseModel(Custom, input_argument="features")
    made.build((3,), seed=5)
    for model in (given, made):
        start, parameter = bits(model), next(model.native.parameters())
        with torch.no_grad():
            for value in (*model.native.parameters(), *model.native.buffers()):
                value.fill_(3)
        model.reset(seed=5)
        assert bits(model) == start
        assert next(model.native.parameters()) is parameter
    made.reset(seed=6)
    assert bits(made) != start


def test_state_is_a_snapshot_and_goes_back_to_the_bit() -> None:
    module = unseeded(lambda: Custom(3)).half()
    model = TorchBaseModel(module)
    model.build((3,))
    state = model.get_state()
    before = bits(model)
    assert set(state) == {
        "linear.weight",
        "linear.bias",
        "norm.weight",
        "norm.bias",
        "calls",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    }
    assert {spec.name: spec.role for spec in model.variables()}["norm.running_mean"] == "buffer"
    with torch.no_grad():
        module.linear.weight.fill_(np.nan)
    assert bits(model) != before
    model.set_state(state)
    assert bits(model) == before


def test_values_without_a_dtype_in_numpy_go_out_and_back() -> None:
    model = TorchBaseModel(unseeded(lambda: nn.Linear(3, 2)).to(torch.bfloat16))
    model.build((3,))
    state, before = model.get_state(), model.native.weight.clone()
    assert state["weight"].dtype == np.int16
    with torch.no_grad():
        model.native.weight.zero_()
    model.set_state(state)
    assert torch.equal(model.native.weight, before)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda state: state.pop("bias"), "bias"),
        (lambda state: state.update(extra=np.ones(1)), "extra"),
        (lambda state: state.update(bias=np.ones(3, dtype="float32")), "bias"),
        (lambda state: state.update(bias=np.ones(2)), "float64"),
        (lambda state: state.update(bias=[1.0, 1.0]), "list"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(spoil: Any, named: str) -> None:
    model = TorchBaseModel(unseeded(lambda: nn.Linear(3, 2)))
    model.build((3,))
    before, state = bits(model), {name: value + 1 for name, value in model.get_state().items()}
    spoil(state)
    with pytest.raises(StateError, match=named):
        model.set_state(state)
    assert bits(model) == before


def test_extra_state_is_kept_if_it_can_be_written_down() -> None:
    class Extra(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.note: Any = {"seen": 3}

        def get_extra_state(self) -> Any:
            return self.note

        def set_extra_state(self, state: Any) -> None:
            self.note = state

    model = TorchBaseModel(unseeded(Extra))
    model.build((3,))
    state = model.get_state()
    model.native.note = {"seen": 9}
    model.set_state(state)
    assert model.native.note == {"seen": 3}
    model.native.note = object()
    with pytest.raises(StateError, match="_extra_state"):
        model.get_state()


def test_shared_parameters_are_listed_once() -> None:
    module = unseeded(lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
    module[1].weight = module[0].weight
    model = TorchBaseModel(module)
    model.build((3,))
    assert [spec.name for spec in model.variables()] == ["0.weight", "0.bias", "1.bias"]


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_forward_infers_what_it_gives_and_changes_nothing(rows: int) -> None:
    module = unseeded(lambda: nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)))
    model = TorchBaseModel(module)
    model.build((3,))
    before = bits(model)
    inputs = np.random.default_rng(0).normal(size=(rows, 3))
    outputs = model.forward(inputs)
    assert (outputs.shape, outputs.dtype) == ((rows, 5), np.dtype("float32"))
    weight, bias = (one.detach().double().numpy() for one in module[0].parameters())
    np.testing.assert_allclose(outputs, (inputs @ weight.T + bias) / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-6)
    assert bits(model) == before
    assert module.training


def test_whole_numbers_reach_an_embedding() -> None:
    model = TorchBaseModel(unseeded(lambda: nn.Sequential(nn.Embedding(11, 2), nn.Flatten())))
    model.build((3,))
    assert model.output_shape == (6,)
    assert model.forward(np.array([[1, 2, 3], [4, 5, 10]])).shape == (2, 6)


def test_a_wrong_width_names_node_layer_and_what_was_found() -> None:
    with pytest.raises(ShapeError, match=r"(?s)'node'.*in_features=3.*\(4,\)"):
        get_backend("torch").wrap(source(unseeded(lambda: nn.Linear(3, 2)))).build((4,))
    model = TorchBaseModel(unseeded(lambda: nn.Linear(3, 2)))
    model.build((3,))
    with pytest.raises(ShapeError, match=r"(?s)3.*\(5, 4\)"):
        model.forward(np.zeros((5, 4)))


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (lambda: 3, ModelError),
        (lambda: nn.LSTM(3, 2), ModelError),
        (lambda: nn.Flatten(0), ShapeError),
        (lambda wanted: nn.Linear(3, wanted), ModelError),
    ],
)
def test_what_is_no_model_of_a_graph_is_refused(target: Any, error: Any) -> None:
    with pytest.raises(error, match="'node'"):
        get_backend("torch").wrap(source(target)).build((3,))


def test_a_class_that_needs_an_output_shape_says_so() -> None:
    with pytest.raises(ModelError, match="output_shape="):
        TorchBaseModel(MLP).build((3,))


@pytest.mark.parametrize("target", [dict, 3, "mlp", torch.optim.Adam])
def test_foreign_objects_are_not_wrapped(target: Any) -> None:
    with pytest.raises(ModelError, match="Module"):
        get_backend("torch").wrap(source(target))


def test_a_configuration_builds_an_equal_model() -> None:
    given = source(MLP, name="torch/mlp", kwargs={"hidden": (5,), "output_shape": 2})
    model = get_backend("torch").wrap(given)
    config = json.loads(json.dumps(model.get_config()))
    assert config == {"model": "torch/mlp", "backend": "torch", "kwargs": {"hidden": [5], "output_shape": 2}}
    other = TorchBaseModel.from_config(config)
    for one in (model, other):
        one.build((3,), (2,), seed=9)
    assert other.get_config() == config
    assert bits(other) == bits(model)


def test_what_cannot_be_written_down_names_node_and_mend() -> None:
    for target, kwargs in ((unseeded(lambda: nn.Linear(3, 2)), {}), (lambda: nn.Linear(3, 2), {})):
        with pytest.raises(ConfigError, match=r"(?s)'node'.*Model\("):
            get_backend("torch").wrap(source(target, kwargs=kwargs)).get_config()
    with pytest.raises(ConfigError, match="'node'"):
        get_backend("torch").wrap(source(MLP, name="torch/mlp", kwargs={"activation": nn.ReLU})).get_config()


def test_can_learn_follows_the_users_switches() -> None:
    module = unseeded(lambda: nn.Linear(3, 2))
    model = TorchBaseModel(module)
    model.build((3,))
    assert model.can_learn
    module.requires_grad_(False)
    assert not model.can_learn
    assert not model.can_fit
