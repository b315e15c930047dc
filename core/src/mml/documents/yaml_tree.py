"""YAML text as a plain tree, with the line of everything in it.

Only scalars, lists and mappings with text keys come out. Nothing in the text is ever constructed or called:
tags are refused, and what aliases may expand to is bounded. Scalars mean what YAML 1.2 says, so that ``on``
and ``no`` are words and ``1e-3`` is a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from mml.documents.mistakes import Mistake, Path, document_error

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
MAX_DEPTH = 40

Tree: TypeAlias = Any
Lines: TypeAlias = dict[Path, int]

_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str")}


class DocumentLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2 and no others; used to compose nodes only."""

    # A table of its own: SafeLoader's would turn `on`, `1:30` and `2020-01-01` into other things than text.
    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 -- PyYAML's


for _name, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
):
    DocumentLoader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(_pattern), _first)


@dataclass(frozen=True)
class YamlTree:
    """A parsed text.

    Parameters
    ----------
    tree : dict, list or scalar
    lines : dict of path to int
        The line, from 1, of every value; of its key, where it has one.
    """

    tree: Tree
    lines: Lines


def parse_yaml(text: str | bytes, *, name: str) -> YamlTree:
    """Parse a text.

    Parameters
    ----------
    text : str or bytes
        UTF-8.
    name : str
        What to call it in messages.

    Raises
    ------
    DocumentError
        If it is no YAML, or uses what documents do not allow; with the line.
    """
    if len(text) > MAX_BYTES:
        raise document_error(
            name, [Mistake((), "The document is too long.", expected=f"at most {MAX_BYTES:,} bytes")]
        )
    try:
        content = text.decode("utf-8") if isinstance(text, bytes) else text
        loader = DocumentLoader(content)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except UnicodeDecodeError as cause:
        raise document_error(
            name, [Mistake((), "The document is not UTF-8 text.", found=str(cause))]
        ) from cause
    except yaml.YAMLError as cause:
        raise document_error(name, [_syntax(cause)]) from cause
    except RecursionError as cause:
        raise document_error(name, [_too_deep(None)]) from cause
    reader = _TreeReader()
    tree = None if node is None else reader.read(node, ())
    if reader.mistakes:
        raise document_error(name, reader.mistakes)
    return YamlTree(tree, reader.lines)


def parse_scalar(text: str) -> Tree:
    """Parse a short text, such as the value of an override.

    Raises
    ------
    DocumentError
        If it is no YAML.
    """
    return parse_yaml(text, name="the value").tree


class _TreeReader:
    """Turns composed nodes into a tree, noting lines and mistakes."""

    def __init__(self) -> None:
        self.lines: Lines = {}
        self.mistakes: list[Mistake] = []
        self._left = MAX_VALUES
        self._open: set[int] = set()

    def read(self, node: yaml.Node, path: Path) -> Tree:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._left -= 1
        if self._left == 0:
            self._say(node, path, "The document is too large.", expected=f"at most {MAX_VALUES:,} values")
        if self._left <= 0:
            return None
        if len(path) > MAX_DEPTH or id(node) in self._open:
            self.mistakes.append(_too_deep(self.lines[path]))
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, path, "seq")
                return [self.read(child, (*path, number)) for number, child in enumerate(node.value)]
            self._check_tag(node, path, "map")
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: Path) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _SCALARS:
                self._say(
                    key_node, path, "A key is a word.", found=f"a key of another kind in {_shown(path)}"
                )
                continue
            if key == "<<" and key_node.style is None:
                self._say(key_node, path, "Merge keys are not allowed.", hint="Write the keys out.")
                continue
            where = (*path, key)
            line = key_node.start_mark.line + 1
            if key in found:
                self._say(
                    key_node,
                    where,
                    f"The key {key!r} stands here twice.",
                    found=f"it stands on line {self.lines[where]} already",
                    hint="Keep one of them.",
                )
                continue
            self.lines[where] = line
            found[key] = self.read(value_node, where)
        return found

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Tree:
        text = str(node.value)
        if node.tag not in _SCALARS:
            self._refuse_tag(node, path)
            return None
        kind = node.tag.removeprefix(_TAG)
        try:
            return _VALUES[kind](text)
        except (ValueError, KeyError):
            # Only an explicit tag, such as `!!int x`, promises what the text does not hold.
            self._say(node, path, f"{text[:40]!r} is no {kind}.")
            return None

    def _check_tag(self, node: yaml.Node, path: Path, plain: str) -> None:
        if node.tag != f"{_TAG}{plain}":
            self._refuse_tag(node, path)

    def _refuse_tag(self, node: yaml.Node, path: Path) -> None:
        self._say(
            node,
            path,
            "Tags are not allowed: a document holds plain values only.",
            found=node.tag.replace(_TAG, "!!")[:80],
        )

    def _say(self, node: yaml.Node, path: Path, what: str, **parts: Any) -> None:
        self.mistakes.append(Mistake(path, what, line=node.start_mark.line + 1, **parts))


def _int(text: str) -> int:
    digits = text.lower()
    if len(digits) > 40:
        raise ValueError(text)
    return int(digits, 0) if digits.startswith(("0o", "0x")) else int(digits)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_VALUES: dict[str, Any] = {
    "null": lambda text: None,  # noqa: ARG005 -- all take the text
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": _int,
    "float": _float,
    "str": str,
}


def _syntax(cause: yaml.YAMLError) -> Mistake:
    mark = getattr(cause, "problem_mark", None) or getattr(cause, "context_mark", None)
    problem = getattr(cause, "problem", None) or getattr(cause, "reason", None) or "not readable"
    context = getattr(cause, "context", None)
    return Mistake(
        (),
        "The document is no YAML.",
        line=None if mark is None else mark.line + 1,
        found=f"{problem} {context or ''}".strip()
        + (f", at column {mark.column + 1}" if mark is not None else ""),
        hint="Look for a missing ':' or space, an open quote or bracket, a tab, or uneven indentation.",
    )


def _too_deep(line: int | None) -> Mistake:
    return Mistake(
        (),
        "The document is nested too deeply.",
        line=line,
        expected=f"at most {MAX_DEPTH} levels, and no loops",
    )


def _shown(path: Path) -> str:
    return ".".join(map(str, path)) or "the document"
