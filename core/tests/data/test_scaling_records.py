"""What a FeatureSet remembers of scalers and splitters: copies of its own, in files or refused beforehand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ConfigError, MMLError, ScalerError, SplitError
from mml.plugins import registry
from mml.processing import Scaler
from mml.strictness import strict

from .samples import cells, single
from .scaled import Doubling, chained, divided, everything, reloaded


class Weighted(Doubling):
    """Multiplies by weights, which it keeps and hands out as they were given."""

    def __init__(self, weights=None):
        self.weights = [1, 2, 3, 4, 5] if weights is None else weights

    def fit(self, values):
        return self

    def transform(self, values):
        return values * np.asarray(self.weights, values.dtype)

    def inverse_transform(self, values):
        return values / np.asarray(self.weights, values.dtype)

    def get_config(self):
        return {"weights": self.weights}

    @classmethod
    def from_config(cls, config):
        return cls(config["weights"])

    def get_state(self):
        return {}

    def set_state(self, state):
        return None


class Chosen:
    """A splitter of rows by number, which it keeps and hands out as they were given."""

    def __init__(self, rows):
        self.rows = rows

    def split(self, view):
        rest = np.setdiff1d(np.arange(len(view)), list(self.rows))
        return {"chosen": np.array(sorted(self.rows)), "rest": rest}

    def get_config(self):
        return {"rows": self.rows}

    @classmethod
    def from_config(cls, config):
        return cls(config["rows"])


@pytest.fixture(autouse=True)
def registered():
    registry("scalers").register("weighted")(Weighted)
    registry("splitters").register("chosen")(Chosen)
    yield
    registry("scalers").remove("user/weighted")
    registry("splitters").remove("user/chosen")


def raises(*_):
    raise ZeroDivisionError("inside")


# Copies


@pytest.mark.parametrize("make", [Weighted, lambda one: Scaler("weighted", weights=one)])
@pytest.mark.parametrize("kind", [list, np.array])
def test_weights_that_are_edited_later_change_nothing_that_was_fitted(make, kind):
    weights = kind([1, 2, 3, 4, 5])
    fs = divided()
    declared = make(weights)
    fs.fit_transform(declared, domain="features", keys="pulse", fit_to_split="train")
    fs.fit_transform("standard", domain="targets", fit_to_split="train")
    before = fs.take([0]).get_features("pulse").tobytes()
    weights[0] = 100
    if isinstance(declared, Weighted):
        declared.weights[1] = 200
    fs.undo_last_transform("targets")

    assert fs.take([0]).get_features("pulse").tobytes() == before
    assert list(fs.scaler_records[0].config["weights"]) == [1, 2, 3, 4, 5]
    assert fs.take([0]).to_featureset("other").get_features("pulse").tobytes() == before


def test_columns_and_records_share_no_list(tmp_path):
    fs = divided()
    fs.fit_transform(Weighted([1.0]), domain="features", keys=["pulse", "image"], fit_to_split="train")
    for one in (fs, reloaded(fs, tmp_path / "cells.mml")):
        record = one.scaler_records[0]
        record.scaler("pulse").weights[0] = 7
        assert record.config["weights"] == [1.0]
        assert record.scaler("image").weights == [1.0]


def test_a_splitter_that_is_edited_later_is_repeated_as_it_was():
    splitter = Chosen([0, 1])
    fs = single(np.arange(6.0))
    fs.split(splitter)
    splitter.rows.append(4)
    again = single(np.arange(6.0), label="again")
    again.split_like(fs)
    fs.splitter_records[0].build().rows.append(5)

    assert fs.splitter_records[0].splitter == {"rows": [0, 1], "splitter": "user/chosen"}
    assert again["chosen"].rows.tolist() == fs["chosen"].rows.tolist() == [0, 1]


# Configs that a file cannot hold


UNWRITABLE = {
    "an array": np.arange(5),
    "an array in a list": [np.arange(5)],
    "a tuple": (1, 2, 3, 4, 5),
    "a NumPy number": [np.int64(1)],
    "a set": {1, 2, 3},
}


@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_scaler_whose_config_is_more_than_json_is_refused_at_save(case, tmp_path):
    path, fs = tmp_path / "cells.mml", chained(divided(), "standard")
    fs.save(path)
    kept = path.read_bytes()

    class Odd(Weighted):
        def transform(self, values):
            return values

        inverse_transform = transform

    registry("scalers").register("odd")(Odd)
    try:
        fs.fit_transform(Odd(UNWRITABLE[case]), domain="features", keys="pulse", fit_to_split="train")
        with pytest.raises(ConfigError, match=r"'user/odd' cannot be written down") as caught:
            fs.save(path)
        assert fs == fs.copy("cells")
    finally:
        registry("scalers").remove("user/odd")
    assert "features.pulse" in caught.value.where
    assert caught.value.found.startswith("/weights")
    assert "lists and plain numbers" in caught.value.hint
    assert path.read_bytes() == kept
    assert [one.name for one in tmp_path.iterdir()] == ["cells.mml"]


@pytest.mark.parametrize("case", ["an array", "a tuple", "a NumPy number", "a set"])
def test_a_splitter_whose_config_is_more_than_json_is_refused_at_save(case, tmp_path):
    path, fs = tmp_path / "one.mml", single(np.arange(9.0))
    fs.save(path)
    kept = path.read_bytes()
    fs.split(Chosen(UNWRITABLE[case]))
    with pytest.raises(ConfigError, match=r"'user/chosen' cannot be written down") as caught:
        fs.save(path)

    assert "chosen" in caught.value.where
    assert caught.value.found.startswith("/rows")
    assert path.read_bytes() == kept
    assert fs.splitter_records == fs.copy("copy").splitter_records
    again = single(np.arange(9.0), label="again")
    again.split_like(fs)
    assert again["chosen"].rows.tolist() == fs["chosen"].rows.tolist()


# Configs that cannot be had


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"get_config": raises}, "get_config failed: inside"),
        ({"get_config": lambda self: None}, "get_config returned no mapping"),
    ],
)
def test_a_scaler_without_a_config_is_fitted_and_refused_at_save(methods, words, tmp_path):
    registry("scalers").register("odd")(type("Odd", (Weighted,), methods))
    try:
        fs = divided().fit_transform("odd", domain="features", keys="pulse", fit_to_split="train")
        with pytest.raises(ConfigError, match=f"'user/odd' cannot be written down: its {words}") as caught:
            fs.save(tmp_path / "cells.mml")
        assert "features.pulse" in caught.value.where
        assert fs == fs.copy("cells")
    finally:
        registry("scalers").remove("user/odd")
    assert list(tmp_path.iterdir()) == []
    if "inside" in words:
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"get_config": raises}, "get_config failed: inside"),
        ({"get_config": lambda self: 3}, "get_config returned no mapping"),
        ({"get_config": None}, "no get_config"),
        ({"from_config": None}, "no from_config"),
    ],
)
def test_a_splitter_without_a_config_divides_and_is_not_repeated(methods, words, tmp_path):
    registry("splitters").register("odd")(type("Odd", (Chosen,), methods))
    try:
        fs = single(np.arange(6.0))
        fs.split("odd", rows=[1, 2])
        for one in (fs, reloaded(fs, tmp_path / "one.mml")):
            assert one["chosen"].rows.tolist() == [1, 2]
            with pytest.raises(SplitError, match="cannot be replayed") as caught:
                single(np.arange(6.0), label="again").split_like(one)
            assert words in caught.value.found
    finally:
        registry("splitters").remove("user/odd")


def test_a_scaler_whose_config_cannot_be_built_is_named_when_a_file_is_read(tmp_path):
    class Odd(Weighted):
        @classmethod
        def from_config(cls, config):
            raise ZeroDivisionError("inside")

    registry("scalers").register("odd")(Odd)
    try:
        fs = divided().fit_transform("odd", domain="features", keys="pulse", fit_to_split="train")
        with pytest.raises(MMLError, match="'user/odd' does not take these settings: inside"):
            reloaded(fs, tmp_path / "cells.mml")
    finally:
        registry("scalers").remove("user/odd")


def test_a_state_that_fails_later_is_named_at_save(tmp_path):
    class Odd(Weighted):
        learns = False

        def get_state(self):
            raise ZeroDivisionError("inside")

    registry("scalers").register("odd")(Odd)
    try:
        fs = divided().fit_transform("odd", domain="features", keys="pulse", fit_to_split="train")
        with pytest.raises(ScalerError, match="failed in get_state: inside") as caught:
            fs.save(tmp_path / "cells.mml")
    finally:
        registry("scalers").remove("user/odd")
    assert "features.pulse" in caught.value.where
    assert list(tmp_path.iterdir()) == []


# Equality


@pytest.mark.parametrize("inner", ["standard", "robust", "per_sample_minmax"])
def test_segmented_scalers_compare_by_what_they_learnt(inner, tmp_path):
    def fitted(seed):
        one = divided(seed=seed)
        return one.fit_transform(
            Scaler("segmented", boundaries=[2], scaler=inner),
            domain="features",
            keys="pulse",
            fit_to_split="train",
        )

    fs = fitted(0)
    assert fs == fitted(0)
    assert reloaded(fs, tmp_path / "cells.mml") == fs
    # Scalers that work per sample learn nothing that could differ.
    assert (fs.scaler_records[0] != fitted(1).scaler_records[0]) is (inner != "per_sample_minmax")


@pytest.mark.parametrize(
    ("mine", "theirs", "same"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], True),
        ([1.0, 2.0], [1.0, 2.5], False),
        ([1.0, 2.0], [1.0], False),
        ([1.0], [1], False),
        ({"a": [np.zeros(2)]}, {"a": [np.zeros(2)]}, True),
        ({"a": [np.zeros(2)]}, {"a": [-np.zeros(2)]}, False),
    ],
)
def test_states_in_lists_compare_bit_for_bit(mine, theirs, same):
    class Odd(Weighted):
        learns = False

        def get_state(self):
            return {"learnt": self.weights}

        def transform(self, values):
            return values

    def record(weights):
        fs = single(np.arange(5.0))
        fs.fit_transform(Odd(weights), domain="features")
        return fs.scaler_records[0]

    assert (record(mine) == record(theirs)) is same


# Lineage


@pytest.mark.parametrize("inner", ["negate", "absolute", "per_sample_minmax"])
def test_segments_whose_scaler_learns_nothing_leak_nothing(inner):
    fs = divided()
    with strict():
        fs.fit_transform(Scaler("segmented", boundaries=[2], scaler=inner), domain="features", keys="pulse")
    assert len(fs.scaler_records[0].lineage) == 0


@pytest.mark.parametrize("inner", ["standard", "minmax"])
def test_segments_whose_scaler_learns_leak(inner):
    fs = divided()
    before = everything(fs)
    with strict(), pytest.raises(MMLError, match="outside the training split"):
        fs.fit_transform(Scaler("segmented", boundaries=[2], scaler=inner), domain="features", keys="pulse")
    assert everything(fs) == before


@pytest.mark.parametrize(
    ("says", "state", "leaks"),
    [(False, {"a": 1}, False), (True, {}, True), (None, {}, False), (None, {"a": 1}, True)],
)
def test_a_scaler_of_ones_own_says_whether_it_learns(says, state, leaks):
    kind = type("Odd", (Weighted,), {"learns": says, "get_state": lambda self: state})
    fs = divided()
    if leaks:
        with strict(), pytest.raises(MMLError, match="outside the training split"):
            fs.fit_transform(kind, domain="features", keys="pulse")
    else:
        with strict():
            fs.fit_transform(kind, domain="features", keys="pulse")
        assert len(fs.scaler_records[0].lineage) == 0


def test_a_fitted_scaler_keeps_nothing_per_row_of_contiguous_rows():
    n_rows = 400_000
    fs = single(np.zeros(n_rows, np.float32))
    fs.split_by_condition({"first": {"row": lambda rows: rows < n_rows // 2}}, rest="second")
    tracemalloc.start()
    try:
        for split in ("first", "second", "first"):
            fs.fit_transform("minmax", domain="features", fit_to_split=split)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < n_rows
    lineages = [record.lineage for record in fs.scaler_records]
    assert [len(one) for one in lineages] == [n_rows // 2] * 3
    assert lineages[1].rows.tolist() == list(range(n_rows // 2, n_rows))
    assert lineages[0].overlap(lineages[2]).all()
    assert not lineages[1].overlap(lineages[0]).any()
    assert not lineages[0].overlap(lineages[1]).any()


def test_a_lineage_does_not_keep_columns_that_were_evaluated_before_it():
    n_rows = 100_000
    fs = single(np.zeros((n_rows, 4), np.float32))
    fs.fit_transform("standard", domain="features")
    tracemalloc.start()
    try:
        for _ in range(4):
            fs.get_features("x")
            fs.fit_transform("negate", domain="features").fit_transform("maxabs", domain="features")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 2 * 16 * n_rows


def test_lineages_of_rows_apart_come_back_from_files(tmp_path):
    fs = cells(40)
    fs.split_random(ratios={"odd": 0.5, "even": 0.5}, seed=0)
    fs.take(slice(10, 20)).split_by_condition({"middle": {}})
    fs.fit_transform("standard", domain="features", fit_to_split="odd")
    fs.fit_transform("minmax", domain="features", fit_to_split="middle")
    back = reloaded(fs, tmp_path / "cells.mml")

    for one in (fs, back):
        first, second = (record.lineage for record in one.scaler_records)
        assert first.rows.tolist() == fs["odd"].rows.tolist()
        assert second.rows.tolist() == list(range(10, 20))
        assert second.rows.dtype == np.int64
        inside = np.isin(np.arange(10, 20), fs["odd"].rows)
        assert first.overlap(second).tolist() == inside.tolist()
    assert back == fs
    state = fs.get_state()["transforms"][1]["lineage"]
    assert state["rows"].tolist() == list(range(10, 20))


def test_a_structure_without_a_table_has_no_rows():
    with ExperimentContext().activate():
        again = FeatureSet.from_config(chained(divided(), "standard").get_config())
    assert again.scaler_records[0].lineage is None
