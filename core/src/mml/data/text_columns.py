"""Text as MML stores it: strings in a dictionary behind int32 codes, whatever it came as.

Dictionaries of other tools differ in the width of their codes and the type of their words, may have an order
and nulls among the words. One form is stored, so that equal texts are equal FeatureSets and survive a file;
codes of int32 stay where they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import STRING_TYPE
from mml.data.schema import ColumnName
from mml.errors import DataError


def text_of_items(items: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    """Return Python strings, None for missing ones, as they are stored."""
    try:
        return stored_text(pa.array(items, pa.string()).dictionary_encode())
    except UnicodeEncodeError as cause:
        row = next(row for row, item in enumerate(items) if not is_unicode(item))
        raise DataError(
            f"{name.key!r} holds a text in row {row} that cannot be written as UTF-8.",
            where={"column": str(name), "row": row},
            found=ascii(items[row]),
            hint="Decode the bytes that it came from with their own encoding.",
        ) from cause


def stored_text(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return dictionaries of text, of any type and order, as they are stored."""
    if isinstance(values, pa.Array):
        return _stored_chunk(values)
    return pa.chunked_array([_stored_chunk(chunk) for chunk in values.chunks], STRING_TYPE)


def is_unicode(item: object) -> bool:
    """Return whether something is no text, or a text that UTF-8 holds; halves of surrogate pairs are none."""
    if not isinstance(item, str):
        return True
    try:
        item.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stored_chunk(chunk: pa.DictionaryArray) -> pa.DictionaryArray:
    codes, words = chunk.indices, chunk.dictionary
    if words.null_count:
        codes, words = _without_null_words(codes, words)
    elif chunk.type == STRING_TYPE:
        return chunk
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), words.cast(pa.string()))


def _without_null_words(codes: pa.Array, words: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return codes that are null themselves where they stood for a null."""
    known = words.is_valid().to_numpy(zero_copy_only=False)
    place = np.cumsum(known, dtype=np.int32) - np.int32(1)
    # A code that is null already points at a null, of which there is one at least.
    held = codes.fill_null(int(np.argmin(known))).to_numpy()
    return pa.array(place[held], mask=~known[held]), words.drop_null()
