"""Older formats are read through one step per version; unknown ones are refused."""

from __future__ import annotations

import pytest

from mml.errors import ArchiveError
from mml.files import FORMAT_VERSION, MIGRATIONS, Migration, Migrations, read_archive, write_archive


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "a.mml"
    write_archive(target, kind="graph", members={"config": {"old": 1}, "other": {"old": 2}})
    return target


def _rename(kind, member, tree):
    assert kind == "graph"
    return {"new": tree["old"]} if member == "config.json" else tree


def test_version_one_is_current_and_needs_no_step():
    assert FORMAT_VERSION == 1
    assert MIGRATIONS.checked_version(1) == 1
    assert MIGRATIONS.upgrade_document({"a": 1}, 1, kind="graph", member="config.json") == {"a": 1}


def test_steps_are_taken_in_order(path):
    migrations = Migrations(current=3)
    migrations.register(Migration(2, document=lambda kind, member, tree: {**tree, "steps": 2}))
    migrations.register(
        Migration(1, manifest=lambda raw: {**raw, "plugins": {"from": "1"}}, document=_rename),
    )
    with read_archive(path, migrations=migrations) as archive:
        assert archive.json("config") == {"new": 1, "steps": 2}
        assert archive.json("other") == {"old": 2, "steps": 2}
        assert archive.manifest.plugins == {"from": "1"}
        assert archive.manifest.format_version == 3


def test_a_missing_step_is_told(path):
    migrations = Migrations(current=3)
    migrations.register(Migration(1))
    with pytest.raises(ArchiveError, match="no step leads on from 2"):
        read_archive(path, migrations=migrations)


@pytest.mark.parametrize("version", [0, -1, 2, 3])
def test_steps_from_nowhere_or_beyond_are_refused(version):
    with pytest.raises(ArchiveError, match="cannot be registered"):
        Migrations(current=2).register(Migration(version))


def test_a_second_step_from_one_version_is_refused():
    migrations = Migrations(current=2)
    migrations.register(Migration(1))
    with pytest.raises(ArchiveError, match="cannot be registered"):
        migrations.register(Migration(1))
