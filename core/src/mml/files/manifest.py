"""The manifest: what an archive says of itself, in ``manifest.json``.

It names the format and its version, the kind of thing inside, the versions that wrote it, and the size and
SHA-256 of every member. It is read before anything else and believed only as far as it was checked.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from mml.errors import ArchiveError, listed
from mml.files.migrations import FORMAT_VERSION, MIGRATIONS, Migrations

FORMAT = "mml"
MANIFEST_NAME = "manifest.json"


class ArchiveKind(StrEnum):
    """What an ``.mml`` file holds."""

    FEATURESET = "featureset"
    MODEL = "model"
    GRAPH = "graph"
    EXPERIMENT = "experiment"
    CHECKPOINT = "checkpoint"


class MemberRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size in bytes and SHA-256 (hexadecimal) of one member."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an archive says of itself.

    Attributes
    ----------
    format, format_version : str, int
        ``"mml"``, and the current version: older manifests are migrated when they are read.
    kind : ArchiveKind
    mml : str
        The version of MML that wrote it.
    created : str or None
        When, as the writer's caller says it; None keeps equal contents equal to the byte.
    plugins : dict of str to str
        Names and versions of the plugins whose components are inside.
    members : dict of str to MemberRecord
        Every member but the manifest itself.
    """

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    kind: ArchiveKind
    mml: str
    created: str | None = None
    plugins: dict[str, str]
    members: dict[str, MemberRecord]


def checked_kind(kind: str) -> ArchiveKind:
    """Return the kind of that name.

    Raises
    ------
    ArchiveError
        Listing the kinds there are.
    """
    if kind not in list(ArchiveKind):
        raise ArchiveError(
            "There is no such kind of archive.", expected=listed(map(str, ArchiveKind)), found=repr(kind)
        )
    return ArchiveKind(kind)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as readable JSON, equal bytes for equal manifests."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2)


def decode_manifest(data: bytes, *, migrations: Migrations = MIGRATIONS) -> tuple[Manifest, int]:
    """Read a manifest of any known format version.

    Parameters
    ----------
    data : bytes
    migrations : Migrations, optional
        What brings older versions to the current one.

    Returns
    -------
    manifest : Manifest
        In the current version.
    version : int
        The version that the file was written in.

    Raises
    ------
    ArchiveError
        If it is not a manifest, or of a version or kind that this MML does not know.
    """
    where = {"member": MANIFEST_NAME}
    try:
        raw: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ArchiveError(f"The manifest is not readable: {error}.", where=where) from error
    if raw.get("format") != FORMAT:
        raise ArchiveError(
            "This is not an MML file.",
            where=where,
            expected=f"format {FORMAT!r}",
            found=repr(raw.get("format")),
        )
    version = migrations.checked_version(raw.get("format_version"))
    raw = migrations.upgrade_manifest(raw, version)
    kind = raw.get("kind")
    if isinstance(kind, str):
        checked_kind(kind)
    try:
        return msgspec.convert(raw, Manifest), version
    except msgspec.ValidationError as error:
        raise ArchiveError(f"The manifest is not valid: {error}.", where=where) from error
