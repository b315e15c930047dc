"""A FeatureSet as a ``.mml`` file: config and state as documents, the raw columns as a mapped Arrow table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mml.data.collection import SampleCollection
from mml.data.contents import Contents
from mml.data.source import ColumnSource
from mml.errors import ArchiveError, ConfigError, MMLError
from mml.files import Archive, ArchiveKind, read_archive, write_archive
from mml.plugins import get_manager
from mml.protocols import Config


def save(path: str | os.PathLike[str], *, config: Config, contents: Contents) -> None:
    """Write a FeatureSet completely or not at all."""
    _require_path(path)
    members = archive_members(config, contents)
    write_archive(path, kind=ArchiveKind.FEATURESET, members=members, plugins=_plugins(config))


def archive_members(config: Config, contents: Contents, *, prefix: str = "") -> dict[str, Any]:
    """Return the members that make up a FeatureSet in an archive, each name behind a prefix."""
    return {
        f"{prefix}config": config,
        f"{prefix}state": contents.get_state(),
        f"{prefix}data": contents.source.collection.to_table(),
    }


def load(path: str | os.PathLike[str]) -> tuple[Config, Contents]:
    """Read what `save` wrote: config and contents, the table mapped and nothing fitted again.

    Raises
    ------
    ArchiveError
        If the file is damaged, of another kind, or its table does not have the columns of its config.
    """
    _require_path(path)
    with read_archive(path, kind=ArchiveKind.FEATURESET) as archive:
        return from_archive(archive, path=path)


def from_archive(
    archive: Archive, *, path: str | os.PathLike[str], prefix: str = ""
) -> tuple[Config, Contents]:
    """Read one FeatureSet out of an open archive; errors as of `load`."""
    config = archive.json(f"{prefix}config")
    state, table = archive.state(f"{prefix}state"), archive.table(f"{prefix}data")
    try:
        declared = Contents.from_config(config)
        collection = SampleCollection.from_table(table, unique=False, allow_empty=True)
        if collection.schema != declared.source.collection.schema:
            raise ConfigError(
                "The table has other columns than the config.",
                expected=repr(declared.source.collection.schema),
                found=repr(collection.schema),
            )
        full = replace(declared, source=ColumnSource(collection, declared.source.transforms))
        return config, full.with_state(state)
    except MMLError as error:
        raise ArchiveError(
            f"The file holds no FeatureSet: {error}", where={"file": os.fspath(path)}
        ) from error


def _require_path(path: object) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise ArchiveError("A file is named by its path.", expected="a string or a path", found=repr(path))


def _plugins(config: Config) -> Mapping[str, str]:
    """Return names and versions of the plugins whose components the config names."""
    names = {one["scaler"]["scaler"] for one in config["scalers"]}
    names |= {one["splitter"]["splitter"] for one in config["splitters"] if one["splitter"] is not None}
    used = _prefixes(names)
    return {one.name: one.version for one in get_manager().plugins if one.name in used}


def _prefixes(names: Iterable[str]) -> set[str]:
    return {name.partition("/")[0] for name in names if "/" in name}
