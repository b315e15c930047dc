"""`Batch`: what one step consumes, roles of features, targets and tags with identities and a mask.

With one role a batch reads like a container of features and targets. Conversion to a backend happens once per
backend and device and is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from mml.backends import get_backend
from mml.data.schema import ColumnName
from mml.errors import SamplerError, did_you_mean, listed
from mml.processing.batch_view import BatchView
from mml.processing.gather import Gatherer

Arrays: TypeAlias = Mapping[str, Any]


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
        self.features = features
        self.targets = targets
        self.tags = tags
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

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        return f"SampleData({self.n_rows} rows, features {list(self.features)}, targets {list(self.targets)})"


class RoleData(Mapping[str, SampleData]):
    """Samples per role, in the sampler's order."""

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

    def __repr__(self) -> str:
        return f"RoleData({self._roles})"


class Batch:
    """One step's samples.

    Parameters
    ----------
    roles : mapping of str to SampleData
        At least one.
    """

    __slots__ = ("_converted", "roles")

    def __init__(self, roles: Mapping[str, SampleData]) -> None:
        self.roles = roles if isinstance(roles, RoleData) else RoleData(roles)
        self._converted: dict[tuple[str, str | None], Batch] = {}

    @classmethod
    def from_view(cls, view: BatchView, gatherer: Gatherer) -> Batch:
        """Read the rows of a view."""
        return cls({role: _samples(rows, gatherer) for role, rows in view.rows.items()})

    def __getitem__(self, role: str) -> SampleData:
        return self.roles[role]

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
        """The number of rows, masked ones included; the same in every role."""
        return next(iter(self.roles.values())).n_rows

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
            to_array = get_backend(backend).to_array
            self._converted[key] = Batch(
                {
                    role: SampleData(
                        {name: to_array(array, device=device) for name, array in samples.features.items()},
                        targets={
                            name: to_array(array, device=device) for name, array in samples.targets.items()
                        },
                        tags=samples.tags,
                        mask=samples.mask,
                        sample_uuids=lambda samples=samples: samples.sample_uuids,  # type: ignore[misc]
                    )
                    for role, samples in self.roles.items()
                }
            )
        return self._converted[key]

    def _only(self) -> SampleData:
        if len(self.roles) != 1:
            raise SamplerError(
                "The batch has several roles.",
                found=listed(self.roles),
                hint="Name one: batch['anchor'].features.",
            )
        return next(iter(self.roles.values()))

    def __repr__(self) -> str:
        return f"Batch({self.n_rows} rows, roles {list(self.roles)})"


def _samples(rows: np.ndarray, gatherer: Gatherer) -> SampleData:
    values = gatherer.gather(rows)
    mask = rows >= 0
    domains: dict[str, dict[str, np.ndarray]] = {
        domain: {ColumnName.parse(name).key: values[name] for name in names}
        for domain, names in gatherer.columns.items()
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
