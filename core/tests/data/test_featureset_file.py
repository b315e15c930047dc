"""Files: what was saved comes back to the bit, mapped, without fitting; damage is refused."""

from __future__ import annotations

import datetime

import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ArchiveError, ConfigError, MMLError
from mml.files import read_archive, write_archive
from mml.processing import StandardScaler

from .samples import cells, single


def loaded(path):
    with ExperimentContext().activate():
        return FeatureSet.load(path)


def prepared():
    fs = cells()
    fs.split_random(ratios={"train": 0.6, "test": 0.4}, seed=3, stratify_by="fresh")
    fs["train"].split_by_condition({"fit": {"cell": {"cell-0", "cell-1", "cell-2"}}}, rest="stop")
    fs.fit_transform("standard", domain="features", fit_to_split="train")
    fs.fit_transform("minmax", domain="features", keys="pulse", fit_to_split="fit")
    return fs


def test_a_saved_featureset_comes_back_to_the_bit(tmp_path, monkeypatch):
    fs = prepared()
    fs.save(tmp_path / "cells.mml")
    monkeypatch.setattr(StandardScaler, "fit_blocks", lambda self, blocks: pytest.fail("fitted again"))
    back = loaded(tmp_path / "cells.mml")

    assert back == fs
    assert back.uuid == fs.uuid
    assert back.get_config() == fs.get_config()
    assert back.get_features("pulse").tobytes() == fs.get_features("pulse").tobytes()
    assert np.array_equal(back["stop"].sample_uuids, fs["stop"].sample_uuids)
    assert [one.lineage for one in back.scaler_records] == [one.lineage for one in fs.scaler_records]


def test_equal_featuresets_give_equal_bytes(tmp_path):
    fs = prepared()
    fs.save(tmp_path / "one.mml")
    loaded(tmp_path / "one.mml").save(tmp_path / "two.mml")

    assert (tmp_path / "one.mml").read_bytes() == (tmp_path / "two.mml").read_bytes()


def test_own_identities_and_repeated_samples_survive(tmp_path):
    fs = cells().take([4, 4, 0]).to_featureset("resampled")
    fs.save(tmp_path / "r.mml")

    assert np.array_equal(loaded(tmp_path / "r.mml").sample_uuids, fs.sample_uuids)


def test_chunked_tables_and_missing_tags_survive(tmp_path):
    fs = single(["a", None, "b"], "tags")
    fs.save(tmp_path / "t.mml")

    assert loaded(tmp_path / "t.mml").get_tags("x").tolist() == ["a", None, "b"]
    assert loaded(tmp_path / "t.mml") == fs


WORDS = pa.array(["b", "a"])
PARIS = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
TENSORS = pa.array([[1, 2, 3, 4], [5, 6, 7, 8]], pa.list_(pa.float32(), 4))


def tensors(storage, shape, **options):
    kind = pa.fixed_shape_tensor(storage.type.value_type, shape, **options)
    return pa.ExtensionArray.from_storage(kind, storage)


COLUMNS = {
    **{
        f"codes of {kind}": pa.DictionaryArray.from_arrays(pa.array([1, 0], kind), WORDS)
        for kind in (pa.int8(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64())
    },
    "words in an order": pa.DictionaryArray.from_arrays(pa.array([1, 0]), WORDS, ordered=True),
    "large words": pa.DictionaryArray.from_arrays(pa.array([1, 0]), WORDS.cast(pa.large_string())),
    "word views": pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array(["b", "a"], pa.string_view())),
    "a null among the words": pa.DictionaryArray.from_arrays(pa.array([1, 0]), pa.array(["b", None])),
    "chunks with nulls among the words": pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays(pa.array([1], pa.int8()), pa.array([None, "b"])),
            pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array([None, "c"])),
        ]
    ),
    "tensors with named axes": tensors(TENSORS, [2, 2], dim_names=["row", "column"]),
    "tensors in a stated order": tensors(TENSORS, [2, 2], permutation=[0, 1]),
    "tensors of zoned times": tensors(
        pa.array([[PARIS, PARIS], [PARIS, PARIS]], pa.list_(pa.timestamp("us", "Europe/Paris"), 2)), [2]
    ),
    "lists of zoned times": pa.array([[PARIS], [PARIS]], pa.list_(pa.timestamp("ms", "+02:00"))),
    "lists of dates": pa.array([[PARIS.date()], [PARIS.date()]]),
    "zoned times": pa.array([PARIS, None], pa.timestamp("ns", "America/New_York")),
    "durations": pa.array([1, None], pa.duration("s")),
    "dates": pa.array([PARIS.date(), None]),
    "halves": pa.array(np.ones(2, np.float16)),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_of_every_type_survive(tmp_path, case):
    with ExperimentContext().activate():
        fs = FeatureSet.from_arrow("t", pa.table({"x": COLUMNS[case]}), feature_keys=(), tag_keys="x")
    fs.save(tmp_path / "t.mml")

    assert fs.get_tags("x", fmt="arrow")["x"].to_pylist() == COLUMNS[case].to_pylist()
    assert loaded(tmp_path / "t.mml") == fs
    assert loaded(tmp_path / "t.mml").get_config() == fs.get_config()


def of_polars(path):
    polars.DataFrame({"x": polars.Series(["b", "a", None], dtype=polars.Categorical)}).write_parquet(path)


def of_pandas(path):
    pandas.DataFrame({"x": pandas.Categorical(["b", "a", None], ordered=True)}).to_parquet(path)


def of_duckdb(path):
    duckdb.sql(f"copy (select unnest(['b', 'a', null])::enum('a', 'b') as x) to '{path}' (format parquet)")


@pytest.mark.parametrize("write", [of_polars, of_pandas, of_duckdb])
def test_categories_of_a_parquet_file_survive(tmp_path, write):
    write(str(tmp_path / "t.parquet"))
    with ExperimentContext().activate():
        fs = FeatureSet.from_parquet("t", tmp_path / "t.parquet", feature_keys=(), tag_keys="x")
    fs.save(tmp_path / "t.mml")

    assert pq.read_table(tmp_path / "t.parquet")["x"].to_pylist() == ["b", "a", None]
    assert loaded(tmp_path / "t.mml").get_tags("x").tolist() == ["b", "a", None]


@pytest.mark.parametrize("rows", [[], slice(0, 0), [4, 4, 0], slice(2, 5)])
@pytest.mark.parametrize("columns", [[], ["image", "cell", "day"], "*"])
def test_extracts_without_rows_or_columns_survive(tmp_path, rows, columns):
    fs = prepared().take(rows).select(columns).to_featureset("extract")
    fs.save(tmp_path / "e.mml")
    back = loaded(tmp_path / "e.mml")

    assert len(fs) == len(range(23)[rows] if isinstance(rows, slice) else rows)
    assert back == fs
    assert len(back) == len(fs)
    assert back.schema == fs.schema
    assert np.array_equal(back.sample_uuids, fs.sample_uuids)
    assert back.get_data(fmt="dict_numpy").keys() == fs.get_data(fmt="dict_numpy").keys()


def test_loading_registers_and_says_so_where_the_label_is_taken(tmp_path):
    cells().save(tmp_path / "cells.mml")
    with ExperimentContext().activate() as context:
        fs = FeatureSet.load(tmp_path / "cells.mml")
        assert context.get("cells") is fs
        with pytest.raises(MMLError, match="already taken"):
            FeatureSet.load(tmp_path / "cells.mml")


def test_a_scaler_without_a_name_cannot_be_saved_and_says_why(tmp_path):
    class Mine(StandardScaler):
        pass

    fs = cells()
    fs.fit_transform(Mine, domain="features", keys="pulse")
    with pytest.raises(ConfigError):
        fs.save(tmp_path / "cells.mml")

    assert list(tmp_path.iterdir()) == []


def members_of(path):
    with read_archive(path) as archive:
        return {
            "config": archive.json("config"),
            "state": archive.state("state"),
            "data": archive.table("data"),
        }


@pytest.mark.parametrize(
    "damage",
    [
        lambda m: m["config"].pop("columns"),
        lambda m: m["config"].update(label=3),
        lambda m: m["config"]["columns"].pop("features.pulse.raw"),
        lambda m: m["config"]["columns"]["features.pulse.raw"].update(dtype="float99"),
        lambda m: m["config"]["columns"]["features.pulse.raw"].update(dtype="object"),
        lambda m: m["config"]["scalers"][0]["scaler"].update(name="os.system"),
        lambda m: m["config"]["scalers"][0]["scaler"].update(name="mml/random"),
        lambda m: m["config"]["scalers"][0]["scaler"].update(surprise=1),
        lambda m: m["state"]["splits"].update(train=np.array([99])),
        lambda m: m["state"].pop("transforms"),
        lambda m: m.update(data=m["data"].drop_columns(["features.pulse.raw"])),
        lambda m: m.update(data=m["data"].rename_columns([f"{n}x" for n in m["data"].column_names])),
    ],
)
def test_a_file_whose_parts_do_not_fit_is_refused(tmp_path, damage):
    prepared().save(tmp_path / "cells.mml")
    members = members_of(tmp_path / "cells.mml")
    damage(members)
    write_archive(tmp_path / "bad.mml", kind="featureset", members=members)
    with ExperimentContext().activate() as context, pytest.raises(MMLError):
        FeatureSet.load(tmp_path / "bad.mml")

    assert len(context) == 0


def test_a_file_that_is_cut_short_or_of_another_kind_is_refused(tmp_path):
    prepared().save(tmp_path / "cells.mml")
    data = (tmp_path / "cells.mml").read_bytes()
    (tmp_path / "short.mml").write_bytes(data[: len(data) // 2])
    write_archive(tmp_path / "model.mml", kind="model", members={"config": {}})

    for name in ("short.mml", "model.mml", "absent.mml"):
        with pytest.raises(ArchiveError):
            FeatureSet.load(tmp_path / name)


@pytest.mark.parametrize("path", [None, 3, b"cells.mml"])
def test_what_names_no_file_is_refused(path):
    with pytest.raises(ArchiveError, match="named by its path"):
        cells().save(path)
    with pytest.raises(ArchiveError, match="named by its path"):
        FeatureSet.load(path)
