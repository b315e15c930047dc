"""How files of older format versions are read: one step from each version to the next.

A step rewrites the manifest and the JSON documents of an archive in memory; tensors and tables keep their
formats. Files are never changed, and versions that no step leads up from are refused, newer ones by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from mml.errors import ArchiveError

FORMAT_VERSION = 1
"""The version that this MML writes."""

ManifestStep: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
DocumentStep: TypeAlias = Callable[[str, str, Any], Any]


@dataclass(frozen=True)
class Migration:
    """One step, from ``from_version`` to the next.

    Attributes
    ----------
    from_version : int
    manifest : callable, optional
        ``manifest(raw) -> raw``: the manifest as plain JSON, without a change of members.
    document : callable, optional
        ``document(kind, member, tree) -> tree``: one JSON member of an archive of that kind.
    """

    from_version: int
    manifest: ManifestStep | None = None
    document: DocumentStep | None = None


class Migrations:
    """The chain of steps up to the ``current`` format version.

    Parameters
    ----------
    current : int
        The version that is written, and the newest that is read.
    """

    def __init__(self, *, current: int = FORMAT_VERSION) -> None:
        self.current = current
        self._steps: dict[int, Migration] = {}

    def register(self, migration: Migration) -> None:
        """Add a step.

        Raises
        ------
        ArchiveError
            If there is a step from that version already, or it leads beyond the current one.
        """
        version = migration.from_version
        if version in self._steps or not 1 <= version < self.current:
            raise ArchiveError(
                f"A migration from format version {version} cannot be registered.",
                expected=f"one for each of the versions 1 to {self.current - 1}",
            )
        self._steps[version] = migration

    def checked_version(self, version: object) -> int:
        """Return a file's version if it can be read.

        Raises
        ------
        ArchiveError
            If it is newer than this MML, or none that there ever was, or no steps lead up from it.
        """
        if type(version) is not int or version < 1:
            raise ArchiveError(
                "The file's format version is unknown.",
                expected=f"1 to {self.current}",
                found=repr(version),
            )
        if version > self.current:
            raise ArchiveError(
                "The file was written by a newer MML.",
                expected=f"format version 1 to {self.current}",
                found=f"format version {version}",
                hint="Upgrade: pip install --upgrade mml",
            )
        for step in range(version, self.current):
            if step not in self._steps:
                raise ArchiveError(
                    f"Format version {version} can no longer be read: no step leads on from {step}."
                )
        return version

    def upgrade_manifest(self, raw: dict[str, Any], version: int) -> dict[str, Any]:
        """Return a manifest of ``version`` as one of the current version."""
        for step in range(version, self.current):
            if (change := self._steps[step].manifest) is not None:
                raw = change(raw)
        return {**raw, "format_version": self.current}

    def upgrade_document(self, tree: Any, version: int, *, kind: str, member: str) -> Any:
        """Return a JSON member of an archive of ``version`` as the current version has it."""
        for step in range(version, self.current):
            if (change := self._steps[step].document) is not None:
                tree = change(kind, member, tree)
        return tree


MIGRATIONS = Migrations()
"""The steps that :func:`mml.files.read_archive` takes."""
