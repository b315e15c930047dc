"""States of estimators: the same bytes everywhere, and nothing built from bytes that cannot be trusted."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import Birch, KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mml.errors import StateError
from mml.files.state_codec import flatten_state, state_digest
from mml.plugins import registry

FITTED = """
import hashlib, json, sys
import numpy as np
from mml.backends import BaseModel
from mml_sklearn.datasets import load
data = load("wine")["data"]
found = {}
for name, kwargs in json.loads(sys.argv[1]).items():
    model = BaseModel.from_config({"model": name, "backend": "sklearn", "kwargs": kwargs})
    model.build((13,), seed=5)
    model.fit(data["x"], data["y"])
    model.native.words_ = {str(number) for number in range(30)}
    found[name] = hashlib.sha256(model.get_state()["estimator"].tobytes()).hexdigest()
print(json.dumps(found))
"""

SEVERAL = {
    "sklearn/PCA": {"n_components": 3},
    "sklearn/RandomForestClassifier": {"n_estimators": 5},
    "sklearn/HistGradientBoostingClassifier": {"max_iter": 5},
    "sklearn/KNeighborsClassifier": {},
    "sklearn/SVC": {},
    "sklearn/MLPClassifier": {"hidden_layer_sizes": [5], "max_iter": 20},
    "sklearn/GaussianProcessClassifier": {},
}


class Mine(TransformerMixin, BaseEstimator):
    """An estimator of the user, at the top level of a module."""

    def fit(self, inputs: np.ndarray, targets: np.ndarray | None = None) -> Mine:
        self.mean_ = inputs.mean(axis=0)
        return self

    def transform(self, inputs: np.ndarray) -> np.ndarray:
        return inputs - self.mean_


class Stranger:
    """Something that no state may build."""


@pytest.fixture
def state_of(cancer: Any, wrap: Any) -> Callable[[Any], dict[str, Any]]:
    def fitted(estimator: Any) -> dict[str, Any]:
        model = wrap(estimator, shape=(30,))
        model.fit(*cancer)
        return model.get_state()

    return fitted


def rewritten(state: dict[str, Any], change: Callable[[str, bytes], bytes]) -> dict[str, Any]:
    """Return the state with every member of its archive changed."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(state["estimator"].tobytes())) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry, change(entry.filename, old.read(entry)))
    return {"estimator": np.frombuffer(buffer.getvalue(), np.uint8)}


def with_array(state: dict[str, Any], field: str, change: Callable[[np.ndarray], None]) -> dict[str, Any]:
    """Return the state with every structured array that has a field changed in place."""
    hits = []

    def edit(name: str, content: bytes) -> bytes:
        if not name.endswith(".npy"):
            return content
        array = np.load(io.BytesIO(content))
        if array.dtype.names is None or field not in array.dtype.names:
            return content
        change(array)
        hits.append(name)
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    changed = rewritten(state, edit)
    assert hits
    return changed


def test_equal_estimators_give_equal_bytes_in_every_process() -> None:
    def digests(hash_seed: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FITTED, json.dumps(SEVERAL)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    first, second = digests("0"), digests("12345")
    assert set(first) == set(SEVERAL)
    assert first == second


def test_different_values_give_different_bytes(state_of: Any) -> None:
    one, two = state_of(PCA(n_components=2, svd_solver="full")), state_of(PCA(n_components=3))
    assert state_digest(one) != state_digest(two)


def test_a_state_is_arrays_and_json_and_owns_its_memory(cancer: Any, wrap: Any) -> None:
    model = wrap(PCA(n_components=2, svd_solver="full"), shape=(30,))
    model.fit(cancer[0])
    state = model.get_state()
    _, arrays = flatten_state(state)
    assert list(arrays) == ["/estimator"]
    digest = hashlib.sha256(state["estimator"].tobytes()).hexdigest()
    model.native.components_ *= 2
    assert hashlib.sha256(state["estimator"].tobytes()).hexdigest() == digest


def test_the_order_of_attributes_is_no_value(state_of: Any, cancer: Any, wrap: Any) -> None:
    estimator = PCA(n_components=2, svd_solver="full").fit(cancer[0])
    straight = wrap(estimator, shape=(30,)).get_state()
    turned = PCA()
    vars(turned).clear()
    vars(turned).update(reversed(vars(estimator).items()))
    assert state_digest(wrap(turned, shape=(30,)).get_state()) == state_digest(straight)


def test_a_state_returns_into_the_users_own_object(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    model = wrap(RandomForestClassifier(n_estimators=3), shape=(30,), seed=1)
    model.fit(x, y)
    state, expected = model.get_state(), model.forward(x)
    estimator = RandomForestClassifier(n_estimators=3)
    other = wrap(estimator, shape=(30,), seed=2)
    other.set_state(state)
    assert other.native is estimator
    assert estimator.predict_proba(x).tobytes() == expected.tobytes()
    assert state_digest(other.get_state()) == state_digest(state)


def test_set_state_can_be_undone_by_reset(cancer: Any, wrap: Any) -> None:
    model = wrap(PCA(n_components=2, svd_solver="full"), shape=(30,))
    model.fit(cancer[0])
    other = wrap(PCA(n_components=2, svd_solver="full"), shape=(30,))
    other.set_state(model.get_state())
    other.reset(seed=0)
    assert not other.is_fitted


@pytest.fixture
def model(cancer: Any, wrap: Any) -> Iterator[Any]:
    """A fitted model that every refused state must leave as it was."""
    model = wrap(PCA(n_components=2, svd_solver="full"), shape=(30,), label="pca")
    model.fit(cancer[0])
    before = state_digest(model.get_state())
    yield model
    assert state_digest(model.get_state()) == before


def test_a_state_of_another_class_is_refused(model: Any, state_of: Any) -> None:
    with pytest.raises(StateError, match="another estimator") as caught:
        model.set_state(state_of(StandardScaler()))
    assert "pca" in str(caught.value)


def test_a_state_with_other_arguments_is_refused(model: Any, state_of: Any) -> None:
    with pytest.raises(StateError, match="n_components=3"):
        model.set_state(state_of(PCA(n_components=3)))


def test_a_state_of_another_width_is_refused(model: Any, cancer: Any, wrap: Any) -> None:
    other = wrap(PCA(n_components=2, svd_solver="full"), shape=(29,))
    other.fit(cancer[0][:, 1:])
    with pytest.raises(StateError, match="29 features"):
        model.set_state(other.get_state())


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"other": np.zeros(3, np.uint8)},
        {"estimator": np.zeros(3, np.uint8), "extra": 1},
        {"estimator": np.zeros(3, np.float32)},
        {"estimator": np.zeros((3, 3), np.uint8)},
        {"estimator": "text"},
        {"estimator": np.zeros(0, np.uint8)},
        {"estimator": np.frombuffer(b"not an archive at all", np.uint8)},
    ],
)
def test_what_is_no_state_is_refused(model: Any, state: Any) -> None:
    with pytest.raises(StateError, match="pca"):
        model.set_state(state)


def test_a_state_cut_short_or_with_a_flipped_bit_is_refused(model: Any) -> None:
    blob = model.get_state()["estimator"]
    for length in range(0, len(blob), len(blob) // 23):
        with pytest.raises(StateError):
            model.set_state({"estimator": blob[:length]})
    content = bytes(blob).index(b"\x93NUMPY") + 200
    flipped = blob.copy()
    flipped[content] ^= 1
    with pytest.raises(StateError, match="damaged"):
        model.set_state({"estimator": flipped})


def test_a_compressed_archive_is_refused(model: Any) -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(model.get_state()["estimator"].tobytes())) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(StateError, match="not as MML writes it"):
        model.set_state({"estimator": np.frombuffer(buffer.getvalue(), np.uint8)})


def replaced(old: str, new: str) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        return content.replace(old.encode(), new.encode()) if name == "schema.json" else content

    return change


def test_a_type_that_is_not_trusted_is_refused_by_name(model: Any) -> None:
    module = Stranger.__module__
    foreign = rewritten(
        model.get_state(),
        replaced(
            '"__class__":"PCA","__module__":"sklearn.decomposition._pca"',
            f'"__class__":"Stranger","__module__":"{module}"',
        ),
    )
    with pytest.raises(StateError, match="Stranger"):
        model.set_state(foreign)


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("builtins", "eval"), ("subprocess", "run")])
def test_a_state_that_names_a_function_to_call_is_refused(model: Any, module: str, name: str) -> None:
    hostile = rewritten(
        model.get_state(),
        replaced(
            '"__class__":"PCA","__module__":"sklearn.decomposition._pca"',
            f'"__class__":"{name}","__module__":"{module}"',
        ),
    )
    with pytest.raises(StateError, match=rf"{module}\.{name}"):
        model.set_state(hostile)


@pytest.mark.parametrize("schema", [b"", b"{}", b"[]", b"null", b'{"__loader__": "NoNode", "protocol": 1}'])
def test_a_damaged_schema_is_refused(model: Any, schema: bytes) -> None:
    broken = rewritten(model.get_state(), lambda name, old: schema if name == "schema.json" else old)
    with pytest.raises(StateError, match="damaged"):
        model.set_state(broken)


def test_an_estimator_of_the_users_own_comes_back(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    model = wrap(Pipeline([("mine", Mine()), ("pca", PCA(2, svd_solver="full"))]), shape=(30,))
    model.fit(x)
    other = wrap(Pipeline([("mine", Mine()), ("pca", PCA(2, svd_solver="full"))]), shape=(30,))
    other.set_state(model.get_state())
    assert other.forward(x).tobytes() == model.forward(x).tobytes()


def test_a_registered_class_is_trusted_inside_another_estimator(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    model = wrap(PolynomialFeatures(1), shape=(30,))
    model.fit(x)
    model.native.extra_ = Mine().fit(x)
    state = model.get_state()
    other = wrap(PolynomialFeatures(1), shape=(30,))
    with pytest.raises(StateError, match="Mine"):
        other.set_state(state)
    registry("models").register("mine", backend="sklearn")(Mine)
    try:
        other.set_state(state)
    finally:
        registry("models").remove("user/mine")
    assert other.native.extra_.mean_.tobytes() == model.native.extra_.mean_.tobytes()


def test_a_function_is_trusted_only_where_the_user_brought_it(cancer: Any, wrap: Any) -> None:
    model = wrap(FunctionTransformer(np.log1p), shape=(30,))
    state = model.get_state()
    other = wrap(FunctionTransformer(np.log1p), shape=(30,))
    other.set_state(state)
    assert other.forward(cancer[0]).tobytes() == np.log1p(cancer[0]).tobytes()
    with pytest.raises(StateError, match="other arguments"):
        wrap(FunctionTransformer(), shape=(30,)).set_state(state)


def test_what_cannot_be_saved_says_so(cancer: Any, wrap: Any) -> None:
    model = wrap(Birch(), shape=(30,), label="tree")
    model.fit(cancer[0])
    with pytest.raises(StateError, match="Birch") as caught:
        model.get_state()
    assert "tree" in str(caught.value)


@pytest.mark.parametrize(
    ("estimator", "field", "value"),
    [
        (DecisionTreeClassifier(random_state=0), "left_child", 10**6),
        (DecisionTreeClassifier(random_state=0), "right_child", 0),
        (DecisionTreeClassifier(random_state=0), "left_child", -5),
        (DecisionTreeClassifier(random_state=0), "feature", 30),
        (DecisionTreeClassifier(random_state=0), "feature", -3),
        (RandomForestClassifier(n_estimators=2, random_state=0), "feature", 30),
        (HistGradientBoostingClassifier(max_iter=2, random_state=0), "left", 10**6),
        (HistGradientBoostingClassifier(max_iter=2, random_state=0), "right", 0),
        (HistGradientBoostingClassifier(max_iter=2, random_state=0), "feature_idx", 30),
        (KNeighborsClassifier(algorithm="kd_tree"), "idx_end", 10**6),
        (KNeighborsClassifier(algorithm="ball_tree"), "idx_start", -7),
    ],
)
def test_trees_that_point_out_of_bounds_are_refused(
    state_of: Any, wrap: Any, estimator: Any, field: str, value: int
) -> None:
    def spoil(array: np.ndarray) -> None:
        array[field][0] = value

    hostile = with_array(state_of(estimator), field, spoil)
    with pytest.raises(StateError, match="damaged"):
        wrap(type(estimator)(**estimator.get_params()), shape=(30,)).set_state(hostile)


def test_a_forest_whose_trees_are_wider_than_its_input_is_refused(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    estimator = RandomForestClassifier(n_estimators=3, random_state=0)
    estimator.fit(np.concatenate([x, x], axis=1), y.ravel())
    estimator.n_features_in_ = 30
    hostile = wrap(estimator, shape=(30,)).get_state()
    with pytest.raises(StateError, match="out of bounds"):
        wrap(RandomForestClassifier(n_estimators=3, random_state=0), shape=(30,)).set_state(hostile)


def test_what_lies_in_the_memory_of_leaves_is_no_value(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    estimator = DecisionTreeClassifier(random_state=0).fit(x, y.ravel())
    model = wrap(estimator, shape=(30,))
    before = state_digest(model.get_state())
    nodes = estimator.tree_.__getstate__()["nodes"]
    nodes["missing_go_to_left"][nodes["left_child"] == -1] = 1
    assert state_digest(model.get_state()) == before
    nodes["missing_go_to_left"][0] ^= 1
    assert state_digest(model.get_state()) != before


def test_a_forest_behind_a_wider_step_comes_back(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    steps = [("wide", PolynomialFeatures(2)), ("forest", RandomForestClassifier(n_estimators=3))]
    model = wrap(Pipeline(steps), shape=(3,))
    model.fit(np.ascontiguousarray(x[:, :3]), y)
    other = wrap(
        Pipeline([("wide", PolynomialFeatures(2)), ("forest", RandomForestClassifier(n_estimators=3))]),
        shape=(3,),
    )
    other.set_state(model.get_state())
    assert other.forward(x[:, :3]).tobytes() == model.forward(x[:, :3]).tobytes()


def test_training_continues_from_a_state_bit_for_bit(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    whole = wrap(KMeans(n_clusters=2, n_init=1), shape=(30,), seed=3)
    whole.fit(x)
    again = wrap(KMeans(n_clusters=2, n_init=1), shape=(30,), seed=3)
    again.set_state(whole.get_state())
    again.fit(x)
    assert state_digest(again.get_state()) == state_digest(whole.get_state())
