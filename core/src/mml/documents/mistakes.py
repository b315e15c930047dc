"""Mistakes in a document: where each stands, and one error that tells all of them.

A path is a tuple of keys and positions; people read it as ``plan[1].sampler``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from mml.errors import DocumentError, MMLError

Path: TypeAlias = tuple[str | int, ...]
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong.

    Parameters
    ----------
    path : tuple of str and int
        Where in the document.
    what : str
        In one sentence.
    line : int, optional
        From 1; None where it is looked up by the path.
    place : str, optional
        Instead of a line, where the value came from elsewhere, such as ``--set seed=x``.
    inner : str, optional
        Where inside that place, as an error told it.
    expected, found, hint : str, optional
        As in `MMLError`.
    cause : Exception, optional
        The error that told of it.
    """

    path: Path
    what: str
    line: int | None = None
    place: str | None = None
    inner: str | None = None
    expected: str | None = None
    found: str | None = None
    hint: str | None = None
    cause: BaseException | None = None

    @property
    def where(self) -> str:
        """Line and path."""
        line = None if self.line is None else f"line {self.line}"
        return ", ".join(part for part in (line, self.place, shown(self.path), self.inner) if part)

    def at(self, *, line: int | None = None, place: str | None = None) -> Mistake:
        """Return the mistake with its line, or what stands for one."""
        return replace(self, line=line, place=place)

    @classmethod
    def of(cls, path: Path, error: Exception) -> Mistake:
        """Describe an error that a part of the document caused."""
        if not isinstance(error, MMLError):
            return cls(path, f"This was refused: {error}", cause=error)
        return cls(
            path,
            error.what,
            inner=error.where,
            expected=error.expected,
            found=error.found,
            hint=error.hint,
            cause=error,
        )


class DocumentMistakesError(DocumentError):
    """All mistakes of a document, in the order of their lines.

    Parameters
    ----------
    name : str
        The document's name, such as its file's.
    mistakes : sequence of Mistake
        At least one.
    """

    def __init__(self, name: str, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        if len(mistakes) > 1:
            super().__init__(f"{name} has {len(mistakes)} mistakes.")
            return
        only = mistakes[0]
        super().__init__(
            only.what,
            where=", ".join(part for part in (name, only.where) if part),
            expected=only.expected,
            found=only.found,
            hint=only.hint,
        )

    def __str__(self) -> str:
        if len(self.mistakes) == 1:
            return super().__str__()
        blocks = [_block(one) for one in self.mistakes[:_MOST_SHOWN]]
        more = len(self.mistakes) - len(blocks)
        return "\n".join([self.what, *blocks, *([f"  and {more} more"] if more else [])])


def document_error(name: str, mistakes: Iterable[Mistake]) -> DocumentMistakesError:
    """Return the error that tells mistakes, each once, in the order of their lines."""
    return DocumentMistakesError(name, sorted(dict.fromkeys(mistakes), key=lambda one: one.line or 0))


def shown(path: Path) -> str:
    """Render a path for people: ``plan[1].sampler.simple``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _block(mistake: Mistake) -> str:
    # As an error of its own, so that each part is bounded as in any other message.
    text = str(
        MMLError(mistake.what, expected=mistake.expected, found=mistake.found, hint=mistake.hint)
    ).replace("\n", "\n  ")
    return f"  {mistake.where}: {text}" if mistake.where else f"  {text}"
