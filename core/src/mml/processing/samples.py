"""`SampleData` and `RoleData`: the columns, identities and mask of samples, and several of them by role.

Conversion to a backend happens once for each backend and device, and is kept beside what was converted: it is
found again however one gets there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Self, TypeAlias

import numpy as np

from mml.backends import get_backend
from mml.errors import BackendError, ColumnError, MMLError, SamplerError, did_you_mean
from mml.processing.batch_view import DEFAULT_STREAM, require_equal_lengths, require_named

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

    def converted(self, to_array: Callable[[Any], Any]) -> Columns:
        """Return the columns as arrays of a backend; an error names the column."""
        made = {}
        for key, array in self.items():
            if isinstance(array, np.ndarray) and array.dtype.kind in "OSU":
                raise BackendError(
                    "Strings do not enter a backend.",
                    where={"column": f"{self._domain}.{key}"},
                    hint="Make it a tag, which stays on the host, or numbers before the data goes in.",
                )
            try:
                made[key] = to_array(array)
            except MMLError as error:
                raise error.located({"column": f"{self._domain}.{key}"}) from error.__cause__
        return Columns(made, domain=self._domain)

    def require_length(self, n_rows: int) -> None:
        """Refuse columns of another length.

        Raises
        ------
        SamplerError
            If there is one; it is named.
        """
        for key, array in self.items():
            if len(array) != n_rows:
                raise SamplerError(
                    "A column of a batch has other rows than its mask.",
                    where={"column": f"{self._domain}.{key}"},
                    expected=f"{n_rows} rows",
                    found=f"{len(array)} rows",
                )

    def __missing__(self, key: str) -> Any:
        raise ColumnError(f"The batch has no {key!r} among its {self._domain}.", hint=did_you_mean(key, self))


class Identities:
    """UUIDs of rows, computed when first asked for; shared by samples and what they are converted to.

    Parameters
    ----------
    uuids : numpy.ndarray or callable
        uint8 ``(n, 16)``, or a function that returns them.
    """

    __slots__ = ("_uuids",)

    def __init__(self, uuids: np.ndarray | Callable[[], np.ndarray]) -> None:
        self._uuids = uuids

    def __call__(self) -> np.ndarray:
        if callable(self._uuids):
            self._uuids = self._uuids()
        return self._uuids


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

    Raises
    ------
    SamplerError
        If the mask is none, or a column has more or fewer rows.
    """

    __slots__ = ("_converted", "_uuids", "features", "mask", "tags", "targets")

    def __init__(
        self,
        features: Arrays,
        *,
        targets: Arrays,
        tags: Arrays,
        mask: np.ndarray,
        sample_uuids: np.ndarray | Callable[[], np.ndarray],
    ) -> None:
        _require_mask(mask)
        self.features = Columns(features, domain="features")
        self.targets = Columns(targets, domain="targets")
        self.tags = Columns(tags, domain="tags")
        self.mask = mask
        self._uuids = Identities(sample_uuids)
        self._converted: dict[tuple[str, str], SampleData] | None = None
        for columns in (self.features, self.targets, self.tags):
            columns.require_length(len(mask))

    @classmethod
    def of_checked(
        cls, columns: tuple[Columns, Columns, Columns], mask: np.ndarray, uuids: Identities
    ) -> Self:
        """Return samples of features, targets and tags that are known to be of the mask's length."""
        made = cls.__new__(cls)
        made.features, made.targets, made.tags = columns
        made.mask, made._uuids, made._converted = mask, uuids, None
        return made

    @property
    def sample_uuids(self) -> np.ndarray:
        """Identities of the rows, uint8 ``(n, 16)``; zeros where masked."""
        return self._uuids()

    @property
    def n_rows(self) -> int:
        """The number of rows, masked ones included."""
        return len(self.mask)

    @property
    def n_live(self) -> int:
        """The number of rows that are not masked."""
        return int(self.mask.sum())

    def to(self, backend: str, device: str | None = None) -> SampleData:
        """Return the samples with features and targets as arrays of a backend; tags stay NumPy arrays.

        They are converted once for each backend and device, and kept.

        Raises
        ------
        BackendError
            If there is no such backend or device, or a column holds what the backend has no dtype for.
        """
        place = place_of(backend, device)
        if self._converted is None:
            self._converted = {}
        if place not in self._converted:
            to_array = partial(get_backend(backend).to_array, device=device)
            columns = self.features.converted(to_array), self.targets.converted(to_array), self.tags
            self._converted[place] = SampleData.of_checked(columns, self.mask, self._uuids)
        return self._converted[place]

    def part(self, rows: slice) -> SampleData:
        """Return consecutive rows as samples of their own, uncopied."""
        columns = self.features.part(rows), self.targets.part(rows), self.tags.part(rows)
        uuids = self._uuids
        return SampleData.of_checked(columns, self.mask[rows], Identities(lambda: uuids()[rows]))

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

    Raises
    ------
    SamplerError
        If they are something else.
    """

    __slots__ = ("_roles",)

    def __init__(self, roles: Mapping[str, SampleData]) -> None:
        require_named(roles, "Samples of a batch are given by role.")
        for role, samples in roles.items():
            if not isinstance(samples, SampleData):
                raise SamplerError(
                    "A role of a batch holds samples.",
                    where={"role": role},
                    expected="SampleData",
                    found=f"{type(samples).__name__}: {samples!r}"[:80],
                )
        require_equal_lengths({DEFAULT_STREAM: roles})
        self._roles = dict(roles)

    @classmethod
    def of_checked(cls, roles: dict[str, SampleData]) -> Self:
        """Return samples by role that are known to be of one length."""
        made = cls.__new__(cls)
        made._roles = roles
        return made

    def to(self, backend: str, device: str | None = None) -> RoleData:
        """Return the samples of every role as arrays of a backend, as `SampleData.to` does."""
        return RoleData.of_checked(
            {role: samples.to(backend, device) for role, samples in self._roles.items()}
        )

    def part(self, rows: slice) -> RoleData:
        """Return consecutive rows of every role, uncopied."""
        return RoleData.of_checked({role: samples.part(rows) for role, samples in self._roles.items()})

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


def place_of(backend: Any, device: Any) -> tuple[str, str]:
    """Return backend and device in full, under which conversions are kept; refuse unknown ones."""
    for what, name in (("backend", backend), ("device", "" if device is None else device)):
        if not isinstance(name, str):
            raise BackendError(
                f"A {what} is named.", expected="a string", found=f"{type(name).__name__}: {name!r}"[:80]
            )
    made = get_backend(backend)
    return made.name, made.device_name(device) or made.capabilities.devices[0]


def _require_mask(mask: Any) -> None:
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.ndim != 1:
        raise SamplerError(
            "The mask of samples is a flat array of truth values.",
            expected="bool of shape (n,)",
            found=f"{type(mask).__name__}: {mask!r}"[:80],
        )
