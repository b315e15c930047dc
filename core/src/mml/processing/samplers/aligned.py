"""`AlignedSampler`: batches of several FeatureSets at once, whose rows belong together.

It wraps a sampler of one view. That one makes the order; every other view follows it row by row, as a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, final

import numpy as np

from mml.configuration import made_with, registered_name
from mml.data import FeatureSet, FeatureSetView
from mml.errors import SamplerError, did_you_mean, listed
from mml.plugins import registry
from mml.processing.batch_view import MASKED
from mml.processing.samplers.alignment import BY_UUID, partner_positions
from mml.processing.samplers.bound import BoundSampler
from mml.processing.samplers.epoch import Epoch
from mml.processing.samplers.role_sampler import DROP, UNMATCHED, report_unmatched
from mml.processing.samplers.settings import (
    as_view,
    checked_choice,
    checked_columns,
    config_of,
    key_of,
    made_from,
    told_as_sampler_error,
)
from mml.protocols import Config


@final
@dataclass(frozen=True)
class AlignedSampler:
    """Batches of rows of several FeatureSets that have the same UUID, or the same values in columns.

    Every FeatureSet is a stream. The primary one is sampled; each of its rows brings the row of the others
    that matches it. Several rows of the primary may have the same match.

    Parameters
    ----------
    base : sampler
        What orders the rows of the primary FeatureSet: a `SimpleSampler`, or one with roles.
    by : str or iterable of str
        ``"sample_uuid"``, or columns that all FeatureSets have; rows match where all of them are equal.
    primary : str, optional
        The stream that drives the order; the first where left out.
    unmatched : {"drop", "mask", "error"}
        What happens to rows of the primary without a match somewhere: they are left out before anything is
        sampled, kept with masked rows in that stream, or refused.

    Examples
    --------
    >>> from mml.processing import SimpleSampler
    >>> AlignedSampler(SimpleSampler(batch_size=8), by="cell").by
    ('cell',)
    """

    aligns: ClassVar[bool] = True

    base: Any
    by: str | Iterable[str] = field(default="sample_uuid", kw_only=True)
    primary: str | None = field(default=None, kw_only=True)
    unmatched: str = field(default=DROP, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", _base(self.base))
        columns = checked_columns("by", self.by)
        if not columns or (len(columns) > 1 and set(columns) & set(BY_UUID)):
            raise SamplerError(
                "Rows are aligned by UUID or by columns.",
                expected="by='sample_uuid', or names of columns",
                found=repr(self.by),
            )
        object.__setattr__(self, "by", ("sample_uuid",) if columns[0] in BY_UUID else columns)
        if self.primary is not None and not isinstance(self.primary, str):
            raise SamplerError("`primary` names a stream.", found=repr(self.primary))
        checked_choice("unmatched", self.unmatched, UNMATCHED)

    def bind(
        self,
        views: Mapping[str, FeatureSetView | FeatureSet] | Sequence[FeatureSetView | FeatureSet],
        *,
        seed: int | None = None,
    ) -> BoundSampler:
        """Return the sampler with the rows of several views.

        Parameters
        ----------
        views : mapping of str to view, or sequence of views
            Stream → where its rows come from; in a sequence the labels of the FeatureSets are the streams.
        seed : int, optional
            Used where the sampler has none of its own; 0 where neither is given.

        Raises
        ------
        SamplerError
            If there are fewer than two, rows cannot be matched one to one, none of them match, or some do
            not and ``unmatched="error"``.

        Warns
        -----
        UnmatchedRowsWarning
            If some rows of the primary are left out or masked.
        """
        streams = _streams(views)
        primary = next(iter(streams)) if self.primary is None else self.primary
        if primary not in streams:
            raise SamplerError(
                f"There is no stream {primary!r} to be the primary one.",
                expected=f"one of {listed(streams)}",
                hint=did_you_mean(primary, streams),
            )
        matches = self._matches(streams, primary)
        driving = streams[primary]
        if self.unmatched == DROP:
            kept = np.logical_and.reduce([found >= 0 for found in matches.values()])
            if not kept.any():
                raise SamplerError("No row has a match in every stream.", found=listed(streams))
            driving = driving if kept.all() else driving.take(kept)
        inner = self.base.bind(driving, seed=seed)
        order = _AlignedOrder(inner.epoch, primary=primary, views=streams, matches=matches)
        return BoundSampler(
            streams,
            order=order,
            seed=inner.seed,
            n_batches=getattr(inner, "n_batches_always", None),
            settings=self.key(),
        )

    def key(self) -> tuple[Any, ...]:
        """Return the settings as a hashable key: samplers of one key on one set of views are one sampler."""
        return key_of(self)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values, those of the wrapped sampler included."""
        return config_of(self, "mml/aligned")

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal sampler."""
        return made_from(cls, config)

    def _matches(self, streams: Mapping[str, FeatureSetView], primary: str) -> dict[str, np.ndarray]:
        """Return stream → the position of the match of each row of the primary, -1 where there is none."""
        by: tuple[str, ...] = tuple(self.by)
        matches = {}
        for name, view in streams.items():
            if name == primary:
                continue
            with told_as_sampler_error(streams[primary]):
                found = partner_positions(streams[primary], view, by=by)
                if (found < 0).any():
                    report_unmatched(
                        streams[primary],
                        found < 0,
                        what=f"no match in {view.label}",
                        how=self.unmatched,
                        hint="Use unmatched='drop' or 'mask'.",
                    )
            matches[name] = found
        return matches


class _AlignedOrder:
    """Epoch number → the primary's batches, and beside them the rows that match."""

    def __init__(
        self,
        primary_order: Callable[[int], Epoch],
        *,
        primary: str,
        views: Mapping[str, FeatureSetView],
        matches: Mapping[str, np.ndarray],
    ) -> None:
        self._primary_order, self._primary = primary_order, primary
        self._streams = tuple(views)
        rows = views[primary].rows
        self._match: dict[str, np.ndarray] = {}
        for name, found in matches.items():
            # The last entry is never a row of the primary: -1, a masked anchor or partner, leads there.
            table = np.full(int(rows.max()) + 2, MASKED, dtype=np.int64)
            table[rows] = np.where(found >= 0, views[name].rows[found], MASKED)
            self._match[name] = table

    def __call__(self, epoch: int) -> Epoch:
        driving = self._primary_order(epoch)
        order = driving.order
        streams = {
            name: dict(order)
            if name == self._primary
            else {role: self._match[name][rows] for role, rows in order.items()}
            for name in self._streams
        }
        return Epoch.of_streams(streams, driving.borders)


def _base(given: Any) -> Any:
    """Return the wrapped sampler; a configuration, or ``{name: settings}`` of a document, is built."""
    base = given
    if isinstance(given, Mapping):
        if "sampler" in given:
            base = registry("samplers").load(registered_name(dict(given), "sampler")).from_config(dict(given))
        elif len(given) == 1 and isinstance(next(iter(given.values())), Mapping):
            name, settings = next(iter(given.items()))
            base = made_with(registry("samplers").load(str(name)), dict(settings))
    if getattr(base, "aligns", False):
        raise SamplerError("An aligned sampler wraps a sampler of one view, not another aligned one.")
    if not (hasattr(base, "bind") and hasattr(base, "key")):
        raise SamplerError(
            "An aligned sampler wraps another sampler.",
            expected="such as AlignedSampler(SimpleSampler(batch_size=32), by='cell')",
            found=f"{type(given).__name__}: {given!r}",
        )
    return base


def _streams(views: Any) -> dict[str, FeatureSetView]:
    if isinstance(views, FeatureSet | FeatureSetView):
        views = [views]
    if isinstance(views, Mapping):
        named = {name: as_view(view) for name, view in views.items()}
        if any(not isinstance(name, str) or not name for name in named):
            raise SamplerError("Streams are named.", found=listed(named))
    elif isinstance(views, Sequence) and not isinstance(views, str):
        made = [as_view(view) for view in views]
        named = {view.featureset.label: view for view in made}
        if len(named) < len(made):
            raise SamplerError(
                "Several views are of one FeatureSet, whose label cannot name them all.",
                found=listed(view.label for view in made),
                hint="Name the streams: bind({'first': ..., 'second': ...}).",
            )
    else:
        raise SamplerError(
            "An aligned sampler draws from several views.",
            expected="bind({'eis': ..., 'cycles': ...}), or a list of views",
            found=f"{type(views).__name__}: {views!r}",
        )
    if len(named) < 2:
        raise SamplerError(
            "Aligning takes two FeatureSets or more.",
            expected="bind({'eis': ..., 'cycles': ...})",
            found=listed(view.label for view in named.values()) or "none",
        )
    return named
