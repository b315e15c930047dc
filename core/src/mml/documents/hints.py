"""What a type hint of the format asks for, and how to tell people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from mml.documents.mistakes import Path, shown
from mml.documents.parts import ComponentOf, NameOf, OneOf
from mml.errors import did_you_mean

_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
    dict: "a mapping",
    list: "a list",
}


def unmarked(hint: Any) -> tuple[Any, Any]:
    """Return a hint without its mark, and the mark."""
    if get_origin(hint) is Annotated:
        for meta in hint.__metadata__:
            mark = (meta.extra or {}).get("mark") if isinstance(meta, msgspec.Meta) else None
            if mark is not None:
                return hint.__origin__, mark
    return hint, None


def without_limits(hint: Any) -> tuple[Any, msgspec.Meta | None]:
    """Return a hint without its limits, and the limits."""
    if get_origin(hint) is Annotated:
        return hint.__origin__, next(
            (one for one in hint.__metadata__ if isinstance(one, msgspec.Meta)), None
        )
    return hint, None


def takes(hint: Any, value: Any) -> bool:  # noqa: PLR0911 -- one line a kind of hint
    """Return whether a value has the form that a hint asks for, whatever is inside."""
    inner, mark = unmarked(hint)
    inner, _ = without_limits(inner)
    if isinstance(mark, OneOf):
        return isinstance(value, dict)
    if isinstance(mark, ComponentOf):
        return isinstance(value, str | dict)
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        return isinstance(value, dict)
    if get_origin(inner) in (list, dict):
        return isinstance(value, get_origin(inner))
    if get_origin(inner) is Literal:
        return isinstance(value, str)
    if inner is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is inner


@cache
def hints_of(cls: type) -> Mapping[str, Any]:
    """Return the hints of a structure's fields, marks included."""
    return get_type_hints(cls, include_extras=True)


def named(hint: Any) -> str:
    """Say what a hint asks for."""
    inner, mark = unmarked(hint)
    inner, _ = without_limits(inner)
    if isinstance(mark, NameOf):
        return "a name"
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        return "keys and values"
    if get_origin(inner) is Literal:
        return " or ".join(map(repr, get_args(inner)))
    return _KINDS.get(get_origin(inner) or inner, str(inner))


def expected_text(hint: Any, cause: msgspec.ValidationError) -> str:
    """Say what a hint asks for, limits included."""
    inner, meta = without_limits(hint)
    limits = []
    if meta is not None:
        limits += [f"of at least {meta.ge}"] if meta.ge is not None else []
        limits += ["that is not empty"] if meta.min_length else []
    if inner in _KINDS or get_origin(inner) is Literal:
        return " ".join([named(inner), *limits])
    return str(cause)


def told(value: Any) -> str:
    """Say what a value is."""
    kind = _KINDS.get(type(value), type(value).__name__)
    if value is None or isinstance(value, dict | list):
        return kind if not isinstance(value, dict) else f"{kind} with the keys {list(value)}"[:200]
    return f"{kind}: {value!r}"[:200]


def misfit(path: Path) -> str:
    """Say that a value is not of the right kind."""
    if not path:
        return "The document does not fit."
    last = path[-1]
    return (
        f"The entry {last} does not fit." if isinstance(last, int) else f"The value of {last!r} does not fit."
    )


def inside(path: Path) -> str:
    """Return the end of a sentence that says where."""
    return f" in {shown(path)}" if path else ""


def purpose(cls: type) -> str:
    """Return what a structure is, in its own words."""
    return re.sub(r"\s+", " ", (cls.__doc__ or "").strip())


def is_misspelt(key: str, others: Iterable[str]) -> bool:
    """Return whether one of the others may be meant for a key."""
    return any(
        repr(key) in did_you_mean(other, [key]) and "Did" in did_you_mean(other, [key]) for other in others
    )
