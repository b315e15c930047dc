"""What holds for each transformer of scikit-learn that has a name as a scaler, and for those without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import NMF, PCA
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import all_estimators

import mml.data
from mml.errors import MMLError, ScalerError, StateError
from mml.plugins import registry
from mml.processing.scalers import Scaler
from mml.strictness import strict
from mml_sklearn.estimators import SINCE
from mml_sklearn.random_state import global_generator
from mml_sklearn.row_calls import height_of
from mml_sklearn.scaler_names import SCALERS
from mml_sklearn.scalers import Transformer

CLASSES: dict[str, Any] = dict(all_estimators(type_filter="transformer"))
NAMES = sorted(name for name in SCALERS if name in CLASSES)
ARGUMENTS: dict[str, dict[str, Any]] = {
    "BernoulliRBM": {"n_components": 5, "n_iter": 2},
    "Birch": {"n_clusters": None, "threshold": 0.2},
    "BisectingKMeans": {"n_clusters": 3},
    "ColumnTransformer": {"transformers": [("a", StandardScaler(), [0, 2]), ("b", PCA(2), [1, 3, 4])]},
    "DictionaryLearning": {"n_components": 3, "max_iter": 2},
    "FactorAnalysis": {"n_components": 3},
    "FastICA": {"n_components": 3, "tol": 0.1},
    "FeatureUnion": {"transformer_list": [("a", StandardScaler()), ("b", PCA(2))]},
    "FunctionTransformer": {"func": np.log1p, "inverse_func": np.expm1, "check_inverse": False},
    "GaussianRandomProjection": {"n_components": 4},
    "IncrementalPCA": {"n_components": 4},
    # A tree of neighbours counts what it is asked, and so would not be equal to the one that was read.
    "Isomap": {"neighbors_algorithm": "brute"},
    "LocallyLinearEmbedding": {"neighbors_algorithm": "brute"},
    "KBinsDiscretizer": {"encode": "ordinal", "quantile_method": "averaged_inverted_cdf"},
    "KMeans": {"n_clusters": 3, "n_init": 1},
    "KernelPCA": {"n_components": 4, "kernel": "rbf", "fit_inverse_transform": True},
    "LatentDirichletAllocation": {"n_components": 3, "max_iter": 2},
    "MiniBatchDictionaryLearning": {"n_components": 3, "max_iter": 2},
    "MiniBatchKMeans": {"n_clusters": 3, "n_init": 1},
    "MiniBatchNMF": {"n_components": 3, "max_iter": 1000, "tol": 1e-3},
    "MiniBatchSparsePCA": {"n_components": 3, "max_iter": 2},
    "MissingIndicator": {"features": "all"},
    "NMF": {"n_components": 3, "max_iter": 1000, "tol": 1e-3},
    "Nystroem": {"n_components": 10},
    "OneHotEncoder": {"sparse_output": False, "handle_unknown": "ignore"},
    "OrdinalEncoder": {"handle_unknown": "use_encoded_value", "unknown_value": -1},
    "PolynomialCountSketch": {"n_components": 8},
    "QuantileTransformer": {"n_quantiles": 50},
    "RandomTreesEmbedding": {"sparse_output": False, "n_estimators": 3, "max_depth": 2},
    "SkewedChi2Sampler": {"n_components": 12},
    "SparseCoder": {"dictionary": np.eye(5)[:3] + 0.25},
    "SparsePCA": {"n_components": 3, "max_iter": 2},
    "SparseRandomProjection": {"n_components": 4},
    "TruncatedSVD": {"n_components": 3},
}
DISTINCT = {"OneHotEncoder", "OrdinalEncoder"}
MISSING = {"KNNImputer", "SimpleImputer", "MissingIndicator"}
# They decide for all rows together; each row by itself is what a scaler may return.
JOINT = {"NMF", "MiniBatchNMF"}
UNSAVED = {"Birch"}
INVERTED = {
    *("FastICA", "FunctionTransformer", "IncrementalPCA", "KernelPCA", "MaxAbsScaler", "MinMaxScaler", "PCA"),
    *("PowerTransformer", "QuantileTransformer", "RobustScaler", "StandardScaler", "TruncatedSVD"),
}
LOSSLESS = INVERTED - {"FastICA", "IncrementalPCA", "KernelPCA", "TruncatedSVD"}
LEARN_NOTHING = {"AdditiveChi2Sampler", "Binarizer", "FunctionTransformer", "Normalizer", "SparseCoder"}
ROWS = 240


def values_for(name: str, dtype: str = "float64", n_rows: int = ROWS) -> np.ndarray:
    """Return rows of five numbers between 0.1 and 1 that suit a transformer."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 1, (n_rows, 5)) * [1, 1, 0.5, 1, 0.7]
    if name in DISTINCT:
        values = np.round(values * 4)
    if name in MISSING:
        values[rng.random(values.shape) < 0.2] = np.nan
    return values.astype(dtype)


def arguments(name: str) -> dict[str, Any]:
    takes = CLASSES[name]._get_param_names()
    known = {**ARGUMENTS.get(name, {}), "random_state": 0}
    return {key: value for key, value in known.items() if key in takes}


def scaler_of(name: str) -> Scaler:
    return Scaler(f"sklearn/{name}", **arguments(name))


def cells(values: np.ndarray, label: str = "cells") -> mml.data.FeatureSet:
    with mml.ExperimentContext().activate():
        made = mml.data.FeatureSet.from_numpy(label, values)
    made.split_random(ratios={"train": 0.7, "test": 0.3}, seed=0)
    return made


def test_every_transformer_has_a_name_or_a_reason_to_have_none() -> None:
    parts = tuple(int(one) for one in sklearn.__version__.split(".")[:2])
    later = {name for name, since in SINCE.items() if tuple(map(int, since.split("."))) > parts}
    assert set(NAMES) | set(LEFT_OUT) == set(CLASSES)
    assert set(SCALERS) - set(NAMES) <= later
    assert set(NAMES) == {
        one.name for one in registry("scalers") if one.plugin == "sklearn" and one.name != "Transformer"
    } & set(CLASSES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_an_object_and_a_class_are_one_scaler(name: str) -> None:
    named, given, declared = (
        scaler_of(name),
        Scaler(CLASSES[name](**arguments(name))),
        Scaler(CLASSES[name], **arguments(name)),
    )
    assert named == given == declared
    assert named.get_config()["scaler"] == f"sklearn/{name}"
    assert registry("scalers").load(f"sklearn/{name}") is type(named.wrapped)
    assert registry("scalers").load(name) is type(given.wrapped)


@pytest.mark.parametrize("name", NAMES)
def test_a_scaler_maps_as_the_transformer_does(name: str) -> None:
    values = values_for(name)
    with global_generator() as seed_global:
        seed_global(0)
        own = CLASSES[name](**arguments(name)).fit(values)
    result = scaler_of(name).fit(values).transform(values)
    if name in JOINT:
        expected = np.concatenate([own.transform(values[row : row + 1]) for row in range(ROWS)])
        assert result.tobytes() == expected.tobytes()
    else:
        expected = own.transform(values)
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)
    assert result.dtype == expected.dtype


@pytest.mark.parametrize("name", sorted(INVERTED & set(NAMES)))
def test_a_scaler_inverts_as_the_transformer_does(name: str) -> None:
    values = values_for(name)
    own = CLASSES[name](**arguments(name)).fit(values)
    scaler = scaler_of(name).fit(values)
    back = scaler.inverse_transform(scaler.transform(values))
    np.testing.assert_allclose(back, own.inverse_transform(own.transform(values)), rtol=1e-9, atol=1e-9)
    if name in LOSSLESS:
        np.testing.assert_allclose(back, values, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rows_bits_depend_on_no_other_row(name: str, dtype: str) -> None:
    values = values_for(name, dtype)
    scaler = scaler_of(name).fit(values)
    whole = scaler.transform(values)
    rng = np.random.default_rng(1)
    chosen = [rng.permutation(ROWS)[:size] for size in (1, 1, 2, 3, 31, 95, 96, 97, 193, ROWS)]
    for rows in [*chosen, np.arange(7, 150), np.repeat(5, 9)]:
        assert scaler.transform(values[rows]).tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_featureset_is_scaled_undone_and_saved(name: str, tmp_path: Any) -> None:
    values = values_for(name, "float32")
    made = cells(values)
    raw = made.get_features("x").tobytes()
    made.fit_transform(scaler_of(name), domain="features", fit_to_split="train")
    scaled = made.get_features("x")
    assert made.schema["features.x.transformed"].shape == scaled.shape[1:]
    if name in UNSAVED:
        with pytest.raises(StateError, match=name):
            made.save(tmp_path / "cells.mml")
    else:
        made.save(tmp_path / "cells.mml")
        with mml.ExperimentContext().activate():
            back = mml.data.FeatureSet.load(tmp_path / "cells.mml")
        assert back.scaler_records[0].config["scaler"] == f"sklearn/{name}"  # type: ignore[index]
        # First a few rows, in a process that has seen no others of them.
        rows = [200, 3, 77]
        assert back.take(rows).get_features("x").tobytes() == scaled[rows].tobytes()
        assert back.get_features("x").tobytes() == scaled.tobytes()
        assert back == made
    new = cells(values[50:90], "new").transform_like(made)
    assert new.get_features("x").tobytes() == scaled[50:90].tobytes()
    made.undo_last_transform("features")
    assert made.get_features("x").tobytes() == raw


@pytest.mark.parametrize("name", [name for name in NAMES if name not in UNSAVED])
def test_config_and_state_bring_a_scaler_back(name: str) -> None:
    values = values_for(name)
    scaler = scaler_of(name).fit(values)
    again = Scaler.from_config(json.loads(json.dumps(scaler.get_config())))
    assert again == scaler
    again.set_state(scaler.get_state())
    assert again.transform(values[9:11]).tobytes() == scaler.transform(values)[9:11].tobytes()


@pytest.mark.parametrize("name", [name for name in NAMES if not hasattr(CLASSES[name], "inverse_transform")])
def test_what_cannot_be_inverted_says_so(name: str) -> None:
    values = values_for(name)
    scaler = scaler_of(name).fit(values)
    with pytest.raises(ScalerError, match="inverted") as caught:
        scaler.inverse_transform(scaler.transform(values))
    assert "Undo" in str(caught.value.hint)


@pytest.mark.parametrize("name", NAMES)
def test_only_what_has_to_be_fitted_leaks(name: str) -> None:
    made = cells(values_for(name))
    if name in LEARN_NOTHING:
        with strict():
            made.fit_transform(scaler_of(name), domain="features")
        assert len(made.scaler_records[0].lineage) == 0  # type: ignore[arg-type]
    else:
        with strict(), pytest.raises(MMLError, match="outside the training split"):
            made.fit_transform(scaler_of(name), domain="features")


def test_a_pipeline_learns_if_a_part_of_it_does() -> None:
    nothing = make_pipeline(CLASSES["Normalizer"](), CLASSES["Binarizer"]())
    assert not Transformer(nothing).learns
    assert Transformer(make_pipeline(CLASSES["Normalizer"](), StandardScaler())).learns


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_argument_names_the_near_ones(name: str) -> None:
    near = CLASSES[name]._get_param_names()[0]
    with pytest.raises(ScalerError, match=f"{name} takes no argument '{near}s'") as caught:
        Scaler(f"sklearn/{name}", **{**arguments(name), f"{near}s": 1})
    assert repr(near) in str(caught.value.hint)
    assert "node" not in str(caught.value)


# Transformers that are no scalers

NEEDS_TARGETS = {
    *("CCA", "GenericUnivariateSelect", "IsotonicRegression", "LinearDiscriminantAnalysis"),
    *("NeighborhoodComponentsAnalysis", "PLSCanonical", "PLSRegression", "PLSSVD", "SelectFdr", "SelectFpr"),
    *("SelectFwe", "SelectKBest", "SelectPercentile", "TargetEncoder"),
}
AROUND: dict[str, Callable[[Any], Any]] = {
    "RFE": lambda cls: cls(LinearSVC()),
    "RFECV": lambda cls: cls(LinearSVC()),
    "SelectFromModel": lambda cls: cls(LinearSVC()),
    "SequentialFeatureSelector": lambda cls: cls(LinearSVC()),
    "StackingClassifier": lambda cls: cls([("a", LinearSVC())]),
    "StackingRegressor": lambda cls: cls([("a", LinearSVC())]),
    "VotingClassifier": lambda cls: cls([("a", LinearSVC())]),
    "VotingRegressor": lambda cls: cls([("a", LinearSVC())]),
}
NO_NUMBERS = {"CountVectorizer", "DictVectorizer", "FeatureHasher", "HashingVectorizer", "TfidfVectorizer"}
SPARSE = {"KNeighborsTransformer", "RadiusNeighborsTransformer", "TfidfTransformer"}
# Rows become patches, or stand for columns.
OTHER_ROWS = {"PatchExtractor", "KernelCenterer"}
NO_NEW_ROWS = {"TSNE"}
# They make targets of labels, and take whatever numbers they get for labels.
FOR_LABELS = {"LabelBinarizer", "LabelEncoder", "MultiLabelBinarizer"}
FAILING = {*NEEDS_TARGETS, *AROUND, *NO_NUMBERS, *SPARSE, *OTHER_ROWS, *NO_NEW_ROWS} & set(CLASSES)
LEFT_OUT = sorted(FAILING | FOR_LABELS)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_has_no_name(name: str) -> None:
    with pytest.raises(MMLError, match=f"There is no scaler 'sklearn/{name}'"):
        Scaler(f"sklearn/{name}")


@pytest.mark.parametrize("name", sorted(FAILING))
@pytest.mark.filterwarnings("ignore")
def test_what_is_left_out_does_not_scale(name: str) -> None:
    made = cells(values_for(name))
    before = made.scaler_records
    given = AROUND[name](CLASSES[name]) if name in AROUND else CLASSES[name]()
    with pytest.raises(MMLError):
        made.fit_transform(given, domain="features", fit_to_split="train")
    assert made.scaler_records == before


# Chunks of rows

WIDE: dict[str, Any] = {
    "a product": PCA(40),
    "a narrow product": PCA(1),
    "a part that is one": FeatureUnion([("a", StandardScaler()), ("b", PCA(24))]),
    "a pipeline": make_pipeline(StandardScaler(), PCA(24)),
    "many features": CLASSES["RBFSampler"](n_components=100, random_state=0),
    "a kernel": CLASSES["KernelPCA"](30, kernel="rbf"),
    "some rows of a kernel": CLASSES["Nystroem"](n_components=30, random_state=0),
    "singular vectors": CLASSES["TruncatedSVD"](30, random_state=0),
}


@pytest.fixture(scope="module")
def fitted() -> Callable[[str, str], tuple[Transformer, np.ndarray, np.ndarray]]:
    known: dict[tuple[str, str], tuple[Transformer, np.ndarray, np.ndarray]] = {}

    def one(case: str, dtype: str) -> tuple[Transformer, np.ndarray, np.ndarray]:
        if (case, dtype) not in known:
            values = np.random.default_rng(0).normal(2, 3, (1000, 40)).astype(dtype)
            scaler = Transformer(WIDE[case]).fit(values[:300])
            known[case, dtype] = scaler, values, scaler.transform(values)
        return known[case, dtype]

    return one


@settings(max_examples=150)
@given(
    case=st.sampled_from(sorted(WIDE)),
    dtype=st.sampled_from(["float32", "float64"]),
    n_rows=st.integers(1, 1000),
    seed=st.integers(0, 100),
)
def test_bits_depend_neither_on_how_many_rows_nor_on_where_a_row_stands(
    fitted: Any, case: str, dtype: str, n_rows: int, seed: int
) -> None:
    scaler, values, whole = fitted(case, dtype)
    rows = np.random.default_rng(seed).integers(0, 1000, n_rows)
    assert scaler.transform(values[rows]).tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("case", sorted(WIDE))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_has_the_same_bits_at_every_place(fitted: Any, case: str, dtype: str) -> None:
    scaler, values, whole = fitted(case, dtype)
    made = scaler.transform(np.repeat(values[17:18], 700, axis=0))
    assert {row.tobytes() for row in made} == {whole[17].tobytes()}


@pytest.mark.parametrize("case", ["a product", "a pipeline", "singular vectors"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inversion_gives_a_prediction_the_same_bits_beside_any_others(
    fitted: Any, case: str, dtype: str
) -> None:
    scaler, _, scaled = fitted(case, dtype)
    whole = scaler.inverse_transform(scaled)
    for rows in (slice(0, 1), slice(7, 10), slice(500, 501), slice(3, 1000)):
        assert scaler.inverse_transform(scaled[rows]).tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_featureset_reads_the_same_bits_in_any_block(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(9000, 40)).astype(dtype)
    monkeypatch.setattr("mml.data.source._KEPT_BYTES", 0)
    made = cells(values).fit_transform(PCA(24), domain="features", fit_to_split="train")
    whole = made.get_features("x").tobytes()
    size = len(whole) // 9000
    for rows in ([5], [8999, 0], list(range(0, 320, 10)), list(range(4000, 4097))):
        expected = b"".join(whole[row * size : (row + 1) * size] for row in rows)
        assert made.take(rows).get_features("x").tobytes() == expected
    monkeypatch.setattr("mml.data.source._BLOCK_BYTES", 10_000)
    assert made.get_features("x").tobytes() == whole


@pytest.mark.parametrize(
    ("values", "made_up"),
    [
        (np.zeros((9, 40), np.float32), "zeros, which add up to the same in any order"),
        (np.ones((9, 40), np.float32), "ones"),
        (np.eye(9, 40, dtype=np.float32), "one number a row"),
    ],
)
def test_rows_that_tell_nothing_of_the_order_are_not_all_that_is_tried(
    fitted: Any, values: np.ndarray, made_up: str
) -> None:
    scaler, others, whole = fitted("a product", "float32")
    again = Transformer(PCA(40))
    again.set_state(scaler.get_state())
    again.transform(values)
    rows = [17, 900, 3, 44]
    assert again.transform(others[rows]).tobytes() == whole[rows].tobytes(), made_up


class Own(PCA):  # type: ignore[misc]
    """A transformer of a user's own: how much a row costs, nobody knows."""


class OwnJoint(NMF):  # type: ignore[misc]
    """A transformer of a user's own that decides for all rows together."""


@pytest.mark.parametrize(
    ("given", "height"),
    [
        (StandardScaler(), np.inf),
        (PCA(2), 6144),
        (Own(2), 96),
        (NMF(2), 1),
        (OwnJoint(2), 1),
        (make_pipeline(StandardScaler(), MinMaxScaler()), np.inf),
        (make_pipeline(StandardScaler(), PCA(2)), 6144),
        (make_pipeline("passthrough", PCA(2), Own(2)), 96),
        (FeatureUnion([("a", PCA(2)), ("b", make_pipeline(MinMaxScaler(), NMF(2)))]), 1),
        (CLASSES["ColumnTransformer"]([("a", PCA(1), [0, 1]), ("b", "drop", [2])]), 6144),
    ],
)
def test_a_whole_is_given_as_many_rows_as_its_most_careful_part(given: Any, height: float) -> None:
    assert height_of(given) == height


def test_wide_samples_are_not_multiplied_without_need() -> None:
    values = np.random.default_rng(0).normal(size=(40, 20_000)).astype(np.float32)
    scaler = Transformer(PCA(3)).fit(values)
    seen: list[int] = []
    own = scaler.estimator.transform
    scaler.estimator.transform = lambda rows: seen.append(len(rows)) or own(rows)  # type: ignore[func-returns-value]
    scaler.transform(values[:1])
    assert max(seen) * 20_000 * 4 <= 1 << 20


def test_a_scaler_that_was_read_gives_the_bits_of_the_one_that_was_fitted() -> None:
    values = np.random.default_rng(0).normal(size=(400, 40)).astype(np.float32)
    for one in (CLASSES["TruncatedSVD"](3, random_state=0), CLASSES["IncrementalPCA"](3), PCA(3)):
        scaler, again = Transformer(one).fit(values), Transformer(one)
        again.set_state(scaler.get_state())
        assert again.transform(values[5:9]).tobytes() == scaler.transform(values)[5:9].tobytes()
