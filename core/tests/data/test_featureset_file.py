"""Files: what was saved comes back to the bit, mapped, without fitting; damage is refused."""

from __future__ import annotations

import numpy as np
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
