"""The source text of user-defined classes, kept with what was saved so that a person can read it.

Classes are stored by import path; the text beside them is inert. Nothing in MML ever executes, compiles or
imports it.
"""

from __future__ import annotations

from collections.abc import Iterable


def class_source(cls: type) -> str | None:
    """Return the source text of a class, or None where there is none to be found.

    Parameters
    ----------
    cls : type
        A class from a module or a notebook cell.

    Returns
    -------
    str or None
        None for built-in and compiled classes, and those typed where no text is kept.
    """
    import inspect  # here, because `import mml` has a budget and few runs save classes of the user's own

    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return None


def collect_sources(classes: Iterable[type]) -> dict[str, str]:
    """Return the source texts of classes by import path (``module.QualifiedName``).

    Classes without a source text are left out.
    """
    found = ((f"{cls.__module__}.{cls.__qualname__}", class_source(cls)) for cls in classes)
    return {path: text for path, text in found if text is not None}
