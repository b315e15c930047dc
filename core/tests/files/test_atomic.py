"""A file is written completely or not at all, whatever happens to the writer."""

from __future__ import annotations

import errno
import os
import stat
import sys

import pytest

from mml.files import atomic_write


def _names(folder):
    return sorted(os.listdir(folder))


def test_new_content_replaces_the_old_and_nothing_else_remains(tmp_path):
    path = tmp_path / "a.bin"
    for content in (b"first", b"second, longer", b""):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert _names(tmp_path) == ["a.bin"]


def test_the_old_file_is_whole_while_the_new_one_is_written(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def _write_then_fail(file, error):
    file.write(b"half")
    raise error


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_an_error_in_the_block_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), atomic_write(path) as file:
        _write_then_fail(file, error)
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_sync_or_rename_leaves_the_old_file_alone(tmp_path, monkeypatch, call):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*_args):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="broken"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert _names(tmp_path) == ["a.bin"]


def test_the_data_are_synced_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    is_folder = lambda descriptor: stat.S_ISDIR(os.fstat(descriptor).st_mode)
    monkeypatch.setattr(
        os, "fsync", lambda d: (events.append("folder" if is_folder(d) else "file"), fsync(d))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), replace(a, b)))
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"x" * 10)
    assert events == ["file", "rename", "folder"]


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "no" / "a.bin"):
        pass


def test_a_folder_in_the_way_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path):
        pytest.fail("the block must not start")
    assert _names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="permission bits and links as POSIX has them")
def test_permissions_and_links_are_kept(tmp_path):
    path, link = tmp_path / "a.bin", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    with atomic_write(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="there is no umask")
def test_a_new_file_has_the_permissions_that_open_gives(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"x")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_a_killed_writer_left_is_removed_and_a_live_one_is_not(tmp_path):
    path = tmp_path / "a.bin"
    abandoned, foreign = tmp_path / ".a.bin.0123456789ab.tmp", tmp_path / ".b.bin.0123456789ab.tmp"
    abandoned.write_bytes(b"half")
    foreign.write_bytes(b"of another file")
    with atomic_write(path) as outer:
        outer.write(b"outer")
        with atomic_write(path) as inner:
            inner.write(b"inner")
        assert path.read_bytes() == b"inner"
    assert path.read_bytes() == b"outer"
    assert _names(tmp_path) == [foreign.name, "a.bin"]
