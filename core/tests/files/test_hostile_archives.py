"""Archives are hostile until proven otherwise: each attack is refused with the member and offset named."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import warnings
import zipfile

import numpy as np
import pytest

from mml.errors import ArchiveError
from mml.files import read_archive, write_archive


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.mml"


def _manifest(members, /, **changes):
    records = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in members.items()
    }
    return {
        "format": "mml",
        "format_version": 1,
        "kind": "graph",
        "mml": "0",
        "created": None,
        "plugins": {},
        "members": records,
        **changes,
    }


def _zip(members, manifest, *, compression=zipfile.ZIP_STORED, extra=()):
    """An archive written by the standard library, with a manifest of our choice."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # the library warns of duplicate names
        for name, data in [*members.items(), *extra]:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
        if manifest is not None:
            text = manifest if isinstance(manifest, bytes) else json.dumps(manifest)
            archive.writestr("manifest.json", text)
    return buffer.getvalue()


def _refusal(path, data):
    path.write_bytes(data)
    with pytest.raises(ArchiveError) as caught, read_archive(path) as archive:
        archive.verify()
    assert str(path) in caught.value.where
    return str(caught.value)


_PLAIN = {"config.json": b'{"a":1}', "x.bin": b"0123456789"}


def test_a_plain_zip_of_another_tool_with_a_right_manifest_is_read(path):
    path.write_bytes(_zip(_PLAIN, _manifest(_PLAIN)))
    with read_archive(path) as archive:
        archive.verify()
        assert archive.json("config") == {"a": 1}


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "a/../../evil", "C:\\evil", "a\\b", "./x", "folder/", "a//b", "new\nline"],
)
def test_path_traversal_and_absolute_names(path, name):
    members = {name: b"x"}
    assert "not safe" in _refusal(path, _zip(members, _manifest(members)))


def test_duplicate_members(path):
    message = _refusal(path, _zip(_PLAIN, _manifest(_PLAIN), extra=[("x.bin", b"other")]))
    assert "'x.bin' stands twice" in message
    assert "offset" in message


def test_two_manifests(path):
    text = json.dumps(_manifest(_PLAIN))
    assert "'manifest.json' stands twice" in _refusal(
        path, _zip(_PLAIN, text.encode(), extra=[("manifest.json", text)])
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members(path, compression):
    members = {"bomb.bin": bytes(10_000_000)}
    message = _refusal(path, _zip(members, _manifest(members), compression=compression))
    assert "'bomb.bin' is compressed" in message


def test_members_that_the_manifest_does_not_name(path):
    assert "'extra' is not in the manifest" in _refusal(
        path, _zip(_PLAIN, _manifest(_PLAIN), extra=[("extra", b"")])
    )


def test_members_that_only_the_manifest_names(path):
    manifest = _manifest({**_PLAIN, "gone.bin": b"x"})
    assert "'gone.bin' is missing" in _refusal(path, _zip(_PLAIN, manifest))


def test_wrong_sizes_and_wrong_checksums(path):
    manifest = _manifest(_PLAIN)
    manifest["members"]["x.bin"]["size"] = 11
    assert "'x.bin' has the wrong size" in _refusal(path, _zip(_PLAIN, manifest))
    manifest = _manifest({**_PLAIN, "x.bin": b"9876543210"})
    message = _refusal(path, _zip(_PLAIN, manifest))
    assert "'x.bin' is damaged" in message
    assert "offset" in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "not an MML file"),
        ({"format": None}, "not an MML file"),
        ({"format_version": 2}, "newer MML"),
        ({"format_version": 10**30}, "newer MML"),
        ({"format_version": 0}, "version is unknown"),
        ({"format_version": -1}, "version is unknown"),
        ({"format_version": "1"}, "version is unknown"),
        ({"format_version": True}, "version is unknown"),
        ({"format_version": 1.0}, "version is unknown"),
        ({"format_version": None}, "version is unknown"),
        ({"kind": "picture"}, "no such kind"),
        ({"kind": 3}, "not valid"),
        ({"members": []}, "not valid"),
        ({"members": {"x.bin": {}}}, "not valid"),
        ({"members": {"x.bin": {"size": "1", "sha256": ""}}}, "not valid"),
        ({"plugins": {"a": 1}}, "not valid"),
        ({"unknown": 1}, "not valid"),
    ],
)
def test_manifests_that_are_not_right(path, changes, words):
    assert words in _refusal(path, _zip(_PLAIN, _manifest(_PLAIN, **changes)))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}'])
def test_manifests_that_are_no_json_object(path, text):
    assert "manifest" in _refusal(path, _zip(_PLAIN, text))


def test_no_manifest(path):
    assert "no manifest" in _refusal(path, _zip(_PLAIN, None))


@pytest.mark.parametrize(
    "data", [b"", b"x", b"PK\x03\x04", b"not a zip at all" * 10, bytes(1000), b"\x80\x04K\x01."]
)
def test_what_is_no_archive(path, data):
    assert "offset" in _refusal(path, data)


@pytest.mark.parametrize(
    "spoil", [lambda d: b"prefix" + d, lambda d: d + b"suffix", lambda d: d + d, lambda d: d[1:]]
)
def test_hidden_bytes_around_the_archive(path, spoil):
    assert "offset" in _refusal(path, spoil(_zip(_PLAIN, _manifest(_PLAIN))))


def test_an_archive_comment(path):
    buffer = io.BytesIO(_zip(_PLAIN, _manifest(_PLAIN)))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"PK\x05\x06" + bytes(18)
    assert "offset" in _refusal(path, buffer.getvalue())


def _central(data, name):
    """Where the directory describes the member."""
    return data.index(b"PK\x01\x02", data.rindex(name) - 60) if data.rindex(name) > 60 else -1


@pytest.mark.parametrize(
    ("field", "code", "value"),
    [
        (8, "<H", 1),  # encrypted
        (8, "<H", 8),  # streamed
        (10, "<H", 8),  # compressed, says the directory alone
        (16, "<I", 7),  # another CRC than the header's
        (20, "<I", 1 << 31),  # packed size
        (24, "<I", 1 << 31),  # size
        (24, "<I", 0xFFFFFFFF),  # a 64-bit size that is not there
        (28, "<H", 60_000),  # name beyond the directory
        (32, "<H", 5),  # comment
        (34, "<H", 1),  # another disk
        (42, "<I", 0),  # overlaps the first member
        (42, "<I", 0xFFFFFFF0),  # outside
    ],
)
def test_directories_that_contradict_the_file(path, field, code, value):
    data = bytearray(_zip(_PLAIN, _manifest(_PLAIN)))
    place = _central(data, b"x.bin")
    struct.pack_into(code, data, place + field, value)
    assert "offset" in _refusal(path, data)


def test_bytes_hidden_before_the_directory(path):
    data = _zip(_PLAIN, _manifest(_PLAIN))
    (start,) = struct.unpack_from("<I", data, len(data) - 6)
    end = bytearray(data[start:])
    struct.pack_into("<I", end, len(end) - 6, start + 6)
    message = _refusal(path, data[:start] + b"hidden" + end)
    assert f"belong to no member.\n  where: file '{path}', offset {start}" in message


def test_declared_sizes_beyond_the_file(path):
    data = bytearray(_zip(_PLAIN, _manifest(_PLAIN)))
    for place, field in ((_central(data, b"x.bin"), 20), (data.index(b"x.bin") - 30, 18)):
        struct.pack_into("<2I", data, place + field, 1 << 30, 1 << 30)
    message = _refusal(path, data)
    assert "larger than the file" in message
    assert "'x.bin'" in message


def test_a_huge_member_count_is_refused_without_reading_it(path):
    data = bytearray(_zip(_PLAIN, _manifest(_PLAIN)))
    struct.pack_into("<2H", data, len(data) - 14, 60_000, 60_000)
    assert "offset" in _refusal(path, data)


def test_names_that_are_not_text(path):
    data = _zip({"name.bin": b"x"}, _manifest({"name.bin": b"x"})).replace(b"name.bin", b"n\xffme.bin")
    assert "offset" in _refusal(path, data)


def test_states_whose_parts_do_not_fit(path):
    write_archive(path, kind="graph", members={"s": {"x": np.zeros(2)}})
    with zipfile.ZipFile(path) as plain:
        tensors = plain.read("s.safetensors")
    for text in (
        b'{"x":{"$array":"/y"}}',
        b"{}",
        b'{"x":{"$what":1}}',
        b"\xff",
        b"{",
        b'{"x":NaN}',
        b"1" * 5000,
    ):
        members = {"s.json": text, "s.safetensors": tensors}
        path.write_bytes(_zip(members, _manifest(members)))
        with read_archive(path) as archive, pytest.raises(ArchiveError) as caught:
            archive.state("s")
        assert "'s.json'" in str(caught.value)


def test_codecs_name_the_member(path):
    members = {"s.json": b"{}", "s.safetensors": b"nonsense", "t.arrow": b"nonsense"}
    path.write_bytes(_zip(members, _manifest(members)))
    with read_archive(path) as archive:
        for read, name in ((archive.state, "s.safetensors"), (archive.table, "t.arrow")):
            with pytest.raises(ArchiveError) as caught:
                read(name[0])
            assert repr(name) in str(caught.value)
            assert "offset" in str(caught.value)


def test_a_deeply_nested_document_is_refused(path):
    members = {"s.json": b'{"a":' * 500 + b"1" + b"}" * 500, "t.json": b"[" * 100_000 + b"]" * 100_000}
    path.write_bytes(_zip(members, _manifest(members)))
    with read_archive(path) as archive:
        for name in ("s", "t"):
            with pytest.raises(ArchiveError, match=r"deeper|JSON"):
                archive.json(name)
