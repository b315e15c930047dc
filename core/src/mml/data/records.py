"""What a FeatureSet remembers of its splits and transforms, so that both can be repeated and undone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from mml.data.components import (
    build_scaler,
    build_splitter,
    check_splitter_names,
    require_json,
    scaler_config,
    splitter_config,
)
from mml.data.lineage import FitLineage
from mml.data.protocols import ScalerLike, SplitterLike
from mml.data.scaler_calls import explained, state_of
from mml.errors import ConfigError, MMLError, ScalerError, SplitError, StateError
from mml.protocols import Config, State


@dataclass(frozen=True, slots=True, eq=False)
class SplitterRecord:
    """One use of a splitter.

    Parameters
    ----------
    splitter : dict or None
        Config of the splitter; None where it cannot be written down (a lambda among its conditions, or no
        ``get_config``).
    source : str or None
        The split that was divided; None for the whole FeatureSet, ``""`` for rows without a name.
    names : tuple of str
        The splits that it made.
    reason : str, optional
        Why ``splitter`` is None.
    """

    splitter: Config | None
    source: str | None
    names: tuple[str, ...]
    reason: str | None = None

    @classmethod
    def of(cls, splitter: SplitterLike, *, source: str | None, names: tuple[str, ...]) -> Self:
        """Record a splitter that was just used."""
        try:
            return cls(splitter_config(splitter), source, names)
        except ConfigError as cause:
            return cls(None, source, names, reason=cause.what)

    def build(self) -> SplitterLike:
        """Return an equal splitter, to replay the split.

        Raises
        ------
        SplitError
            If the splitter could not be written down.
        """
        if self.splitter is None:
            raise SplitError("This split cannot be replayed.", found=self.reason)
        return build_splitter(self.splitter)

    def get_config(self) -> Config:
        """Return the record as JSON-compatible values.

        Raises
        ------
        ConfigError
            If the splitter's own config is not JSON.
        """
        if self.splitter is not None:
            require_json(self.splitter, kind="splitter", where={"splits": list(self.names)})
        return {
            "splitter": self.splitter,
            "source": self.source,
            "names": list(self.names),
            "reason": self.reason,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal record."""
        try:
            names = tuple(config["names"])
            check_splitter_names(config["splitter"])
            return cls(config["splitter"], config["source"], names, reason=config.get("reason"))
        except (KeyError, TypeError) as cause:
            raise ConfigError("This is no config of a SplitterRecord.", found=repr(config)) from cause

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SplitterRecord):
            return NotImplemented
        mine, theirs = ((one.source, one.names, one.reason) for one in (self, other))
        return mine == theirs and _same(self.splitter, other.splitter)

    __hash__ = None  # type: ignore[assignment]  # equality is by content, and nothing needs it as a key


@dataclass(frozen=True, slots=True)
class FittedColumn:
    """One column's fitted scaler, with the dtype and sample shape of what it returns."""

    scaler: ScalerLike
    dtype: np.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ScalerRecord:
    """One use of a scaler on one or more columns of a domain.

    Parameters
    ----------
    config : dict or None
        Config of the scaler, with its registered name; None where no name brings its class back.
    domain : str
        ``features`` or ``targets``.
    keys : tuple of str
        The columns, in the order in which they were fitted.
    lineage : FitLineage or None
        Which rows it saw; None before :meth:`with_state`.
    fitted : dict of str to FittedColumn
        The fitted scaler of each key; empty before :meth:`with_state`.
    reason : str, optional
        Why ``config`` is None.
    """

    config: Config | None
    domain: str
    keys: tuple[str, ...]
    fit_to_split: str | None = None
    lineage: FitLineage | None = None
    fitted: dict[str, FittedColumn] = field(default_factory=dict)
    reason: str | None = None

    def scaler(self, key: str) -> ScalerLike:
        """Return the fitted scaler of a column."""
        if key not in self.fitted:
            raise ScalerError(
                f"The scaler of {key!r} is declared but not fitted.",
                where={"column": f"{self.domain}.{key}"},
                hint="Set the state that belongs to this config, or load the file that holds both.",
            )
        return self.fitted[key].scaler

    def output_of(self, key: str) -> tuple[np.dtype, tuple[int, ...]] | None:
        """Return dtype and sample shape after this scaler, or None where it is not fitted."""
        one = self.fitted.get(key)
        return None if one is None else (one.dtype, one.shape)

    def without(self, keys: set[str]) -> ScalerRecord | None:
        """Return the record for the other columns, or None where none is left."""
        rest = tuple(key for key in self.keys if key not in keys)
        if not rest:
            return None
        fitted = {key: one for key, one in self.fitted.items() if key in rest}
        return replace(self, keys=rest, fitted=fitted)

    def get_config(self) -> Config:
        """Return the record as JSON-compatible values.

        Raises
        ------
        ConfigError
            If no name brings the scaler's class back, or its own config is not JSON; the message says how
            to mend it.
        """
        where = {"column": ", ".join(f"{self.domain}.{key}" for key in self.keys)}
        return {
            "scaler": require_json(self._written_down(), kind="scaler", where=where),
            "domain": self.domain,
            "keys": list(self.keys),
            "fit_to_split": self.fit_to_split,
        }

    def _written_down(self) -> Config:
        # Asked anew, because its class may have been registered since it was fitted.
        for one in self.fitted.values():
            try:
                return scaler_config(one.scaler)
            except ConfigError as error:
                error.located({"column": ", ".join(f"{self.domain}.{key}" for key in self.keys)})
                raise
        if self.config is None:
            raise ConfigError(self.reason or "The scaler has no name.", where={"column": repr(self.keys)})
        return self.config

    def _config_or_none(self) -> Config | None:
        try:
            return self._written_down()
        except ConfigError:
            return None

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build the record, not fitted."""
        try:
            return cls(config["scaler"], config["domain"], tuple(config["keys"]), config["fit_to_split"])
        except (KeyError, TypeError) as cause:
            raise ConfigError("This is no config of a ScalerRecord.", found=repr(config)) from cause

    def get_state(self) -> State:
        """Return what was learnt, per column, and from which rows."""
        columns: dict[str, Any] = {}
        for key, one in self.fitted.items():
            columns[key] = {
                "scaler": self._learnt(key, one.scaler),
                "dtype": one.dtype.str,
                "shape": list(one.shape),
            }
        return {
            "columns": columns,
            "lineage": None if self.lineage is None else self.lineage.get_state(),
        }

    def _learnt(self, key: str, scaler: ScalerLike) -> State:
        try:
            return state_of(scaler)
        except MMLError as error:
            error.located({"column": f"{self.domain}.{key}"})
            raise

    def with_state(self, state: State) -> ScalerRecord:
        """Return the record with what :meth:`get_state` returned; nothing is fitted again."""
        try:
            lineage = None if state["lineage"] is None else FitLineage.from_state(state["lineage"])
            fitted = {key: _fitted(self._written_down(), one) for key, one in state["columns"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as cause:
            raise StateError("This is no state of a ScalerRecord.", found=repr(cause)) from cause
        if fitted and set(fitted) != set(self.keys):
            raise StateError(
                "The state holds other columns than the record.",
                expected=repr(sorted(self.keys)),
                found=repr(sorted(fitted)),
            )
        return replace(self, lineage=lineage, fitted=fitted)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScalerRecord):
            return NotImplemented
        mine, theirs = ((one.domain, one.keys, one.fit_to_split) for one in (self, other))
        if mine != theirs or self.lineage != other.lineage:
            return False
        if not _same(self._config_or_none(), other._config_or_none()):
            return False
        return _same(self.get_state()["columns"], other.get_state()["columns"])

    __hash__ = None  # type: ignore[assignment]  # equality is by content, and nothing needs it as a key


def _fitted(config: Config, state: State) -> FittedColumn:
    scaler = build_scaler(config)
    with explained(scaler, "set_state"):
        scaler.set_state(state["scaler"])
    return FittedColumn(scaler, np.dtype(state["dtype"]), tuple(state["shape"]))


def _same(left: Any, right: Any) -> bool:
    """Compare two states or configs bit for bit, NaN included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        same_kind = (left.dtype, left.shape) == (right.dtype, right.shape)
        return same_kind and left.tobytes() == right.tobytes()
    if isinstance(left, float):
        return np.float64(left).tobytes() == np.float64(right).tobytes()
    return bool(left == right)
