"""Cut, flipped, killed, full: damage is told as an ArchiveError, and the previous file stays."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pyarrow as pa
import pytest

from mml.errors import ArchiveError
from mml.files import read_archive, write_archive

from .states import same_bits

_STATE = {
    "w": np.arange(300, dtype=np.float32),
    "b": {"flag": np.array([True, False])},
    "nan": float("nan"),
    "n": [1, 2],
}
_TABLE = pa.table({"x": np.arange(50), "s": [f"row {i}" for i in range(50)]})


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "a.mml"
    write_archive(
        target, kind="checkpoint", members={"s": _STATE, "t": _TABLE}, sources={"m.C": "class C: ..."}
    )
    return target


def _is_whole(path):
    """Read everything; True if it is what was written. Only an ArchiveError may escape."""
    with read_archive(path, kind="checkpoint") as archive:
        archive.verify()
        return (
            same_bits(archive.state("s"), _STATE)
            and same_bits(archive.state("s", mapped=True), _STATE)
            and archive.table("t").equals(_TABLE)
            and archive.sources() == {"m.C": "class C: ..."}
            and archive.names() == ["s.json", "s.safetensors", "sources/m.C.py", "t.arrow"]
        )


def test_the_undamaged_archive_is_whole(path):
    assert _is_whole(path)


def test_a_file_cut_anywhere_is_refused_with_the_offset(path):
    whole = path.read_bytes()
    lengths = [*range(0, len(whole), 97), *range(len(whole) - 120, len(whole))]
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(ArchiveError) as caught:
            read_archive(path)
        assert "offset" in caught.value.where


def test_a_single_flipped_bit_anywhere_is_detected_or_harmless(path):
    whole = bytearray(path.read_bytes())
    harmless = []
    for place in range(len(whole)):
        bit = 1 << (place * 7 % 8)
        whole[place] ^= bit
        path.write_bytes(whole)
        whole[place] ^= bit
        try:
            assert _is_whole(path), f"wrong contents after a flip at {place}"
        except ArchiveError:
            continue
        harmless.append(place)
    # Harmless are dates, versions and padding between the members, never a byte inside one.
    inside = {place for start, end in _data_ranges(path, whole) for place in range(start, end)}
    assert len(inside) > 2000
    assert inside.isdisjoint(harmless)


def _data_ranges(path, whole):
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as plain:
        for info in plain.infolist():
            name_and_extra = struct.unpack_from("<2H", whole, info.header_offset + 26)
            start = info.header_offset + 30 + sum(name_and_extra)
            yield start, start + info.file_size


def test_every_flipped_byte_of_every_member_is_detected_before_use(path):
    whole = bytearray(path.read_bytes())
    with read_archive(path) as archive:
        reads = {
            "s.safetensors": [lambda a: a.state("s"), lambda a: a.state("s", mapped=True)],
            "s.json": [lambda a: a.state("s"), lambda a: a.raw("s.json")],
            "t.arrow": [lambda a: a.table("t")],
            "sources/m.C.py": [lambda a: a.sources()],
        }
        data = {name: archive.raw(name) for name in archive.names()}
    for name, how in reads.items():
        start = whole.index(data[name])
        for place in range(start, start + len(data[name]), 13):
            whole[place] ^= 0x10
            path.write_bytes(whole)
            whole[place] ^= 0x10
            for read in how:
                with read_archive(path) as archive, pytest.raises(ArchiveError, match="damaged") as caught:
                    read(archive)
                assert repr(name) in str(caught.value)
                assert f"offset {start}" in str(caught.value)


def test_random_damage_never_escapes_as_another_error(path):
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        start = int(random.integers(len(data)))
        length = int(random.integers(1, 40))
        data[start : start + length] = random.bytes(int(random.integers(0, 40)))
        path.write_bytes(data)
        try:
            assert _is_whole(path)
        except ArchiveError:
            refused += 1
    assert refused > 300


class _FullDisk:
    """A disk that takes ``room`` more bytes, put in the place of the raw writes of all files."""

    def __init__(self, monkeypatch, room):
        self.room = room
        real = os.fdopen

        def fdopen(descriptor, mode):
            file = real(descriptor, mode)
            disk = self

            class File:
                def write(self, data):
                    disk.room -= len(data)
                    if disk.room < 0:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    return file.write(data)

                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    file.close()

                def __getattr__(self, name):
                    return getattr(file, name)

            return File()

        monkeypatch.setattr(os, "fdopen", fdopen)


@pytest.mark.parametrize("room", [0, 10, 100, 500, 1000, 1500, 2500, 4000, 5000])
def test_a_full_disk_leaves_the_previous_archive_and_nothing_else(path, monkeypatch, room):
    new = {"s": {"w": np.zeros(2000, np.float32)}, "t": _TABLE}
    with monkeypatch.context() as patch:
        _FullDisk(patch, room)
        with pytest.raises(ArchiveError, match="No space left") as caught:
            write_archive(path, kind="checkpoint", members=new)
    assert isinstance(caught.value.__cause__, OSError)
    assert str(path) in caught.value.where
    assert _is_whole(path)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_file_size_limit_of_the_system_leaves_the_previous_archive(path):
    code = (
        "import resource, signal, sys\n"
        "import numpy as np\n"
        "from mml.errors import ArchiveError\n"
        "from mml.files import write_archive\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))\n"
        "try:\n"
        "    write_archive(sys.argv[1], kind='checkpoint', members={'s': {'x': np.zeros(3_000_000)}})\n"
        "except ArchiveError as error:\n"
        "    print('refused', type(error.__cause__).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "OSError"]
    assert _is_whole(path)
    assert os.listdir(path.parent) == [path.name]


_WRITER = """
import sys
import numpy as np
from mml.files import write_archive
for number in range(1, 1_000_000):
    state = {"number": number, "x": np.full(300_000, number, dtype=np.float32)}
    write_archive(sys.argv[1], kind="checkpoint", members={"s": state})
    print(number, flush=True)
"""


def test_kill_at_random_points_leaves_a_loadable_archive(tmp_path):
    path = tmp_path / "a.mml"
    random = np.random.default_rng(7)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            first = int(writer.stdout.readline())
            time.sleep(float(random.uniform(0, 0.08)))
            writer.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
            last = [first, *map(int, writer.stdout.read().split())][-1]
        with read_archive(path) as archive:
            archive.verify()
            state = archive.state("s")
        # The last one that the writer reported, or the one that it had just renamed.
        assert state["number"] in (last, last + 1)
        assert (state["x"] == state["number"]).all()
    write_archive(path, kind="checkpoint", members={"s": {"number": 0}})
    assert os.listdir(tmp_path) == ["a.mml"]
