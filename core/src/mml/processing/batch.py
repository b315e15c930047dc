"""`Batch`: what one step consumes: streams of roles of features, targets and tags, identities and masks.

With one stream and one role a batch reads like a container of features and targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np

from mml.errors import SamplerError, listed
from mml.processing.batch_view import (
    DEFAULT_STREAM,
    BatchView,
    one_stream,
    require_equal_lengths,
    require_named,
)
from mml.processing.gather import Gatherer
from mml.processing.samples import Arrays, Columns, Identities, RoleData, SampleData, place_of


class Batch:
    """One step's samples.

    ``batch["anchor"].features["x"]`` reads a role of the only stream; with one role, ``batch.features["x"]``
    does. ``len`` is the number of rows, and iterating yields the roles.

    Parameters
    ----------
    roles : mapping of str to SampleData
        At least one, all of as many rows.

    Raises
    ------
    SamplerError
        If they are something else.
    """

    __slots__ = ("_converted", "_parts", "_streams")

    def __init__(self, roles: Mapping[str, SampleData]) -> None:
        self._streams: dict[str, RoleData] = {DEFAULT_STREAM: _role_data(roles)}
        self._converted: dict[tuple[str, str], Batch] = {}
        self._parts: dict[str, Batch] = {}

    @classmethod
    def of_streams(cls, streams: Mapping[str, Mapping[str, SampleData]]) -> Self:
        """Return a batch of several streams: stream → role → samples, all of as many rows."""
        require_named(streams, "Samples of a batch are given by stream.")
        made = {name: _role_data(roles) for name, roles in streams.items()}
        require_equal_lengths(made)
        return cls._of(made)

    @classmethod
    def _of(cls, streams: dict[str, RoleData]) -> Self:
        made = cls.__new__(cls)
        made._streams, made._converted, made._parts = streams, {}, {}
        return made

    @classmethod
    def from_view(cls, view: BatchView, gatherer: Gatherer | Mapping[str, Gatherer]) -> Self:
        """Read the rows of a view.

        Parameters
        ----------
        view : BatchView
        gatherer : Gatherer, or mapping of str to Gatherer
            What reads the only stream, or stream → what reads it.
        """
        gatherers = gatherer if isinstance(gatherer, Mapping) else dict.fromkeys(view.streams, gatherer)
        return cls._of(
            {
                name: RoleData.of_checked(
                    {role: _samples(rows, gatherers[name]) for role, rows in view.stream(name).rows.items()}
                )
                for name in view.streams
            }
        )

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams, in the sampler's order; ``("default",)`` where there is one without a name."""
        return tuple(self._streams)

    def stream(self, name: str | None = None) -> Batch:
        """Return one stream as a batch of its own; its name may be left out where there is only one.

        Raises
        ------
        SamplerError
            If there is no such stream, or several and none is named.
        """
        if self.streams == (DEFAULT_STREAM,) and name in (None, DEFAULT_STREAM):
            return self
        roles = one_stream(self._streams, name, what="batch")
        own = next(stream for stream, one in self._streams.items() if one is roles)
        # The same batch each time, so that what it has converted stays converted.
        if own not in self._parts:
            self._parts[own] = Batch._of({DEFAULT_STREAM: roles})
        return self._parts[own]

    @property
    def roles(self) -> RoleData:
        """The roles of the only stream: a mapping to their samples."""
        return one_stream(self._streams, None, what="batch")

    def __getitem__(self, role: str) -> SampleData:
        return self.roles[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self.roles)

    def __contains__(self, role: object) -> bool:
        return role in self.roles

    @property
    def features(self) -> Arrays:
        """Features of the only role: key → ``(n, *shape)``."""
        return self._only().features

    @property
    def targets(self) -> Arrays:
        """Targets of the only role: key → ``(n, *shape)``."""
        return self._only().targets

    @property
    def tags(self) -> Arrays:
        """Tags of the only role: key → ``(n, *shape)``."""
        return self._only().tags

    @property
    def mask(self) -> np.ndarray:
        """Which rows of the only role are live, bool ``(n,)``."""
        return self._only().mask

    @property
    def sample_uuids(self) -> np.ndarray:
        """Identities of the only role's rows, uint8 ``(n, 16)``."""
        return self._only().sample_uuids

    @property
    def n_rows(self) -> int:
        """The number of rows, masked ones included; the same in every role and stream."""
        return next(iter(next(iter(self._streams.values())).values())).n_rows

    def __len__(self) -> int:
        return self.n_rows

    def to(self, backend: str, device: str | None = None) -> Batch:
        """Return the batch with features and targets as arrays of a backend; converted once and kept.

        Tags stay NumPy arrays, because no backend holds strings.

        Parameters
        ----------
        backend : str
            Name of a backend.
        device : str, optional
            Where to put them; None means the backend's default.

        Raises
        ------
        BackendError
            If there is no such backend or device, or a column holds what the backend has no dtype for.
        """
        place = place_of(backend, device)
        if place not in self._converted:
            self._converted[place] = Batch._of(
                {stream: roles.to(backend, device) for stream, roles in self._streams.items()}
            )
        return self._converted[place]

    def part(self, rows: slice) -> Batch:
        """Return consecutive rows of every stream and role as a batch of their own, uncopied."""
        return Batch._of({stream: roles.part(rows) for stream, roles in self._streams.items()})

    def _only(self) -> SampleData:
        roles = self.roles
        if len(roles) != 1:
            raise SamplerError(
                "The batch has several roles, and none is named.",
                expected=f"one of {listed(roles)}",
                hint=f"Name one: batch[{next(iter(roles), '')!r}].features.",
            )
        return next(iter(roles.values()))

    def __repr__(self) -> str:
        if len(self._streams) > 1:
            return f"Batch({self.n_rows} rows, streams {list(self._streams)})"
        return f"Batch({self.n_rows} rows, roles {list(self.roles)})"


def _role_data(roles: Mapping[str, SampleData]) -> RoleData:
    return roles if isinstance(roles, RoleData) else RoleData(roles)


def _samples(rows: np.ndarray, gatherer: Gatherer) -> SampleData:
    values = gatherer.gather(rows)
    features, targets, tags = (
        Columns({key: values[name] for key, name in gatherer.keys.get(domain, ())}, domain=domain)
        for domain in ("features", "targets", "tags")
    )
    return SampleData.of_checked(
        (features, targets, tags), rows >= 0, Identities(lambda: uuids_of(rows, gatherer))
    )


def uuids_of(rows: np.ndarray, gatherer: Gatherer) -> np.ndarray:
    """Return identities of rows, uint8 ``(n, 16)``; zeros where masked."""
    live = rows >= 0
    uuids = np.zeros((len(rows), 16), dtype=np.uint8)
    uuids[live] = gatherer.source.uuids(rows[live])
    return uuids
