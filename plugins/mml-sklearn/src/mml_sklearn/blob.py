"""An estimator as bytes and back, through skops and never through pickle.

skops writes memory addresses, random file names, the clock and uninitialised padding into its archive; here
the archive is rewritten so that equal estimators give equal bytes in every process.
"""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from typing import Any

import numpy as np

from mml.errors import MMLError, StateError, listed
from mml_sklearn.trust import check_structure, trusted_types

_SCHEMA = "schema.json"
_DATE = (1980, 1, 1, 0, 0, 0)
# These have no identity worth keeping: whether two equal ones are one object differs from run to run.
_WITHOUT_IDENTITY = frozenset({"JsonNode", "TypeNode", "FunctionNode"})


def estimator_bytes(estimator: Any) -> bytes:
    """Return an estimator as bytes, equal for equal estimators.

    Raises
    ------
    StateError
        Naming what skops cannot write.
    """
    import skops.io

    try:
        written = skops.io.dumps(estimator)
    except Exception as cause:
        raise StateError(
            f"This {type(estimator).__name__} cannot be saved: {cause}",
            hint="Only estimators of arrays, numbers, texts and other estimators can be; functions and "
            "objects of your own cannot.",
        ) from cause
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        return _canonical(archive)


def estimator_from_bytes(data: bytes, *, like: Any) -> Any:
    """Return the estimator that `estimator_bytes` wrote, checked before anything of it is built.

    Parameters
    ----------
    data : bytes
    like : sklearn estimator
        The estimator at hand; what its user brought along is trusted.

    Raises
    ------
    StateError
        If the bytes are damaged or foreign, or hold a type that is not trusted.
    """
    import skops.io

    _check_archive(data)
    trusted = trusted_types(like)
    try:
        foreign = sorted(set(skops.io.get_untrusted_types(data=data)) - set(trusted))
        if not foreign:
            loaded = skops.io.loads(data, trusted=trusted)
            check_structure(loaded)
            return loaded
    except MMLError:
        raise
    except Exception as cause:
        raise StateError(
            f"The saved estimator is damaged, or was not written by MML: {type(cause).__name__}: {cause}"
        ) from cause
    raise StateError(
        "The saved estimator holds types that are not trusted.",
        expected="types of scikit-learn, NumPy and SciPy, and classes registered by you",
        found=listed(foreign),
        hint="If one is yours, register it: `@mml.plugins.registry('models').register('a_name')`.",
    )


def _check_archive(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [one.filename for one in members]
            # Stored members cannot grow, so the size of the data bounds what is read.
            stored = all(one.compress_type == zipfile.ZIP_STORED for one in members)
            fits = sum(one.file_size for one in members) <= len(data)
            sound = len(set(names)) == len(names) and _SCHEMA in names and archive.testzip() is None
    except Exception as cause:
        raise StateError(f"The saved estimator is damaged, or is none: {cause}") from cause
    if not (stored and fits and sound):
        raise StateError("The saved estimator is damaged: its archive is not as MML writes it.")


def _canonical(archive: zipfile.ZipFile) -> bytes:
    schema = json.loads(archive.read(_SCHEMA))
    writer = _Canonical()
    writer.visit(schema)
    members = {_SCHEMA: json.dumps(schema, separators=(",", ":")).encode()}
    for old, new in writer.files.items():
        members[new] = _without_padding(archive.read(old)) if new.endswith(".npy") else archive.read(old)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as out:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, date_time=_DATE)
            entry.create_system = 3  # the same on every platform
            out.writestr(entry, content)
    return buffer.getvalue()


class _Canonical:
    """One pass over a skops schema that renames by order of appearance, in place."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self._identities: dict[int, int] = {}
        self._numbers = itertools.count(1)

    def visit(self, node: Any) -> None:
        """Rewrite a node and everything below it."""
        if isinstance(node, list):
            for one in node:
                self.visit(one)
        elif isinstance(node, dict):
            self._visit_node(node)

    def _visit_node(self, node: dict[str, Any]) -> None:
        loader = node.get("__loader__")
        # Among a dictionary's own keys every value is a node, so text here means that this is a node itself.
        if isinstance(loader, str):
            self._rename(node, loader)
        for child in node.values():
            self.visit(child)

    def _rename(self, node: dict[str, Any], loader: str) -> None:
        if loader == "ObjectNode":
            _sort_attributes(node.get("content"))
        elif loader == "SetNode":
            node["content"].sort(key=_text)
        identity = node.pop("__id__", None)
        if identity is not None and loader not in _WITHOUT_IDENTITY:
            node["__id__"] = self._identities.setdefault(identity, len(self._identities) + 1)
        if "file" in node:
            node["file"] = self._renamed(node["file"])

    def _renamed(self, file: str) -> str:
        if file not in self.files:
            self.files[file] = f"{next(self._numbers)}.{file.rpartition('.')[2]}"
        return self.files[file]


def _sort_attributes(content: Any) -> None:
    """Put an object's attributes in the order of their names: the order of assignment is no value."""
    if not isinstance(content, dict) or content.get("__loader__") != "DictNode":
        return
    attributes = content["content"]
    kinds = content["key_types"]["content"]
    order = (
        sorted(range(len(kinds)), key=list(attributes).__getitem__) if len(kinds) == len(attributes) else []
    )
    if order:
        names = list(attributes)
        content["content"] = {names[index]: attributes[names[index]] for index in order}
        content["key_types"]["content"] = [kinds[index] for index in order]


def _text(node: Any) -> str:
    if isinstance(node, dict):
        return json.dumps({key: one for key, one in node.items() if key != "__id__"}, sort_keys=True)
    return json.dumps(node)


def _without_padding(data: bytes) -> bytes:
    """Return an ``.npy`` file with zeros where a structured array has no field, or a field of no meaning."""
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.names is None:
        return data
    clean = np.zeros(array.shape, dtype=array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    if {"left_child", "missing_go_to_left"} <= set(array.dtype.names):
        # Leaves of a tree never set it, so it is what lay in memory.
        clean["missing_go_to_left"][clean["left_child"] == -1] = 0
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()
