"""`FeatureSetReference`: a frozen pointer to columns of a FeatureSet, resolved when a run needs them.

A reference is symbolic: the FeatureSet may not exist yet, and another may stand in for it in a temporary
context. It holds label and UUID, never the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from mml.context import ExperimentContext
from mml.data.schema import FEATURES, RAW, TAGS, TARGETS, TRANSFORMED, Schema, Selection, patterns
from mml.data.stacking import COMBINES
from mml.errors import ColumnError, ConfigError, DataError, did_you_mean
from mml.protocols import Config

if TYPE_CHECKING:
    from mml.data.featureset import FeatureSet


class HasSchema(Protocol):
    """A FeatureSet, a view or a snapshot."""

    @property
    def schema(self) -> Schema: ...


@dataclass(frozen=True)
class FeatureSetReference:
    """Columns of a FeatureSet, by name.

    Parameters
    ----------
    label : str
        Label of the FeatureSet.
    uuid : str, optional
        Its UUID; None where it does not exist yet.
    features, targets, tags : str or iterable of str
        What is selected in each domain; () for nothing.
    rep : str, optional
        The representation where a name does not say; None means transformed where it exists, else raw.
    combine : {None, "concat", "dict"}
        How several columns of different shapes become one input; None refuses them.
    """

    label: str
    uuid: str | None = None
    features: Selection = "*"
    targets: Selection = "*"
    tags: Selection = ()
    rep: str | None = None
    combine: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.label, str) or not self.label:
            raise ConfigError("A reference names a FeatureSet.", expected="its label", found=repr(self.label))
        if self.combine is not None and self.combine not in COMBINES:
            raise ConfigError(
                f"combine={self.combine!r} is not known.", hint=did_you_mean(str(self.combine), COMBINES)
            )
        for domain in (FEATURES, TARGETS, TAGS):
            with _located(self.label, domain):
                # Tuples, so that equal references hash equal whatever the user wrote them with.
                object.__setattr__(self, domain, tuple(patterns(getattr(self, domain))))

    def resolve(self, context: ExperimentContext | None = None) -> FeatureSet:
        """Return the FeatureSet that this points to.

        Parameters
        ----------
        context : ExperimentContext, optional
            Where to look; None means the active one.

        Raises
        ------
        RegistrationError
            If the context has no such node; near misses are listed.
        DataError
            If the node is not a FeatureSet.
        """
        from mml.data.featureset import FeatureSet

        context = ExperimentContext.active() if context is None else context
        node = None if self.uuid is None else context.find(self.uuid)
        node = context.get(self.label) if node is None else node
        if not isinstance(node, FeatureSet):
            raise DataError(
                f"{self.label!r} is not a FeatureSet.", expected="a FeatureSet", found=type(node).__name__
            )
        return node

    def columns(self, featureset: HasSchema) -> dict[str, tuple[str, ...]]:
        """Return the full column names per domain, as they are selected at this moment.

        Parameters
        ----------
        featureset : FeatureSet, FeatureSetView or ColumnSource
            What the reference was resolved to.

        Raises
        ------
        ColumnError
            If a name is unknown or ambiguous.
        """
        schema, names = featureset.schema, {}
        for domain in (FEATURES, TARGETS, TAGS):
            with _located(self.label, domain):
                names[domain] = schema.select(getattr(self, domain), domain=domain, rep=self.rep)
        return names

    def check_keys(self, featureset: HasSchema) -> None:
        """Raise ColumnError for a key that the FeatureSet does not have.

        Representations are not looked at: a scaler may still be fitted before the reference is resolved.
        """
        for domain in (FEATURES, TARGETS, TAGS):
            keys = [_without_representation(name) for name in getattr(self, domain)]
            with _located(self.label, domain):
                featureset.schema.select(keys, domain=domain)

    def get_config(self) -> Config:
        """Return the reference as JSON-compatible values."""
        return {
            "label": self.label,
            "uuid": self.uuid,
            "features": list(self.features),
            "targets": list(self.targets),
            "tags": list(self.tags),
            "rep": self.rep,
            "combine": self.combine,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal reference."""
        settings: dict[str, Any] = dict(config)
        unknown = set(settings) - set(cls.__dataclass_fields__)
        if unknown or "label" not in settings:
            raise ConfigError(
                "This is no config of a FeatureSetReference.",
                expected=", ".join(cls.__dataclass_fields__),
                found=", ".join(map(str, settings)),
            )
        return cls(**settings)


@contextmanager
def _located(label: str, domain: str) -> Iterator[None]:
    try:
        yield
    except ColumnError as error:
        error.located({"FeatureSet": label, "domain": domain})
        raise


def _without_representation(name: str) -> str:
    for representation in (RAW, TRANSFORMED):
        name = name.removesuffix(f".{representation}")
    return name
