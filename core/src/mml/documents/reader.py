"""From a plain tree to the structures of the format, collecting every mistake on the way.

A part that is wrong is left out and reading goes on, so that all mistakes are told together. Component names
are looked up, and never imported unless imports are allowed; names of other parts are looked up in the tree.
"""

from __future__ import annotations

import types
from dataclasses import replace
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from mml.documents.format import SETTINGS, DocumentSpec
from mml.documents.hints import (
    expected_text,
    hints_of,
    inside,
    is_misspelt,
    misfit,
    named,
    purpose,
    takes,
    told,
    unmarked,
    without_limits,
)
from mml.documents.mistakes import Mistake, Path
from mml.documents.names import defined_names
from mml.documents.parts import ComponentOf, ComponentUse, NameOf, OneOf
from mml.errors import MMLError, did_you_mean
from mml.plugins import registry
from mml.registry import noun

INVALID: Any = object()


class Reader:
    """Reads one tree.

    Parameters
    ----------
    tree : dict, list or scalar
    allow_imports : bool
        Whether components may be given as Python paths.

    Attributes
    ----------
    mistakes : list of Mistake
        Filled by `read`.
    components : list of ComponentUse
        Every component that the document uses, filled by `read`.
    """

    def __init__(self, tree: Any, *, allow_imports: bool = False) -> None:
        self.mistakes: list[Mistake] = []
        self.components: list[ComponentUse] = []
        self._tree = tree
        self._allow_imports = allow_imports
        self._names = defined_names(tree)

    def read(self) -> DocumentSpec | None:
        """Return the document, or None where there are mistakes."""
        found = self._read(self._tree, DocumentSpec, ())
        for label in sorted(defined_names(self._tree)["clashes"] or ()):
            self._say(
                ("graph", "nodes", label), f"A node and data are both called {label!r}.", hint="Rename one."
            )
        return None if self.mistakes else found

    def _say(self, path: Path, what: str, **parts: Any) -> Any:
        self.mistakes.append(Mistake(path, what, **parts))
        return INVALID

    def _read(self, value: Any, hint: Any, path: Path) -> Any:  # noqa: PLR0911 -- one line a kind of hint
        hint, mark = unmarked(hint)
        if isinstance(mark, OneOf):
            return self._form(value, mark, path)
        if isinstance(mark, ComponentOf):
            return self._component(value, mark, path)
        if isinstance(mark, NameOf):
            return self._name(value, mark, path)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self._struct(value, hint, path)
        if get_origin(hint) in (Union, types.UnionType):
            return self._union(value, hint, path)
        inner, meta = without_limits(hint)
        if get_origin(inner) is list:
            return self._list(value, get_args(inner)[0], meta, path)
        if get_origin(inner) is dict:
            return self._dict(value, get_args(inner)[1], path)
        return self._leaf(value, hint, path)

    # --- containers ------------------------------------------------------------------------------------

    def _struct(self, value: Any, cls: type[msgspec.Struct], path: Path) -> Any:
        if not isinstance(value, dict):
            keys = ", ".join(repr(one.encode_name) for one in msgspec.structs.fields(cls) if one.required)
            return self._say(
                path, "Keys and values are expected here.", expected=f"keys such as {keys}", found=told(value)
            )
        fields = {one.encode_name: one for one in msgspec.structs.fields(cls)}
        before = len(self.mistakes)
        for key in value:
            if key not in fields:
                self._say((*path, key), f"There is no key {key!r} here.", hint=did_you_mean(str(key), fields))
        read: dict[str, Any] = {}
        for key, one in fields.items():
            if key in value:
                read[one.name] = self._read(value[key], hints_of(cls)[one.name], (*path, key))
            elif one.required:
                near = [other for other in value if other not in fields]
                # A misspelt key was told already; that it is missing says nothing new.
                if not is_misspelt(key, near):
                    self._say(
                        path,
                        f"The key {key!r} is missing{inside(path)}.",
                        hint=_only_choice(key, hints_of(cls)[one.name]) or purpose(cls),
                    )
        if len(self.mistakes) > before or any(one is INVALID for one in read.values()):
            return INVALID
        made = cls(**read)
        for what, hint in made.problems():  # type: ignore[attr-defined]  # every struct of the format is a Section
            self._say(path, what, hint=hint)
        return made

    def _form(self, value: Any, mark: OneOf, path: Path) -> Any:
        keys = [key for key in mark.forms if isinstance(value, dict) and key in value]
        if len(keys) == 1:
            return self._struct(value, mark.forms[keys[0]], path)
        expected = "one of the keys " + ", ".join(map(repr, mark.forms))
        if not isinstance(value, dict):
            return self._say(path, "Keys and values are expected here.", expected=expected, found=told(value))
        if keys:
            return self._say(
                path, f"The keys {' and '.join(map(repr, keys))} exclude each other.", hint="Keep one."
            )
        return self._say(
            path,
            f"It is not said what this is{inside(path)}.",
            expected=expected,
            found=f"keys {list(value)}",
        )

    def _list(self, value: Any, item: Any, meta: msgspec.Meta | None, path: Path) -> Any:
        if not isinstance(value, list):
            return self._say(
                path,
                "A list is expected here.",
                expected="`[a, b]`, or lines that begin with '- '",
                found=told(value),
            )
        least = (meta.min_length or 0) if meta is not None else 0
        if len(value) < least:
            return self._say(
                path,
                f"At least {least} {'entry is' if least == 1 else 'entries are'} needed here.",
                found=f"{len(value)}",
            )
        read = [self._read(one, item, (*path, number)) for number, one in enumerate(value)]
        return INVALID if any(one is INVALID for one in read) else read

    def _dict(self, value: Any, item: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            return self._say(
                path,
                "Names and what they mean are expected here.",
                expected="`name: ...` lines",
                found=told(value),
            )
        read = {key: self._read(one, item, (*path, key)) for key, one in value.items()}
        return INVALID if any(one is INVALID for one in read.values()) else read

    def _union(self, value: Any, hint: Any, path: Path) -> Any:
        options = [one for one in get_args(hint) if one is not msgspec.UnsetType]
        if value is None and type(None) in options:
            return None
        fitting = [one for one in options if takes(one, value)]
        if len(fitting) == 1:
            return self._read(value, fitting[0], path)
        options = [one for one in options if one is not type(None)] if len(options) > 1 else options
        if len(options) == 1:
            return self._read(value, options[0], path)
        expected = " or ".join(dict.fromkeys(named(one) for one in options))
        return self._say(path, misfit(path), expected=expected, found=told(value))

    def _leaf(self, value: Any, hint: Any, path: Path) -> Any:
        if get_origin(hint) is Literal and isinstance(value, str) and value not in get_args(hint):
            allowed = [str(one) for one in get_args(hint)]
            return self._say(path, f"{value!r} is not known here.", hint=did_you_mean(value, allowed))
        try:
            return msgspec.convert(value, hint)
        except msgspec.ValidationError as cause:
            return self._say(
                path,
                misfit(path),
                expected=expected_text(hint, cause),
                found=told(value),
            )

    # --- names -----------------------------------------------------------------------------------------

    def _name(self, value: Any, mark: NameOf, path: Path) -> Any:
        if not isinstance(value, str):
            return self._say(
                path, "A name is expected here.", expected=f"a name from {mark.section}", found=told(value)
            )
        known = self._names.get(mark.section)
        if known is not None and value not in known:
            what = mark.section if mark.section in ("data", "upstreams") else mark.section.removesuffix("s")
            what = {"upstreams": "node or data", "losse": "loss"}.get(what, what)
            return self._say(path, f"The document has no {what} {value!r}.", hint=did_you_mean(value, known))
        return value

    def _component(self, value: Any, mark: ComponentOf, path: Path) -> Any:
        word = noun(mark.kind)
        name: Any = value
        settings: Any = {}
        if isinstance(value, dict) and len(value) == 1:
            name, settings = next(iter(value.items()))
            settings = {} if settings is None else settings
            path = (*path, name)
        if not isinstance(name, str):
            keys = f"a mapping with the keys {list(value)}" if isinstance(value, dict) else told(value)
            return self._say(
                path,
                f"A {word} is expected here.",
                expected="`name`, or `name: {settings}` with one name",
                found=keys,
            )
        if not isinstance(settings, dict):
            return self._say(path, f"The settings of a {word} are keys and values.", found=told(settings))
        try:
            component = registry(mark.kind).resolve(name, allow_import=self._allow_imports)
        except MMLError as error:
            self.mistakes.append(self._unknown(Mistake.of(path, error), name))
            return INVALID
        use = ComponentUse(mark.kind, name, settings, path)
        known = SETTINGS.get((mark.kind, component.qualified))
        if known is not None:
            read = self._struct(settings, known, path)
            if read is INVALID:
                return INVALID
            use = ComponentUse(mark.kind, name, msgspec.structs.asdict(read), path)
        self.components.append(use)
        return use

    def _unknown(self, mistake: Mistake, name: str) -> Mistake:
        if self._allow_imports or "." not in name or "/" in name:
            return mistake
        trust = "If you trust the document, allow imports: `--allow-imports`."
        return replace(mistake, hint=f"{mistake.hint or ''} {trust}".strip())


def _only_choice(key: str, hint: Any) -> str | None:
    """Return what to write under a key that takes one value only."""
    values = get_args(hint) if get_origin(hint) is Literal else ()
    return f"Write `{key}: {values[0]}`." if len(values) == 1 else None
