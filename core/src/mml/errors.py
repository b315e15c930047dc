"""The tree of errors and warnings that MML raises.

Every message has the same parts: what happened, where (label, column, phase, epoch, batch), what was
expected, what was found, and what to do about it. Inner code raises with what it knows; an outer layer
adds the place with :meth:`MMLError.located` and raises again. This module knows nothing else of MML.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Self

_MAX_PART = 600
_MAX_LISTED = 12


class MMLError(Exception):
    """Base of every error that MML raises on purpose.

    Parameters
    ----------
    what : str
        What happened, in one sentence.
    where : str or mapping, optional
        The place: labels, columns, phase, epoch, batch. A mapping is rendered as ``key value`` pairs.
    expected, found : str, optional
        What is allowed, and what was received.
    hint : str, optional
        What to do about it.

    Examples
    --------
    >>> print(MMLError("There is no column 'volt'.", where={"FeatureSet": "cells"}, hint="Use 'voltage'."))
    There is no column 'volt'.
      where: FeatureSet 'cells'
      try: Use 'voltage'.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | dict[str, Any] | None = None,
        expected: str | None = None,
        found: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.places: list[str] = [] if where is None else _places(where)
        self.expected = expected
        self.found = found
        self.hint = hint
        super().__init__(what)

    def located(self, where: str | dict[str, Any]) -> Self:
        """Add an outer place in front of the known ones and return the same error.

        Parameters
        ----------
        where : str or mapping
            As in the constructor. A place that is already named is not repeated.
        """
        self.places = list(dict.fromkeys([*_places(where), *self.places]))
        return self

    @property
    def where(self) -> str | None:
        """The whole place, outermost first, or None."""
        return ", ".join(self.places) or None

    def __str__(self) -> str:
        lines = [_bounded(self.what)]
        for name, part in (
            ("where", self.where),
            ("expected", self.expected),
            ("found", self.found),
            ("try", self.hint),
        ):
            if part:
                lines.append(f"  {name}: {_bounded(part)}")
        return "\n".join(lines)


class DataError(MMLError):
    """Data that cannot be stored, read or selected."""


class ColumnError(DataError):
    """A column that does not exist, or a short name that fits several."""


class SplitError(MMLError):
    """A split that does not exist, is empty, or cannot be made."""


class ScalerError(MMLError):
    """A scaler that cannot be fitted, applied or undone."""


class SamplerError(MMLError):
    """A sampler whose settings or data make no batches."""


class GraphError(MMLError):
    """A graph that is not valid: cycles, dangling references, connection limits."""


class ShapeError(GraphError):
    """Shapes that do not fit each other."""


class LossError(MMLError):
    """A loss that cannot be resolved, routed or computed."""


class OptimizerError(MMLError):
    """An optimizer that cannot be resolved or applied."""


class ModelError(MMLError):
    """A model that cannot be wrapped, built or run."""


class PhaseError(MMLError):
    """A phase that cannot run as it is declared."""


class NonFiniteError(PhaseError):
    """A loss or an input that is not finite."""


class ExperimentError(MMLError):
    """An experiment that cannot run, or a result that does not exist."""


class ResultError(MMLError):
    """A query that the recorded results cannot answer."""


class RegistrationError(MMLError):
    """A label or a component name that is taken, unknown to its context, or not allowed."""


class PluginError(MMLError):
    """A plugin that is missing, broken or incompatible."""


class UnknownComponentError(PluginError):
    """A component name that no plugin registered, or that several did."""


class BackendError(MMLError):
    """A backend that cannot do what it was asked for."""


class LeakageError(MMLError):
    """What gives a LeakageWarning elsewhere, under ``mml.strict()``."""


class StateError(MMLError):
    """State that does not fit the object it is given to."""


class ConfigError(MMLError):
    """A configuration with a wrong key, type or value."""


class ArchiveError(MMLError):
    """A file that is damaged, hostile, or of an unknown format."""


class DocumentError(ConfigError):
    """An experiment document with a mistake at a known line and path."""


class MMLWarning(UserWarning):
    """Base of every warning that MML gives."""


class LeakageWarning(MMLWarning):
    """Something was fitted on, or selected by, rows that it is then scored on."""


class OverwriteWarning(MMLWarning):
    """A node with the same label was replaced in its context."""


class FreezeWarning(MMLWarning):
    """A callback changed the freezing of a node directly, and it was changed back."""


class StrataWarning(MMLWarning):
    """A stratified split that could not keep each class within one sample of its share."""


class SplitSizeWarning(MMLWarning):
    """A split of whole groups that is more than a row, and more than 5 % of its size, off that size."""


class PairingWarning(MMLWarning):
    """A merge of several FeatureSets whose rows are ordered independently, so that any rows meet."""


class UnmatchedRowsWarning(MMLWarning):
    """A sampler that leaves rows out, or masks them, because no other row matches them."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Name the nearest candidates, or list the allowed ones where none is near.

    Parameters
    ----------
    name : str
        What was asked for.
    candidates : iterable of str
        What exists.

    Returns
    -------
    str
        A sentence to use as ``hint`` of an error.

    Examples
    --------
    >>> did_you_mean("voltag", ["voltage", "current"])
    "Did you mean 'voltage'?"
    >>> did_you_mean("x", ["voltage", "current"])
    "Available: 'current', 'voltage'."
    """
    known = sorted(set(map(str, candidates)))
    if not known:
        return "There are none."
    folded = {one.lower(): one for one in known}
    close = difflib.get_close_matches(str(name).lower(), list(folded), n=3, cutoff=0.6)
    near = [folded[one] for one in close]
    if near:
        return f"Did you mean {' or '.join(repr(one) for one in near)}?"
    return f"Available: {listed(known)}."


def listed(names: Iterable[object]) -> str:
    """Render names for a message, shortened after a dozen."""
    shown = [repr(one) for one in names]
    if len(shown) > _MAX_LISTED:
        return ", ".join(shown[:_MAX_LISTED]) + f" and {len(shown) - _MAX_LISTED} more"
    return ", ".join(shown)


def _places(where: str | dict[str, Any]) -> list[str]:
    if isinstance(where, str):
        return [where]
    return [f"{key} {value!r}" for key, value in where.items() if value is not None]


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_PART else text[: _MAX_PART - 1] + "…"
