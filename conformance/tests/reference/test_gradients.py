"""The reference's gradients against central differences in float64, over every parameter."""

import numpy as np
import pytest

from mml.backends import get_backend
from mml.errors import BackendError
from mml_conformance.bench import Head, Wiring, make_model, make_segment

ROWS, STEP = 7, 1e-6


class Concat:
    def merge(self, ops, arrays):
        return ops.concat(arrays, 1)


class PaddedSum:
    """Pads the narrower input with a constant and adds: affine, not linear."""

    def merge(self, ops, arrays):
        width = max(array.shape[1] for array in arrays)
        padded = [ops.pad(a, [(0, 0), (0, width - a.shape[1])], "constant", 0.5) for a in arrays]
        return padded[0] + 2.0 * padded[1]


class MeanOfStack:
    def merge(self, ops, arrays):
        return ops.mean(ops.stack(arrays, 1), (1,))


class Product:
    def merge(self, ops, arrays):
        return arrays[0] * arrays[1]


def total(backend, segment, wiring, live, seed=5):
    values = {name: array[0, :live] for name, array in wiring.inputs.items()}
    scales = [loss.weight for loss in segment.losses]
    result = backend.gradients(segment, values, np.array([live]), seed=seed, scales=scales)
    return sum(w * float(v) for w, v in zip(scales, result.losses, strict=True)), result.gradients


def check(wiring, learning=None, live=ROWS):
    backend = get_backend("reference")
    learning = tuple(wiring.models) if learning is None else learning
    segment = make_segment(backend, wiring, learning=learning)
    _, gradients = total(backend, segment, wiring, live)
    expected_names = set()
    for label in learning:
        model = wiring.models[label]
        for spec in (one for one in model.variables() if one.role == "param"):
            expected_names.add(f"{label}/{spec.name}")
            array = backend.variable(model, spec.name)
            numeric = np.zeros(array.shape)
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + STEP
                up = total(backend, segment, wiring, live)[0]
                array[index] = kept - STEP
                down = total(backend, segment, wiring, live)[0]
                array[index] = kept
                numeric[index] = (up - down) / (2 * STEP)
            np.testing.assert_allclose(
                gradients[f"{label}/{spec.name}"],
                numeric,
                rtol=1e-6,
                atol=1e-8,
                err_msg=f"{label}/{spec.name}",
            )
    assert set(gradients) == expected_names


def data(**shapes):
    draw = np.random.default_rng(0)
    return {name: draw.normal(size=(1, ROWS, *shape)) for name, shape in shapes.items()}


def mlp(label, width, out, **settings):
    settings = {"dtype": "float64", "hidden": [5], "activation": "tanh", **settings}
    return make_model(
        get_backend("reference"),
        input_shape=(width,),
        output_shape=(out,),
        seed=len(label),
        label=label,
        **settings,
    )


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "bce_logits"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_one_head(loss, activation):
    check(
        Wiring(
            {"m": (mlp("m", 3, 2, activation=activation), ("x",))},
            data(x=(3,), y=(2,)),
            [Head("m", loss=loss)],
        )
    )


def test_classes():
    inputs = data(x=(3,)) | {"y": np.random.default_rng(1).integers(0, 4, size=(1, ROWS, 1))}
    check(Wiring({"m": (mlp("m", 3, 4), ("x",))}, inputs, [Head("m", loss="cross_entropy")]))


def test_batch_norm_and_dropout_in_training():
    model = mlp("m", 3, 1, hidden=[5, 4], batch_norm=True, dropout=0.3)
    check(Wiring({"m": (model, ("x",))}, data(x=(3,), y=(1,)), [Head("m")]))


def test_gradients_flow_through_a_frozen_batch_norm():
    nodes = {"a": (mlp("a", 3, 4), ("x",)), "b": (mlp("b", 4, 1, batch_norm=True, dropout=0.5), ("a",))}
    check(Wiring(nodes, data(x=(3,), y=(1,)), [Head("b")]), learning=("a",))


@pytest.mark.parametrize("merge", [Concat(), PaddedSum(), MeanOfStack()])
def test_two_branches_a_merge_and_two_heads_with_weights(merge):
    width = {"Concat": 4 + 4, "PaddedSum": 4, "MeanOfStack": 4}[type(merge).__name__]
    nodes = {
        "left": (mlp("left", 3, 4, batch_norm=True, dropout=0.2), ("x",)),
        "right": (mlp("right", 2, 4, hidden=[]), ("z",)),
        "joined": (merge, ("left", "right")),
        "one": (mlp("one", width, 1), ("joined",)),
        "two": (mlp("two", width, 2), ("joined",)),
    }
    heads = [
        Head("one", targets="y", weight=0.7, sample_weight="w"),
        Head("two", targets="t", loss="bce_logits", weight=1.9),
        Head("left", targets="u", loss="huber", settings={"delta": 0.4}),
    ]
    check(Wiring(nodes, data(x=(3,), z=(2,), y=(1,), t=(2,), u=(4,), w=(1,)), heads))


def test_a_merge_of_unequal_widths_pads():
    nodes = {
        "left": (mlp("left", 3, 4), ("x",)),
        "right": (mlp("right", 3, 2), ("x",)),
        "joined": (PaddedSum(), ("left", "right")),
        "head": (mlp("head", 4, 1), ("joined",)),
    }
    check(Wiring(nodes, data(x=(3,), y=(1,)), [Head("head")]))


def test_a_head_may_score_against_another_node():
    nodes = {"a": (mlp("a", 3, 2), ("x",)), "b": (mlp("b", 3, 2), ("x",))}
    check(Wiring(nodes, data(x=(3,)), [Head("a", targets="b", loss="bce_logits")]))


def test_fewer_live_rows():
    check(Wiring({"m": (mlp("m", 3, 1, batch_norm=True), ("x",))}, data(x=(3,), y=(1,)), [Head("m")]), live=4)


def test_a_node_without_loss_has_no_gradient():
    nodes = {"a": (mlp("a", 3, 1), ("x",)), "idle": (mlp("idle", 3, 1), ("x",))}
    wiring = Wiring(nodes, data(x=(3,), y=(1,)), [Head("a")])
    backend = get_backend("reference")
    segment = make_segment(backend, wiring, learning=("a", "idle"))
    _, gradients = total(backend, segment, wiring, ROWS)
    assert {name.partition("/")[0] for name in gradients} == {"a"}


def test_a_merge_that_is_not_affine_is_refused():
    nodes = {
        "a": (mlp("a", 3, 2), ("x",)),
        "b": (mlp("b", 3, 2), ("x",)),
        "joined": (Product(), ("a", "b")),
    }
    wiring = Wiring(nodes, data(x=(3,), y=(2,)), [Head("joined")])
    backend = get_backend("reference")
    segment = make_segment(backend, wiring, learning=("a", "b"))
    with pytest.raises(BackendError, match="affine"):
        total(backend, segment, wiring, ROWS)


def test_a_loss_of_unknown_slope_is_refused_at_compile():
    wiring = Wiring({"m": (mlp("m", 3, 1), ("x",))}, data(x=(3,), y=(1,)), [Head("m", loss="mml/bce_logits")])
    backend = get_backend("reference")
    with pytest.raises(BackendError, match="slope"):
        backend.compile(make_segment(backend, wiring, learning=("m",)))


@pytest.mark.parametrize(("sign", "target", "slope"), [(1, 0.0, 1.0), (-1, 1.0, -1.0)])
def test_a_saturated_wrong_logit_has_slope_one(sign, target, slope):
    inputs = {"x": np.full((1, 1, 1), 200.0 * sign), "y": np.full((1, 1, 1), target)}
    model = mlp("m", 1, 1, hidden=[])
    model.set_state({"layers.0.weight": np.ones((1, 1)), "layers.0.bias": np.zeros(1)})
    wiring = Wiring({"m": (model, ("x",))}, inputs, [Head("m", loss="bce_logits")])
    backend = get_backend("reference")
    _, gradients = total(backend, make_segment(backend, wiring, learning=("m",)), wiring, 1)
    assert gradients["m/layers.0.bias"] == pytest.approx(slope, abs=1e-15)
