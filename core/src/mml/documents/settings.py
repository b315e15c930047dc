"""Checking the settings of components against what their classes take: names first, then plain types.

Only annotations made of plain types are checked. What else a class asks of its settings it says itself when
it is called.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from mml.documents.format import SETTINGS
from mml.documents.hints import misfit, named, told
from mml.documents.mistakes import Mistake, Path
from mml.documents.parts import ComponentUse
from mml.errors import MMLError, did_you_mean
from mml.graph import Model, Optimizer
from mml.plugins import registry
from mml.registry import CORE, Component, noun

# How many leading parameters are no settings, because whoever calls the component fills them.
_FILLED_IN: Mapping[str, int] = {"merge_nodes": 2}
_CANONICAL_LOSS = 3
_METRIC_EXTRAS: Mapping[str, Any] = {"node": str, "name": str}
_PLAIN = (int, float, str, bool, type(None))
_LISTS = (list, Sequence, Iterable)
_MAPPINGS = (dict, Mapping)


def check_settings(uses: Iterable[ComponentUse], *, allow_imports: bool = False) -> list[Mistake]:
    """Load the components that a document uses and check their settings.

    Parameters
    ----------
    uses : iterable of ComponentUse
    allow_imports : bool
        Whether components may be given as Python paths.

    Returns
    -------
    list of Mistake
        Empty where all is well. A component that cannot be loaded is one of them.
    """
    mistakes: list[Mistake] = []
    for use in uses:
        try:
            component = registry(use.kind).resolve(use.name, allow_import=allow_imports)
            if (use.kind, component.qualified) not in SETTINGS:
                mistakes += _mistakes(use, component, component.load())
        except MMLError as error:
            mistakes.append(Mistake.of(use.path, error))
    return mistakes


def _mistakes(use: ComponentUse, component: Component, target: Any) -> list[Mistake]:
    known = _known(use, component, target)
    if known is None:
        return []
    found: list[Mistake] = []
    for key, value in use.settings.items():
        path = (*use.path, key)
        if key in known:
            found += _misfits(value, known[key], path)
        else:
            what = f"The {noun(use.kind)} {use.name!r} has no setting {key!r}."
            found.append(Mistake(path, what, hint=did_you_mean(str(key), known)))
    return found


def _known(use: ComponentUse, component: Component, target: Any) -> dict[str, Any] | None:
    """Return the settings with their annotations; None where any may be given."""
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return None
    skipped = _FILLED_IN.get(use.kind, 0)
    if use.kind == "losses" and not isinstance(target, type):
        if component.plugin != CORE:
            return None
        skipped = _CANONICAL_LOSS
    parameters = parameters[skipped:]
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return None
    hints = _hints(target)
    own = {one.name: hints.get(one.name, Any) for one in parameters if one.name != "uuid"}
    return {**_extras(use.kind), **own}


def _extras(kind: str) -> dict[str, Any]:
    """Return the settings that the declaration takes beside those of the component."""
    if kind == "metrics":
        return dict(_METRIC_EXTRAS)
    declared: dict[str, Callable[..., Any]] = {"models": Model, "optimizers": Optimizer}
    if kind in declared:
        hints = _hints(declared[kind])
        parameters = list(inspect.signature(declared[kind]).parameters.values())[1:]
        extras = {one.name: hints.get(one.name, Any) for one in parameters if one.kind is one.KEYWORD_ONLY}
        # The shape has a name of the user's choice, and the graph infers it where the class does not take it.
        return {**extras, "output_shape": Any} if kind == "models" else extras
    return {"backend": str} if kind == "losses" else {}


def _hints(target: Any) -> dict[str, Any]:
    called: Any = target
    try:
        return get_type_hints(called.__init__ if isinstance(target, type) else called)
    except (NameError, TypeError, AttributeError):
        # Annotations that cannot be evaluated here say nothing.
        return {}


def _misfits(value: Any, hint: Any, path: Path) -> Iterator[Mistake]:
    """Yield what does not fit an annotation, at the innermost place that tells it."""
    plain = _plain(hint)
    if plain is None or _fits(value, plain):
        return
    options = get_args(plain) if get_origin(plain) in (Union, types.UnionType) else (plain,)
    inner = [one for one in options if get_origin(one) in (list, dict) and isinstance(value, get_origin(one))]
    if not inner:
        yield Mistake(path, misfit(path), expected=_told_hint(plain), found=told(value))
        return
    item = get_args(inner[0])[-1]
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _misfits(one, item, (*path, key))


def _fits(value: Any, plain: Any) -> bool:
    try:
        msgspec.convert(value, plain)
    except msgspec.ValidationError:
        return False
    except TypeError:
        # A union that msgspec does not tell apart.
        return True
    return True


def _plain(hint: Any) -> Any:
    """Return a hint of plain types only, or None where there is more to it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN or origin is Literal:
        return hint
    if origin in (Union, types.UnionType):
        parts = [_plain(one) for one in arguments]
        return None if None in parts else Union[tuple(parts)]  # noqa: UP007 -- made at run time
    parts = [_plain(one) for one in arguments]
    if not arguments or None in parts:
        return None
    if origin in _LISTS:
        return list[parts[0]]  # type: ignore[valid-type]  # made at run time
    if origin in _MAPPINGS:
        return dict[str, parts[1]]  # type: ignore[valid-type]  # made at run time
    return None


def _told_hint(hint: Any) -> str:
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return " or ".join(dict.fromkeys(_told_part(one) for one in parts))


def _told_part(hint: Any) -> str:
    if get_origin(hint) in _LISTS:
        return "a list"
    return "a mapping" if get_origin(hint) in _MAPPINGS else named(hint)
