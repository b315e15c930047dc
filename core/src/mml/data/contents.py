"""`Contents`: all that can change in a FeatureSet, as one immutable value; its structure and its state.

Structure is JSON: columns, names of splits, configs of splitters and scalers. State is arrays: rows of the
splits and what the scalers learnt. The table itself is neither; files hold it as Arrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import STRING_TYPE, time_zone
from mml.data.collection import empty_collection
from mml.data.records import ScalerRecord, SplitterRecord
from mml.data.rows import Rows, as_array, compact
from mml.data.schema import ColumnName, ColumnSpec, Schema
from mml.data.source import ColumnSource
from mml.errors import ConfigError, StateError, listed
from mml.protocols import Config, State


@dataclass(frozen=True, slots=True)
class Contents:
    """Columns, splits and records at one moment."""

    source: ColumnSource
    splits: Mapping[str, Rows] = field(default_factory=lambda: MappingProxyType({}))
    splitter_records: tuple[SplitterRecord, ...] = ()

    def with_splits(self, splits: Mapping[str, Rows], records: tuple[SplitterRecord, ...]) -> Contents:
        """Return the same columns, divided otherwise."""
        return replace(self, splits=MappingProxyType(dict(splits)), splitter_records=records)

    def with_transforms(self, transforms: tuple[ScalerRecord, ...]) -> Contents:
        """Return the same samples, transformed otherwise."""
        return replace(self, source=ColumnSource(self.source.collection, transforms))

    def extract(self, rows: Rows, *, schema: Schema) -> Contents:
        """Return some samples and the columns of a schema, with identities and fitted transforms."""
        visible = {(spec.name.domain, spec.name.key) for spec in schema}
        collection = self.source.collection
        raw = [str(spec.name) for spec in collection.schema if (spec.name.domain, spec.name.key) in visible]
        kept = []
        for record in self.source.transforms:
            shorter = record.without({key for key in record.keys if (record.domain, key) not in visible})
            kept += [] if shorter is None else [shorter]
        return Contents(ColumnSource(collection.take(rows, raw), tuple(kept)))

    def same_as(self, other: Contents) -> bool:
        """Return whether values, splits and fitted transforms are equal, bit for bit."""
        if list(self.splits) != list(other.splits) or self.splitter_records != other.splitter_records:
            return False
        pairs = ((rows, other.splits[name]) for name, rows in self.splits.items())
        if not all(np.array_equal(as_array(mine), as_array(theirs)) for mine, theirs in pairs):
            return False
        same_transforms = self.source.transforms == other.source.transforms
        return same_transforms and self.source.collection == other.source.collection

    def get_config(self) -> Config:
        """Return the structure as JSON-compatible values."""
        return {
            "columns": {str(spec.name): _column_config(spec) for spec in self.source.collection.schema},
            "splits": list(self.splits),
            "splitters": [record.get_config() for record in self.splitter_records],
            "scalers": [record.get_config() for record in self.source.transforms],
        }

    @classmethod
    def from_config(cls, config: Config) -> Contents:
        """Build contents of this structure: no samples, empty splits, scalers that are not fitted."""
        try:
            columns = {name: _arrow_type(name, one) for name, one in config["columns"].items()}
            splits = {name: slice(0, 0) for name in config["splits"]}
            splitters = tuple(SplitterRecord.from_config(one) for one in config["splitters"])
            scalers = tuple(ScalerRecord.from_config(one) for one in config["scalers"])
        except (KeyError, TypeError, AttributeError) as cause:
            raise ConfigError("This is no config of a FeatureSet.", found=repr(config)) from cause
        source = ColumnSource(empty_collection(columns), scalers)
        return cls(source).with_splits(splits, splitters)

    def get_state(self) -> State:
        """Return rows of the splits (int64) and what the scalers learnt; all arrays are owned copies."""
        splits = {name: np.array(as_array(rows)) for name, rows in self.splits.items()}
        return {"splits": splits, "transforms": [record.get_state() for record in self.source.transforms]}

    def with_state(self, state: State) -> Contents:
        """Return contents of the same structure with these values.

        Raises
        ------
        StateError
            If the state has other splits or transforms, or rows that the table does not have.
        """
        try:
            given, transforms = dict(state["splits"]), list(state["transforms"])
        except (KeyError, TypeError, ValueError) as cause:
            raise StateError("This is no state of a FeatureSet.", found=repr(state)) from cause
        if list(given) != list(self.splits) or len(transforms) != len(self.source.transforms):
            raise StateError(
                "The state has another structure than the FeatureSet.",
                expected=f"splits {listed(self.splits)}, {len(self.source.transforms)} transforms",
                found=f"splits {listed(given)}, {len(transforms)} transforms",
            )
        splits = {name: _checked_rows(name, rows, self.source.n_rows) for name, rows in given.items()}
        pairs = zip(self.source.transforms, transforms, strict=True)
        fitted = tuple(record.with_state(one) for record, one in pairs)
        return self.with_transforms(fitted).with_splits(splits, self.splitter_records)


def _column_config(spec: ColumnSpec) -> Config:
    zone = time_zone(spec.arrow_type)
    dtype = "string" if spec.dtype is None else str(spec.dtype)
    return {"dtype": dtype, "shape": list(spec.shape), **({} if zone is None else {"timezone": zone})}


def _arrow_type(name: str, config: Mapping[str, Any]) -> pa.DataType:
    ColumnName.parse(name)
    dtype, shape, zone = config["dtype"], list(config["shape"]), config.get("timezone")
    if dtype == "string":
        return STRING_TYPE
    try:
        scalar = pa.from_numpy_dtype(np.dtype(dtype))
        scalar = pa.timestamp(scalar.unit, tz=zone) if zone is not None else scalar
        return pa.fixed_shape_tensor(scalar, shape) if shape else scalar
    except (TypeError, ValueError, AttributeError, pa.ArrowException) as cause:
        raise ConfigError(f"'{name}' has no type that MML stores.", found=repr(dict(config))) from cause


def _checked_rows(name: str, rows: Any, n_rows: int) -> Rows:
    array = np.asarray(rows)
    if array.ndim != 1 or array.dtype != np.int64:
        raise StateError(
            f"The split {name!r} has no row numbers.",
            expected="int64 (n,)",
            found=f"{array.dtype} {array.shape}",
        )
    if len(array) and (int(array.min()) < 0 or int(array.max()) >= n_rows):
        raise StateError(
            f"The split {name!r} names rows that do not exist.",
            expected=f"0 to {n_rows - 1}" if n_rows else "none: this structure has no samples",
            found=f"{int(array.min())} to {int(array.max())}",
            hint=None if n_rows else "A config and a state hold no table; FeatureSet.load reads all three.",
        )
    return compact(array.copy())
