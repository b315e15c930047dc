"""Names and types of columns: ``<domain>.<key>.<representation>``, and how short forms find them.

Nothing here reads a value. A :class:`Schema` is an ordered set of :class:`ColumnSpec`; every selection of
columns in MML goes through :meth:`Schema.select`, so that short names, lists and wildcards mean the same
everywhere and an unknown name always lists its near misses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from mml.errors import ColumnError, DataError, did_you_mean, listed

Selection: TypeAlias = str | Iterable[str]

FEATURES = "features"
TARGETS = "targets"
TAGS = "tags"
SAMPLE_UUIDS = "sample_uuids"
DOMAINS = (FEATURES, TARGETS, TAGS, SAMPLE_UUIDS)
RAW = "raw"
TRANSFORMED = "transformed"
_WHOLE_DOMAINS = tuple(f"{one}.*" for one in (FEATURES, TARGETS, TAGS))


@dataclass(frozen=True, slots=True, order=True)
class ColumnName:
    """The three parts of a column's name.

    Examples
    --------
    >>> ColumnName.parse("features.voltage.raw")
    ColumnName(domain='features', key='voltage', representation='raw')
    >>> str(ColumnName("targets", "soh"))
    'targets.soh.raw'
    """

    domain: str
    key: str
    representation: str = RAW

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise ColumnError(
                f"{self.domain!r} is no domain.",
                expected=f"one of {listed(DOMAINS)}",
                found=repr(self.domain),
            )
        for part, role in ((self.key, "key"), (self.representation, "representation")):
            if not isinstance(part, str) or not part.strip() or "." in part or "*" in part:
                raise ColumnError(
                    f"{part!r} cannot be the {role} of a column.",
                    expected="a non-empty string without '.' and '*', which separate and select columns",
                    hint="Rename it before the data goes in.",
                )

    def __str__(self) -> str:
        return f"{self.domain}.{self.key}.{self.representation}"

    @classmethod
    def parse(cls, name: str) -> ColumnName:
        """Read a full name; a name without three parts is a `ColumnError`."""
        parts = name.split(".")
        if len(parts) != 3:
            raise ColumnError(
                f"{name!r} is not a full column name.", expected="<domain>.<key>.<representation>"
            )
        return cls(*parts)

    def with_representation(self, representation: str) -> ColumnName:
        """Return the same column in another representation."""
        return ColumnName(self.domain, self.key, representation)


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What one column holds.

    Parameters
    ----------
    name : ColumnName
        Its full name.
    dtype : numpy.dtype or None
        The dtype in which NumPy sees its values; None for strings.
    shape : tuple of int
        The shape of one sample; ``()`` for scalars.
    arrow_type : pyarrow.DataType
        How it is stored.
    """

    name: ColumnName
    dtype: np.dtype | None
    shape: tuple[int, ...]
    arrow_type: pa.DataType

    @property
    def is_numeric(self) -> bool:
        """Whether a model can take it: booleans, integers and floats."""
        return self.dtype is not None and self.dtype.kind in "biuf"

    @property
    def zone(self) -> str | None:
        """The time zone of points in time, be they scalars or tensors; None where there is none."""
        zone: str | None = getattr(getattr(self.arrow_type, "value_type", self.arrow_type), "tz", None)
        return zone

    def describe(self) -> str:
        """Return dtype and shape in a few characters, e.g. ``float32[30]``."""
        dtype = "string" if self.dtype is None else str(self.dtype)
        if self.zone is not None:
            dtype = f"{dtype[:-1]}, {self.zone}]"
        return dtype + (f"[{', '.join(map(str, self.shape))}]" if self.shape else "")


class Schema:
    """An ordered, immutable set of columns.

    Parameters
    ----------
    specs : iterable of ColumnSpec
        In storage order; two of one name are a `DataError`.
    """

    __slots__ = ("_keyed", "_specs")

    def __init__(self, specs: Iterable[ColumnSpec]) -> None:
        self._keyed: dict[str, list[ColumnName]] | None = None
        self._specs: dict[str, ColumnSpec] = {}
        for spec in specs:
            if str(spec.name) in self._specs:
                raise DataError(f"The column '{spec.name}' stands in the data twice.", hint="Rename one.")
            self._specs[str(spec.name)] = spec

    def __iter__(self) -> Iterator[ColumnSpec]:
        return iter(self._specs.values())

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __getitem__(self, name: str) -> ColumnSpec:
        try:
            return self._specs[name]
        except (KeyError, TypeError) as cause:
            raise self._not_in_full(name) from cause

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # equality is by content, and nothing needs it as a key

    def __repr__(self) -> str:
        return f"Schema({', '.join(f'{name}: {spec.describe()}' for name, spec in self._specs.items())})"

    @property
    def names(self) -> tuple[str, ...]:
        """The full names, in storage order."""
        return tuple(self._specs)

    def keys(self, domain: str) -> tuple[str, ...]:
        """Return the keys of one domain, in storage order."""
        return tuple(dict.fromkeys(spec.name.key for spec in self if spec.name.domain == domain))

    def with_columns(self, specs: Iterable[ColumnSpec]) -> Schema:
        """Return a schema with these columns added behind, or replaced where their name is known."""
        merged = {**self._specs, **{str(spec.name): spec for spec in specs}}
        return Schema(merged.values())

    def only(self, names: Iterable[str]) -> Schema:
        """Return the schema of these full names, in the order given."""
        return Schema(self[name] for name in names)

    def select(
        self, selection: Selection, *, domain: str | None = None, rep: str | None = None
    ) -> tuple[str, ...]:
        """Return the full names that a selection means.

        Parameters
        ----------
        selection : str or iterable of str
            Full names, short forms (``voltage``, ``features.voltage``, ``voltage.raw``) or patterns with
            ``*``. An empty iterable selects nothing.
        domain : str, optional
            Look in this domain only.
        rep : str, optional
            The representation where the selection does not name one. None means ``transformed`` where it
            exists, else ``raw``.

        Returns
        -------
        tuple of str
            In the order asked for (within a pattern, in the order of the keys), each once.

        Raises
        ------
        ColumnError
            If a name is unknown or fits several columns.
        """
        chosen: dict[str, None] = {}
        for pattern in patterns(selection):
            if self._is_in_full(pattern, domain):
                chosen[pattern] = None
            else:
                chosen.update(dict.fromkeys(self._match(pattern, domain, rep)))
        return tuple(chosen)

    def _is_in_full(self, pattern: str, domain: str | None) -> bool:
        """Return whether a pattern is a column's whole name, which can mean nothing else."""
        spec = self._specs.get(pattern)
        if spec is None or spec.name.domain == SAMPLE_UUIDS:
            return False
        return domain in (None, spec.name.domain)

    def _candidates(self, domain: str | None, pattern: str = "*") -> list[ColumnName]:
        """Return the names of a domain that a pattern may fit."""
        names: Iterable[ColumnName] = (spec.name for spec in self)
        if "*" not in pattern:
            # Thousands of columns may be asked for one by one: they are found by their keys.
            keyed = self._by_key()
            names = (name for part in dict.fromkeys(pattern.split(".")) for name in keyed.get(part, ()))
        hidden = () if domain == SAMPLE_UUIDS else (SAMPLE_UUIDS,)
        return [name for name in names if domain in (None, name.domain) and name.domain not in hidden]

    def _by_key(self) -> dict[str, list[ColumnName]]:
        if self._keyed is None:
            keyed: dict[str, list[ColumnName]] = {}
            for spec in self:
                keyed.setdefault(spec.name.key, []).append(spec.name)
            self._keyed = keyed
        return self._keyed

    def _match(self, pattern: str, domain: str | None, rep: str | None) -> list[str]:
        candidates = self._candidates(domain, pattern)
        explicit, implicit = _fitting(pattern, candidates)
        found = list(dict.fromkeys(explicit + self._preferred(implicit, rep)))
        if "*" in pattern:
            # A pattern that fits names without their representation leaves the representation to `rep`.
            found = self._preferred(implicit, rep) if implicit else explicit
            nothing_asked = not pattern.strip("*.") or pattern in _WHOLE_DOMAINS
            if not found and (implicit or not nothing_asked):
                raise self._missing(pattern, domain, rep, implicit)
            return [str(name) for name in _in_order_of_keys(found, candidates)]
        if not found:
            raise self._missing(pattern, domain, rep, implicit)
        if len(found) > 1:
            raise ColumnError(
                f"{pattern!r} fits several columns.",
                found=listed(str(name) for name in found),
                hint="Name the domain, or the whole column.",
            )
        return [str(found[0])]

    def _preferred(self, names: list[ColumnName], rep: str | None) -> list[ColumnName]:
        by_key: dict[tuple[str, str], dict[str, ColumnName]] = {}
        for name in names:
            by_key.setdefault((name.domain, name.key), {})[name.representation] = name
        chosen = []
        for representations in by_key.values():
            if rep is not None:
                best = representations.get(rep)
            else:
                best = representations.get(TRANSFORMED) or representations.get(RAW)
                # A column with neither is meant by its key only where it has a single representation.
                if best is None and len(representations) == 1:
                    best = next(iter(representations.values()))
            if best is not None:
                chosen.append(best)
        return chosen

    def _missing(
        self, pattern: str, domain: str | None, rep: str | None, implicit: list[ColumnName]
    ) -> ColumnError:
        if implicit:
            return ColumnError(
                f"The column {pattern!r} has no representation {rep or RAW!r}.",
                found=listed(dict.fromkeys(name.representation for name in implicit)),
            )
        if pattern.startswith(f"{SAMPLE_UUIDS}."):
            return ColumnError(
                f"There is no column {pattern!r}.",
                hint="Identities are no column: read `.sample_uuids`, or call `to_arrow()`.",
            )
        if domain is not None:
            elsewhere = [name for name in self.names if pattern in _forms(ColumnName.parse(name))]
            if elsewhere:
                return ColumnError(
                    f"There is no column {pattern!r} among the {domain}.", found=listed(elsewhere)
                )
        shortest = min(pattern.count("."), 2)
        forms = (form for name in self._candidates(domain) for form in _forms(name))
        known = {form for form in forms if form.count(".") == shortest}
        return ColumnError(f"There is no column {pattern!r}.", hint=did_you_mean(pattern, known))

    def _not_in_full(self, name: object) -> ColumnError:
        short = [
            full for full, spec in self._specs.items() if isinstance(name, str) and name in _forms(spec.name)
        ]
        return ColumnError(
            f"There is no column {name!r}.",
            expected="a full name: <domain>.<key>.<representation>",
            hint=f"Did you mean {listed(short)}?" if short else did_you_mean(str(name), self._specs),
        )


def _fitting(pattern: str, names: list[ColumnName]) -> tuple[list[ColumnName], list[ColumnName]]:
    """Return the names that a pattern fits with and without their representation."""
    matches = _matcher(pattern)
    explicit = [name for name in names if matches(str(name)) or matches(f"{name.key}.{name.representation}")]
    implicit = [name for name in names if matches(name.key) or matches(f"{name.domain}.{name.key}")]
    return explicit, implicit


def _in_order_of_keys(found: list[ColumnName], candidates: list[ColumnName]) -> list[ColumnName]:
    """Sort as the keys were ingested: fitting a scaler to one of several columns must not reorder them."""
    first: dict[tuple[str, str], int] = {}
    for position, name in enumerate(candidates):
        first.setdefault((name.domain, name.key), position)
    place = {name: position for position, name in enumerate(candidates)}
    return sorted(found, key=lambda name: (first[name.domain, name.key], place[name]))


def _forms(name: ColumnName) -> tuple[str, ...]:
    key, domain, rep = name.key, name.domain, name.representation
    return key, f"{domain}.{key}", f"{key}.{rep}", str(name)


def patterns(selection: Selection) -> list[str]:
    """Return a selection as a list of names and patterns.

    Raises
    ------
    ColumnError
        If it is something else, or a set: the order of its names differs from process to process.
    """
    if isinstance(selection, str):
        return [selection]
    if isinstance(selection, (set, frozenset)):
        raise ColumnError(
            "A set of columns has no order.",
            found=repr(selection),
            hint="Pass a list: columns come in its order.",
        )
    if not isinstance(selection, Iterable):
        raise ColumnError(
            "Columns are selected by name.",
            expected="a string or a list of strings; () selects none",
            found=repr(selection),
        )
    names = list(selection)
    for one in names:
        if not isinstance(one, str):
            raise ColumnError("Columns are selected by name.", expected="strings", found=repr(one))
    return names


def _matcher(pattern: str) -> Callable[[str], object]:
    if "*" not in pattern:
        return pattern.__eq__
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL).fullmatch
