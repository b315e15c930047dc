"""Archives give back what was put in, to the bit, and are ordinary zip files to every other tool."""

from __future__ import annotations

import gc
import json
import sys
import threading
import zipfile

import numpy as np
import pyarrow as pa
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings

from mml.errors import ArchiveError, StateError
from mml.files import ArchiveKind, ArchiveLimits, read_archive, write_archive

from .states import same_bits, states


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.mml"


def _members():
    return {
        "config": {"label": "cells", "layers": [1, 2], "rate": 0.1, "none": None},
        "graph": {
            "w": np.arange(6, dtype=np.float32).reshape(2, 3),
            "step": 3,
            "flags": np.array([True, False]),
        },
        "samples": pa.table({"x": np.arange(1000), "y": np.linspace(0, 1, 1000, dtype=np.float32)}),
        "nodes/ü [1]/estimator.skops": b"\x00\x01opaque",
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states())
def test_states_come_back_to_the_bit(path, state):
    write_archive(path, kind="checkpoint", members={"s": state})
    with read_archive(path) as archive:
        assert same_bits(archive.state("s"), state)
        assert same_bits(archive.state("s", mapped=True), state)


def test_every_kind_of_member_comes_back(path):
    members = _members()
    write_archive(
        path, kind="experiment", members=members, plugins={"p": "1.2"}, created="2024-01-01T00:00:00Z"
    )
    with read_archive(path, kind="experiment") as archive:
        assert archive.json("config") == archive.json("config.json") == members["config"]
        assert archive.state("config") == members["config"]
        assert same_bits(archive.state("graph"), members["graph"])
        assert archive.table("samples").equals(members["samples"])
        assert archive.raw("nodes/ü [1]/estimator.skops") == b"\x00\x01opaque"
        assert archive.names() == [
            *("config.json", "graph.json", "graph.safetensors"),
            *("nodes/ü [1]/estimator.skops", "samples.arrow"),
        ]
        assert "config" in archive
        assert "samples" in archive
        assert "other" not in archive
        manifest = archive.manifest
    assert (manifest.kind, manifest.plugins, manifest.created) == (
        ArchiveKind.EXPERIMENT,
        {"p": "1.2"},
        "2024-01-01T00:00:00Z",
    )
    assert manifest.format_version == 1


def test_other_tools_read_it(path, tmp_path):
    members = _members()
    write_archive(path, kind="graph", members=members)
    with zipfile.ZipFile(path) as plain:
        assert plain.testzip() is None
        assert all(info.compress_type == zipfile.ZIP_STORED for info in plain.infolist())
        assert json.loads(plain.read("config.json")) == members["config"]
        assert json.loads(plain.read("manifest.json"))["format"] == "mml"
        tensors = safetensors.numpy.load(plain.read("graph.safetensors"))
        assert same_bits(tensors["/w"], members["graph"]["w"])
        with pa.ipc.open_file(plain.read("samples.arrow")) as reader:
            assert reader.read_all().equals(members["samples"])


def test_equal_contents_give_equal_bytes(tmp_path):
    members = _members()
    write_archive(tmp_path / "a.mml", kind="graph", members=members, plugins={"a": "1", "b": "2"})
    write_archive(
        tmp_path / "b.mml",
        kind="graph",
        members=dict(reversed(members.items())),
        plugins={"b": "2", "a": "1"},
    )
    assert (tmp_path / "a.mml").read_bytes() == (tmp_path / "b.mml").read_bytes()


def test_the_data_of_every_member_are_aligned_even_with_64_bit_sizes(path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    write_archive(path, kind="graph", members=_members())
    with zipfile.ZipFile(path) as plain:
        infos = plain.infolist()
        assert plain.testzip() is None
    data = path.read_bytes()
    for info in infos:
        start = info.header_offset + 30 + int.from_bytes(data[info.header_offset + 26 :][:2], "little")
        start += int.from_bytes(data[info.header_offset + 28 :][:2], "little")
        assert start % 64 == 0, info.filename
    assert b"PK\x06\x06" in data
    with read_archive(path) as archive:
        archive.verify()
        assert same_bits(archive.state("graph"), _members()["graph"])


def test_tables_and_mapped_arrays_are_read_in_place_and_outlive_the_archive(path):
    rows = 2_000_000
    write_archive(
        path, kind="featureset", members={"t": pa.table({"x": np.arange(rows)}), "s": {"x": np.arange(rows)}}
    )
    before = pa.total_allocated_bytes()
    with read_archive(path) as archive:
        column = archive.table("t")["x"]
        mapped = archive.state("s", mapped=True)["x"]
        owned = archive.state("s")["x"]
    gc.collect()
    assert pa.total_allocated_bytes() - before < rows
    assert not mapped.flags.writeable
    assert owned.flags.writeable
    assert column.to_numpy()[-1] == mapped[-1] == owned[-1] == rows - 1
    assert mapped.ctypes.data % 64 == 0


def test_a_replaced_file_does_not_disturb_who_reads_the_old_one(path):
    write_archive(path, kind="model", members={"s": {"x": np.full(1000, 1)}})
    with read_archive(path) as archive:
        mapped = archive.state("s", mapped=True)
        write_archive(path, kind="model", members={"s": {"x": np.full(1000, 2)}})
        assert mapped["x"].tolist() == archive.state("s")["x"].tolist() == [1] * 1000


def test_large_members_are_hashed_on_the_side(path):
    state = {str(i): np.random.default_rng(i).random(1 << 20) for i in range(3)}
    write_archive(path, kind="checkpoint", members={"s": state})
    with read_archive(path) as archive:
        archive.verify()
        assert same_bits(archive.state("s"), state)
    assert not [one for one in threading.enumerate() if one.name.startswith("mml")]


def test_several_threads_read_one_archive(path):
    members = {str(i): {"x": np.full(100_000, i)} for i in range(4)}
    write_archive(path, kind="model", members=members)
    found = {}
    with read_archive(path) as archive:
        read = lambda name: found.setdefault(name, [archive.state(name)["x"] for _ in range(20)])
        threads = [threading.Thread(target=read, args=(name,)) for name in members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all((one == int(name)).all() for name, many in found.items() for one in many)
    assert set(found) == set(members)


def test_sources_are_kept_as_text_and_never_run(path):
    text = "raise SystemExit('executed')\n# ü"
    write_archive(
        path, kind="graph", members={"config": {}}, sources={"my.module.Net": text, "f.<locals>.C": ""}
    )
    with read_archive(path) as archive:
        assert archive.sources() == {"my.module.Net": text, "f.<locals>.C": ""}
    assert "my.module" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "C:\\x",
        "C:/x",
        "a\\b",
        "a\nb",
        "a\0b",
        "x" * 2000,
    ],
)
def test_unsafe_names_are_not_written(path, name):
    with pytest.raises(ArchiveError, match="not safe"):
        write_archive(path, kind="graph", members={name: b"x"})
    assert not path.exists()


@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_taken_names_are_not_written(path, name):
    with pytest.raises(ArchiveError, match="taken"):
        write_archive(path, kind="graph", members={"config": {}, name: b"{}"})


def test_names_may_carry_their_suffix(path):
    write_archive(path, kind="graph", members={"config.json": {"a": 1}, "t.arrow": pa.table({"x": [1]})})
    with read_archive(path) as archive:
        assert archive.names() == ["config.json", "t.arrow"]


def test_errors_of_values_name_member_and_path(path):
    with pytest.raises(StateError) as caught:
        write_archive(path, kind="graph", members={"config": {"a": [(1,)]}})
    assert caught.value.where == "member 'config', /a/0"
    assert not path.exists()


@pytest.mark.parametrize("value", [3, "text", None, np.zeros(3), (1, 2), bytearray(b"x")])
def test_values_of_other_types_are_refused(path, value):
    with pytest.raises(ArchiveError, match="'x'") as caught:
        write_archive(path, kind="graph", members={"x": value})
    assert type(value).__name__ in caught.value.found
    assert not path.exists()


def test_unknown_kinds_are_refused_on_both_sides(path):
    with pytest.raises(ArchiveError, match="no such kind"):
        write_archive(path, kind="picture", members={})
    write_archive(path, kind="graph", members={})
    with pytest.raises(ArchiveError, match="no such kind"):
        read_archive(path, kind="picture")


def test_another_kind_is_refused(path):
    write_archive(path, kind="graph", members={})
    with pytest.raises(ArchiveError, match="something else") as caught:
        read_archive(path, kind="model")
    assert str(path) in caught.value.where
    assert (caught.value.expected, caught.value.found) == (
        "an archive of kind 'model'",
        "one of kind 'graph'",
    )


def test_a_member_that_does_not_exist_is_told_with_the_nearest(path):
    write_archive(path, kind="graph", members={"config": {}, "state": {"x": np.zeros(1)}})
    with read_archive(path) as archive:
        with pytest.raises(ArchiveError, match="no member") as caught:
            archive.json("confg")
        assert "config.json" in caught.value.hint
        for read in (archive.state, archive.table, archive.raw):
            with pytest.raises(ArchiveError, match="no member"):
                read("nothing")
        with pytest.raises(ArchiveError, match="holds arrays"):
            archive.json("state")


def test_a_closed_archive_says_so(path):
    write_archive(path, kind="graph", members={"s": {"x": np.zeros(1)}})
    archive = read_archive(path)
    archive.close()
    archive.close()
    for read in (archive.state, lambda name: archive.state(name, mapped=True), archive.json):
        with pytest.raises(ArchiveError, match=r"closed|holds arrays"):
            read("s")


@pytest.mark.parametrize("prepare", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_bytes(b"")])
def test_what_cannot_be_opened_is_an_archive_error(path, prepare):
    prepare(path)
    with pytest.raises(ArchiveError) as caught:
        read_archive(path)
    assert str(path) in caught.value.where


def test_limits_bound_what_is_parsed(path):
    write_archive(path, kind="graph", members={"a": {"x": "y" * 1000}, "b": {}})
    for limits in (ArchiveLimits(max_members=2), ArchiveLimits(max_manifest_bytes=10)):
        with pytest.raises(ArchiveError, match="too"):
            read_archive(path, limits=limits)
    with read_archive(path, limits=ArchiveLimits(max_json_bytes=100)) as archive:
        assert archive.json("b") == {}
        with pytest.raises(ArchiveError, match="too large"):
            archive.json("a")
