"""The files floor: ``.mml`` archives, states, tensors and tables; it knows no component."""

from mml.files.archive import Archive, ArchiveLimits, read_archive
from mml.files.archive_writer import write_archive
from mml.files.atomic import atomic_write
from mml.files.manifest import ArchiveKind, Manifest, MemberRecord
from mml.files.migrations import FORMAT_VERSION, MIGRATIONS, Migration, Migrations
from mml.files.sources import class_source, collect_sources
from mml.files.state_codec import flatten_state, state_digest, unflatten_state
from mml.files.tables import load_table, save_table
from mml.files.tensors import load_tensors, save_tensors

__all__ = [
    "FORMAT_VERSION",
    "MIGRATIONS",
    "Archive",
    "ArchiveKind",
    "ArchiveLimits",
    "Manifest",
    "MemberRecord",
    "Migration",
    "Migrations",
    "atomic_write",
    "class_source",
    "collect_sources",
    "flatten_state",
    "load_table",
    "load_tensors",
    "read_archive",
    "save_table",
    "save_tensors",
    "state_digest",
    "unflatten_state",
    "write_archive",
]
