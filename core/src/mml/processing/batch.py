"""`Batch`: what one step consumes: streams of roles of features, targets and tags, identities and masks.

With one stream and one role a batch reads like a container of features and targets. Conversion to a backend
happens once per backend and device and is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeAlias

import numpy as np

from mml.backends import get_backend
from mml.errors import ColumnError, SamplerError, did_you_mean, listed
from mml.processing.batch_view import DEFAULT_STREAM, BatchView, one_stream
from mml.processing.gather import Gatherer

Arrays: TypeAlias = Mapping[str, Any]


class Columns(dict[str, Any]):
    """Arrays by key; an unknown key is an error that names the near ones.

    Parameters
    ----------
    arrays : mapping of str to array
        Key → ``(n, *shape)``.
    domain : str
        What the columns are, for messages.
    """

    __slots__ = ("_domain",)

    def __init__(self, arrays: Arrays, *, domain: str) -> None:
        super().__init__(arrays)
        self._domain = domain

    def part(self, rows: slice) -> Columns:
        """Return consecutive rows of every column, uncopied."""
        # Cut many times an epoch; what is empty, as most domains are, need not be made again.
        return (
            Columns({key: array[rows] for key, array in self.items()}, domain=self._domain) if self else self
        )

    def __missing__(self, key: str) -> Any:
        raise ColumnError(f"The batch has no {key!r} among its {self._domain}.", hint=did_you_mean(key, self))


class SampleData:
    """The samples of one role.

    Parameters
    ----------
    features, targets, tags : mapping of str to array
        Key → ``(n, *shape)``.
    mask : numpy.ndarray
        Which rows are live, bool ``(n,)``.
    sample_uuids : numpy.ndarray or callable
        uint8 ``(n, 16)``, zeros where masked; or a function that returns them when they are first asked for.
    """

    __slots__ = ("_uuids", "features", "mask", "tags", "targets")

    def __init__(
        self,
        features: Arrays,
        *,
        targets: Arrays,
        tags: Arrays,
        mask: np.ndarray,
        sample_uuids: np.ndarray | Callable[[], np.ndarray],
    ) -> None:
        self.features = Columns(features, domain="features")
        self.targets = Columns(targets, domain="targets")
        self.tags = Columns(tags, domain="tags")
        self.mask = mask
        self._uuids = sample_uuids

    @property
    def sample_uuids(self) -> np.ndarray:
        """Identities of the rows, uint8 ``(n, 16)``; zeros where masked."""
        if callable(self._uuids):
            self._uuids = self._uuids()
        return self._uuids

    @property
    def n_rows(self) -> int:
        """The number of rows, masked ones included."""
        return len(self.mask)

    @property
    def n_live(self) -> int:
        """The number of rows that are not masked."""
        return int(self.mask.sum())

    def to(self, backend: str, device: str | None = None) -> SampleData:
        """Return the samples with features and targets as arrays of a backend; tags stay NumPy arrays."""
        to_array = get_backend(backend).to_array
        return SampleData(
            {key: to_array(array, device=device) for key, array in self.features.items()},
            targets={key: to_array(array, device=device) for key, array in self.targets.items()},
            tags=self.tags,
            mask=self.mask,
            sample_uuids=lambda: self.sample_uuids,
        )

    def part(self, rows: slice) -> SampleData:
        """Return consecutive rows as samples of their own, uncopied."""
        made = SampleData.__new__(SampleData)
        made.features = self.features.part(rows)
        made.targets = self.targets.part(rows)
        made.tags = self.tags.part(rows)
        made.mask = self.mask[rows]
        made._uuids = lambda: self.sample_uuids[rows]
        return made

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        return f"SampleData({self.n_rows} rows, features {list(self.features)}, targets {list(self.targets)})"


class RoleData(Mapping[str, SampleData]):
    """Samples per role, in the sampler's order; a mapping.

    Parameters
    ----------
    roles : mapping of str to SampleData
        At least one, all of as many rows.
    """

    __slots__ = ("_roles",)

    def __init__(self, roles: Mapping[str, SampleData]) -> None:
        self._roles = dict(roles)

    def __getitem__(self, role: str) -> SampleData:
        if role not in self._roles:
            raise SamplerError(f"The batch has no role {role!r}.", hint=did_you_mean(str(role), self._roles))
        return self._roles[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)

    def __contains__(self, role: object) -> bool:
        return role in self._roles

    def get(self, role: str, default: Any = None) -> Any:
        """Return the samples of a role, or the default where it does not exist."""
        return self._roles.get(role, default)

    def __repr__(self) -> str:
        return f"RoleData({self._roles})"


class Batch:
    """One step's samples.

    ``batch["anchor"].features["x"]`` reads a role of the only stream; with one role, ``batch.features["x"]``
    does. ``len`` is the number of rows, and iterating yields the roles.

    Parameters
    ----------
    roles : mapping of str to SampleData
        At least one.
    """

    __slots__ = ("_converted", "_parts", "_streams")

    def __init__(self, roles: Mapping[str, SampleData]) -> None:
        self._streams: dict[str, RoleData] = {DEFAULT_STREAM: _role_data(roles)}
        self._converted: dict[tuple[str, str | None], Batch] = {}
        self._parts: dict[int, Batch] = {}

    @classmethod
    def of_streams(cls, streams: Mapping[str, Mapping[str, SampleData]]) -> Self:
        """Return a batch of several streams: stream → role → samples, all of as many rows."""
        made = cls.__new__(cls)
        made._streams = {name: _role_data(roles) for name, roles in streams.items()}
        made._converted, made._parts = {}, {}
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
        return cls.of_streams(
            {
                name: {role: _samples(rows, gatherers[name]) for role, rows in view.stream(name).rows.items()}
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
        # The same batch each time, so that what it has converted stays converted.
        return self._parts.setdefault(id(roles), Batch(roles))

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
        """
        key = (backend, device)
        if key not in self._converted:
            self._converted[key] = Batch.of_streams(
                {
                    stream: {role: samples.to(backend, device) for role, samples in roles.items()}
                    for stream, roles in self._streams.items()
                }
            )
        return self._converted[key]

    def part(self, rows: slice) -> Batch:
        """Return consecutive rows of every stream and role as a batch of their own, uncopied."""
        return Batch.of_streams(
            {
                stream: {role: samples.part(rows) for role, samples in roles.items()}
                for stream, roles in self._streams.items()
            }
        )

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
    mask = rows >= 0
    domains: dict[str, dict[str, np.ndarray]] = {
        domain: {key: values[name] for key, name in names} for domain, names in gatherer.keys.items()
    }
    return SampleData(
        domains.get("features", {}),
        targets=domains.get("targets", {}),
        tags=domains.get("tags", {}),
        mask=mask,
        sample_uuids=lambda: uuids_of(rows, gatherer),
    )


def uuids_of(rows: np.ndarray, gatherer: Gatherer) -> np.ndarray:
    """Return identities of rows, uint8 ``(n, 16)``; zeros where masked."""
    live = rows >= 0
    uuids = np.zeros((len(rows), 16), dtype=np.uint8)
    uuids[live] = gatherer.source.uuids(rows[live])
    return uuids
