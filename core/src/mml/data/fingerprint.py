"""A stable hash of schema and values, and the sample identities that derive from it.

The fingerprint does not depend on chunking, on how a string dictionary is ordered, or on padding bytes; it
depends on every value, on dtypes, shapes, names and their order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import single_chunk, spec_of

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # Python 3.12; only names the argument

_BLOCK_ROWS = 1 << 16


class _Hash(Protocol):
    def update(self, data: Buffer, /) -> None: ...


def fingerprint(table: pa.Table) -> str:
    """Return the SHA-256 of a stored table, as 64 hexadecimal digits.

    Parameters
    ----------
    table : pyarrow.Table
        Columns in the layouts of `mml.data.arrow_columns`.
    """
    digest = hashlib.sha256(f"mml-table-1\n{table.num_rows}\n".encode())
    for name in table.column_names:
        column = table.column(name)
        digest.update(f"\n{len(name)}:{name}\n{_type_name(column.type)}\n".encode())
        _update(digest, column)
    return digest.hexdigest()


def derive_uuids(fingerprint_hex: str, rows: np.ndarray) -> np.ndarray:
    """Return the identities of rows: uint8 of shape ``(k, 16)``, each a UUID of version 8.

    Parameters
    ----------
    fingerprint_hex : str
        The fingerprint of the data.
    rows : numpy.ndarray
        Row numbers, int64 of shape ``(k,)``.

    References
    ----------
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; RFC 9562, 5.8.
    """
    seeds = np.frombuffer(bytes.fromhex(fingerprint_hex), dtype="<u8")
    words = np.empty((len(rows), 2), dtype=">u8")
    steps = rows.astype(np.uint64) + np.uint64(1)
    words[:, 0] = _mix(seeds[0] + steps * np.uint64(0x9E3779B97F4A7C15)) ^ seeds[2]
    words[:, 1] = _mix(seeds[1] + steps * np.uint64(0xD1B54A32D192ED03)) ^ seeds[3]
    words[:, 0] = (words[:, 0] & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x8000)
    words[:, 1] = (words[:, 1] & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    return words.view(np.uint8).reshape(len(rows), 16)


def _mix(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)))


def _type_name(arrow_type: pa.DataType) -> str:
    spec = spec_of(arrow_type)
    if spec is None:
        return str(arrow_type)
    zone = getattr(arrow_type, "tz", None)
    return f"{'string' if spec[0] is None else spec[0].str}{spec[1]}{zone or ''}"


def _update(digest: _Hash, column: pa.ChunkedArray) -> None:
    if pa.types.is_dictionary(column.type):
        _update_strings(digest, single_chunk(column))
        return
    # The validity of all rows goes before their values, so that chunk borders leave no trace.
    if column.null_count:
        digest.update(np.packbits(column.is_valid().to_numpy()).data)
    for chunk in column.chunks:
        flat = chunk.storage.flatten() if isinstance(chunk, pa.ExtensionArray) else chunk
        for start in range(0, len(flat), _BLOCK_ROWS * 16):
            digest.update(_value_bytes(flat.slice(start, _BLOCK_ROWS * 16)))


def _value_bytes(flat: pa.Array) -> Buffer:
    if pa.types.is_temporal(flat.type):
        flat = flat.view(pa.int32() if flat.type.bit_width == 32 else pa.int64())
    if pa.types.is_boolean(flat.type):
        flat = flat.cast(pa.uint8())
    if flat.null_count:
        flat = flat.fill_null(0)
    # As bytes: hashing ignores dtypes, and float16 has no buffer format that hashlib takes.
    return np.ascontiguousarray(flat.to_numpy(zero_copy_only=False)).view(np.uint8).data


def _update_strings(digest: _Hash, array: pa.DictionaryArray) -> None:
    import pyarrow.compute as pc  # here: it takes longer to import than the rest of the floor

    used = np.unique(array.indices.drop_null().to_numpy(zero_copy_only=False))
    words = array.dictionary.take(pa.array(used.astype(np.int64)))
    order = np.asarray(pc.array_sort_indices(words).to_numpy())
    code_of = np.full(len(array.dictionary) + 1, -1, dtype=np.int64)
    sorted_words = words.take(pa.array(order)).to_pylist()
    # Two entries of a dictionary may be the same word; they get one code. A null is no word.
    known = [word for word in dict.fromkeys(sorted_words) if word is not None]
    distinct = {word: code for code, word in enumerate(known)}
    code_of[used[order]] = [distinct.get(word, -1) for word in sorted_words]
    for word in distinct:
        encoded = word.encode()
        digest.update(f"{len(encoded)}:".encode() + encoded)
    codes = array.indices.cast(pa.int64()).fill_null(len(array.dictionary)).to_numpy()
    digest.update(np.ascontiguousarray(code_of[codes]).view(np.uint8).data)
