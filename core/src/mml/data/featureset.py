"""`FeatureSet`: samples with named splits and fitted transforms, under a label in a context.

Everything that changes is one immutable `Contents`, swapped in a single assignment: an operation that fails
leaves the FeatureSet as it was, and a snapshot that a phase took stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self

from mml.context import ExperimentNode
from mml.data import featureset_file
from mml.data.access import ColumnAccess, Window
from mml.data.collection import SampleCollection
from mml.data.conditions import Conditions
from mml.data.constructors import Constructible
from mml.data.contents import Contents
from mml.data.divided import Divided
from mml.data.html_summary import html_summary
from mml.data.records import ScalerRecord, SplitterRecord
from mml.data.reference import FeatureSetReference
from mml.data.rows import count
from mml.data.scalable import Scalable
from mml.data.schema import FEATURES, TAGS, TARGETS, Selection
from mml.data.source import ColumnSource
from mml.data.split_views import SplitViews
from mml.data.summary import summarize
from mml.data.view import FeatureSetView
from mml.errors import ConfigError, MMLError
from mml.files import Archive
from mml.protocols import Config, State
from mml.registry import reading_file


class FeatureSet(ExperimentNode, Constructible, ColumnAccess, Divided, Scalable):
    """Samples in features, targets and tags; see the ``from_*`` class methods for how one is made.

    Parameters
    ----------
    label : str
        Unique in its context.
    collection : SampleCollection
        The raw columns.
    uuid : str, optional
        Its identity, given when it is rebuilt from a file.

    Examples
    --------
    >>> import numpy as np
    >>> from mml.context import ExperimentContext
    >>> with ExperimentContext().activate():
    ...     data = {"x": np.ones((10, 3), "float32"), "y": np.arange(10)}
    ...     cells = FeatureSet.from_dict("cells", data, feature_keys="x", target_keys="y")
    >>> parts = cells.split_random(ratios={"train": 0.8, "test": 0.2}, seed=0)
    >>> len(cells["train"]), cells["test"].get_features().shape
    (8, (2, 3))
    """

    def __init__(self, label: str, collection: SampleCollection, *, uuid: str | None = None) -> None:
        super().__init__(label, uuid=uuid)
        self._contents = Contents(ColumnSource(collection))
        self._register()

    # Reading

    @property
    def fingerprint(self) -> str:
        """A stable hash of the raw columns' schema and values; computed when first asked for."""
        return self.snapshot().collection.fingerprint

    @property
    def splits(self) -> Mapping[str, FeatureSetView]:
        """The named splits, in the order in which they were made; an unknown name is a SplitError."""
        return SplitViews(self, self._contents.splits)

    @property
    def splitter_records(self) -> tuple[SplitterRecord, ...]:
        """How the splits were made."""
        return self._contents.splitter_records

    @property
    def scaler_records(self) -> tuple[ScalerRecord, ...]:
        """The fitted transforms, in the order in which they were applied."""
        return self.snapshot().transforms

    def __getitem__(self, split: str) -> FeatureSetView:
        return self.splits[split]

    def __contains__(self, split: object) -> bool:
        return split in self.splits

    def snapshot(self) -> ColumnSource:
        """Return the columns as they are now; later splits and transforms do not change it."""
        return self._contents.source

    def view(self) -> FeatureSetView:
        """Return a view of all samples."""
        return FeatureSetView(self, slice(0, self.snapshot().n_rows))

    def filter(self, conditions: Conditions) -> FeatureSetView:
        """Return the samples that fulfil all conditions; see `FeatureSetView.filter`."""
        return self.view().filter(conditions)

    def take(self, positions: Any) -> FeatureSetView:
        """Return the samples at these positions; see `FeatureSetView.take`."""
        return self.view().take(positions)

    def take_sample_uuids(self, uuids: Any) -> FeatureSetView:
        """Return the samples of these UUIDs; see `FeatureSetView.take_sample_uuids`."""
        return self.view().take_sample_uuids(uuids)

    def select(self, columns: Selection) -> FeatureSetView:
        """Return all samples with these columns only; see `FeatureSetView.select`."""
        return self.view().select(columns)

    def summary(self) -> str:
        """Return columns, values that are missing or not finite, splits and transforms as a text table."""
        return summarize(f"FeatureSet {self.label!r}", **self._described())

    def _repr_html_(self) -> str:
        return html_summary(f"FeatureSet {self.label!r}", **self._described())

    def _described(self) -> dict[str, Any]:
        sizes = {name: count(rows) for name, rows in self._contents.splits.items()}
        return {"window": self._window(), "splits": sizes, "records": self.scaler_records}

    def reference(
        self,
        *,
        features: Selection = "*",
        targets: Selection = "*",
        tags: Selection = (),
        rep: str | None = None,
        combine: str | None = None,
    ) -> FeatureSetReference:
        """Return a symbolic pointer to columns of this FeatureSet.

        Parameters
        ----------
        features, targets, tags : str or iterable of str
            Names or patterns; they are checked now, and resolved when a run needs them.
        rep : str, optional
            The representation; None means transformed where it exists then, else raw.
        combine : {None, "concat", "dict"}
            How columns of different shapes become one input of a node.
        """
        reference = FeatureSetReference(
            self.label, self.uuid, features=features, targets=targets, tags=tags, rep=rep, combine=combine
        )
        reference.check_keys(self)
        return reference

    # Copies and files

    def copy(self, label: str) -> FeatureSet:
        """Return a FeatureSet of another label over the same data, with the same splits and transforms."""
        twin = FeatureSet(label, self.snapshot().collection)
        twin._contents = self._contents
        return twin

    def _extract(self, view: FeatureSetView, label: str) -> FeatureSet:
        contents = self._contents.extract(view.row_index, schema=view.schema)
        made = FeatureSet(label, contents.source.collection)
        made._contents = contents
        return made

    def get_config(self) -> Config:
        """Return the structure: label, UUID, columns, splits and transforms, without values."""
        return {"label": self.label, "uuid": self.uuid, **self._contents.get_config()}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build a FeatureSet of this structure: columns, empty splits and unfitted transforms, no samples.

        The table is neither config nor state: :meth:`load` brings all three.
        """
        return cls._restored(config, Contents.from_config(config))

    def get_state(self) -> State:
        """Return the values beside the table: rows of the splits and what the scalers learnt."""
        return self._contents.get_state()

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; nothing is fitted again."""
        self._contents = self._contents.with_state(state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write data, splits and fitted transforms to a ``.mml`` file, completely or not at all."""
        featureset_file.save(path, config=self.get_config(), contents=self._contents)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, trusted: Sequence[str] = ()) -> Self:
        """Read a file that :meth:`save` wrote; the table stays mapped, and nothing is fitted again.

        Parameters
        ----------
        path : str or path
        trusted : sequence of str
            Modules or Python paths of your own scalers and splitters that the file may name.

        Raises
        ------
        ArchiveError
            If the file is damaged or holds something else, or names code that nobody vouches for.
        RegistrationError
            If the context holds another node of its label, as the FeatureSet that was saved.
        """
        with reading_file(trusted=trusted):
            config, contents = featureset_file.load(path)
        try:
            return cls._restored(config, contents)
        except MMLError as error:
            raise error.located({"file": os.fspath(path)}) from error.__cause__

    def archive_members(self, *, prefix: str) -> dict[str, Any]:
        """Return the members that make up this FeatureSet in an archive of something larger."""
        return featureset_file.archive_members(self.get_config(), self._contents, prefix=prefix)

    @classmethod
    def from_archive(cls, archive: Archive, *, path: str | os.PathLike[str], prefix: str) -> Self:
        """Read a FeatureSet out of an archive that also holds other things; errors as of :meth:`load`."""
        return cls._restored(*featureset_file.from_archive(archive, path=path, prefix=prefix))

    @classmethod
    def _restored(cls, config: Config, contents: Contents) -> Self:
        if not isinstance(config.get("label"), str):
            raise ConfigError("The config of a FeatureSet names its label.", found=repr(config))
        made = cls(config["label"], contents.source.collection, uuid=config.get("uuid"))
        made._contents = contents
        return made

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, FeatureSet) or self.label != other.label:
            return False
        return self._contents.same_as(other._contents)

    def __hash__(self) -> int:
        return hash((FeatureSet, self.label))

    def __repr__(self) -> str:
        keys = {domain: len(self.schema.keys(domain)) for domain in (FEATURES, TARGETS, TAGS)}
        columns = ", ".join(f"{number} {domain}" for domain, number in keys.items() if number)
        return f"FeatureSet({self.label!r}, {len(self)} samples, {columns}, splits {list(self.splits)})"

    def _window(self) -> Window:
        source = self.snapshot()
        return Window(source, slice(0, source.n_rows), source.schema)

    def _place(self) -> dict[str, str]:
        return {"FeatureSet": self.label}
