"""Overrides from the command line: ``plan.train.epochs=5`` puts another value into a document's tree.

A path is written with dots; a list's entry is named by its position, or a phase by its label.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

from mml.documents.mistakes import Mistake, Path, document_error
from mml.documents.yaml_tree import parse_scalar
from mml.errors import DocumentError, did_you_mean

_LABELS = ("fit", "train", "eval", "group")


def apply_overrides(tree: Any, assignments: Iterable[str]) -> tuple[Any, dict[Path, str]]:
    """Return a tree with values replaced, and which paths come from which assignment.

    Parameters
    ----------
    tree : dict, list or scalar
        Stays as it is.
    assignments : iterable of str
        ``key=value``: the value is YAML, so ``3`` is a number and ``[a, b]`` a list.

    Raises
    ------
    DocumentError
        If an assignment has no ``=``, or its path leads nowhere.
    """
    changed = copy.deepcopy(tree)
    places: dict[Path, str] = {}
    for assignment in assignments:
        place = f"--set {assignment}"
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise _refused(place, "An override is `key=value`.", found=repr(assignment))
        try:
            value = parse_scalar(text)
        except DocumentError as error:
            raise _refused(place, f"{text!r} is no YAML value.", found=error.found) from error
        path = _put(changed, _parts(key), value, place)
        places = {known: one for known, one in places.items() if known[: len(path)] != path}
        places[path] = place
    return changed, places


def _parts(key: str) -> list[str]:
    # `plan[1].epochs`, as messages show paths, is as good as `plan.1.epochs`.
    return re.sub(r"\[(\d+)\]", r".\1", key.strip()).split(".")


def _put(tree: Any, parts: list[str], value: Any, place: str) -> Path:
    path: list[str | int] = []
    here = tree
    for position, part in enumerate(parts):
        if not isinstance(here, dict | list):
            raise _refused(
                place, f"There is nothing below {'.'.join(parts[:position])!r}.", found=f"the value {here!r}"
            )
        key: str | int = _position(here, part, place) if isinstance(here, list) else part
        path.append(key)
        if position == len(parts) - 1:
            here[key] = value  # type: ignore[index]  # a position for a list, a key for a mapping
        else:
            if isinstance(here, dict) and key not in here:
                # The check of the format tells whether such a key may be.
                here[key] = {}
            here = here[key]  # type: ignore[index]  # likewise
    return tuple(path)


def _position(here: list[Any], part: str, place: str) -> int:
    labels = {
        str(one[key]): number
        for number, one in enumerate(here)
        if isinstance(one, dict)
        for key in _LABELS
        if key in one
    }
    if part in labels:
        return labels[part]
    if part.isdecimal() and int(part) < len(here):
        return int(part)
    raise _refused(
        place,
        f"There is no entry {part!r}.",
        expected=f"a position from 0 to {len(here) - 1}" if here else "a list that is not empty",
        hint=did_you_mean(part, labels) if labels else None,
    )


def _refused(place: str, what: str, **parts: Any) -> DocumentError:
    return document_error(place, [Mistake((), what, **parts)])
