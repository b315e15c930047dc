"""Arrays that a user hands in for one step, as lanes and rows: the form in which phases bring their data.

All heads share one source of columns as far as what they are given agrees, so that targets which are the same
are known to be the same where branches meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mml.backends import InputShape
from mml.context import ExperimentContext, RegistrationPolicy
from mml.data import FeatureSet, FeatureSetReference
from mml.data.schema import RAW, TRANSFORMED, ColumnName
from mml.errors import GraphError, MMLError, ShapeError, did_you_mean, listed
from mml.graph.losses.routing import DEFAULT_ROLE
from mml.graph.nodes import ComputeNode, MergeNode, ModelNode
from mml.graph.plan import FEATURES, TAGS, TARGETS, Lane
from mml.graph.references import ModelIOReference
from mml.graph.shapes import columns_shape
from mml.processing import Batch, BatchView
from mml.processing.batch_view import MASKED

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Given:
    """What one input of a head is given: per domain and column, all roles below each other.

    Parameters
    ----------
    domains : mapping of str to mapping of str to ndarray
        Domain → column → ``(rows of all roles, *shape)``.
    rows : mapping of str to ndarray of int64
        By role: the rows of the arrays, -1 where masked.
    arrays : frozenset of str
        Domains of which one array is given, which is used as it is.
    """

    domains: Mapping[str, Columns]
    rows: Mapping[str, np.ndarray]
    arrays: frozenset[str] = frozenset()

    def agrees_with(self, other: Given) -> bool:
        """Whether both can be rows of one FeatureSet: what has one name is the same."""
        mine, others = self.rows, other.rows
        if mine.keys() != others.keys() or any(not np.array_equal(mine[r], others[r]) for r in mine):
            return False
        return all(
            key not in other.domains[domain] or _same(array, other.domains[domain][key])
            for domain, columns in self.domains.items()
            for key, array in columns.items()
        )


@dataclass(frozen=True)
class GivenStep:
    """One step's data.

    Parameters
    ----------
    lanes : tuple of Lane
    views : dict of str to BatchView
        By lane: the rows of the step.
    """

    lanes: tuple[Lane, ...]
    views: dict[str, BatchView]


def inputs_of(nodes: Mapping[str, ComputeNode]) -> dict[str, tuple[ComputeNode, int]]:
    """Return the data inputs of a graph by name: the node, and which of its upstreams it is."""
    return {
        node.label if len(node.upstream) == 1 else f"{node.label}[{number}]": (node, number)
        for node in nodes.values()
        for number, reference in enumerate(node.upstream)
        if not isinstance(reference, ModelIOReference)
    }


def given_step(
    nodes: Mapping[str, ComputeNode], inputs: Any, *, targets: Any = None, tags: Any = None
) -> GivenStep:
    """Return what a user gives for one step as lanes and rows.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
    inputs : array, mapping of str to array, or Batch; or a mapping from inputs of the graph to such
    targets, tags : array or mapping of str to array; or a mapping from inputs of the graph to such
        In the form of `inputs`; none beside a Batch, which has its own.

    Raises
    ------
    GraphError
        If an input does not exist, or is no array with a row for each sample.
    ShapeError
        If an input has another shape than its node was built for, or numbers of rows differ.
    """
    known = inputs_of(nodes)
    by_name = _by_name(inputs, known)
    parts = {
        TARGETS: _by_name(targets, known, like=by_name),
        TAGS: _by_name(tags, known, like=by_name),
    }
    given: dict[str, Given] = {}
    for name, value in by_name.items():
        node, number = known[name]
        own = {domain: part.get(name) for domain, part in parts.items()}
        try:
            given[name] = _given(value, own, node.upstream[number])
        except MMLError as error:
            raise error.located({"input": name}) from error.__cause__
    lanes, views = _lanes(given, known)
    for lane in lanes:
        _check_shape(lane, *known[lane.name])
    return GivenStep(lanes, views)


def _by_name(
    given: Any, known: Mapping[str, Any], *, like: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what is given by input; something alone is for the only input, or for all that are `like` it."""
    if given is None:
        return {}
    if isinstance(given, Mapping) and not isinstance(given, Batch) and given and set(given) <= set(known):
        return dict(given)
    if isinstance(given, Mapping) and not isinstance(given, Batch) and set(given) & set(known):
        unknown = next(name for name in given if name not in known)
        raise GraphError(f"The graph has no input {unknown!r}.", hint=did_you_mean(str(unknown), known))
    if like is not None:
        return dict.fromkeys(like, given)
    if len(known) != 1:
        raise GraphError(
            "A graph with several inputs needs its data by input.",
            expected=f"a mapping with {listed(known)}",
            found=f"{type(given).__name__}"
            + (f" with the keys {listed(given)}" if isinstance(given, Mapping) else ""),
        )
    return {next(iter(known)): given}


def _given(value: Any, own: Mapping[str, Any], reference: FeatureSetReference | ModelIOReference) -> Given:
    assert isinstance(reference, FeatureSetReference)  # `inputs_of` names no others
    if isinstance(value, Batch):
        if any(one is not None for one in own.values()):
            raise GraphError(
                "A Batch has targets and tags of its own.", hint="Leave `targets` and `tags` out."
            )
        return _of_batch(value)
    domains = {
        FEATURES: _columns(value, FEATURES, reference.features),
        TARGETS: _columns(own[TARGETS], TARGETS, reference.targets),
        TAGS: _columns(own[TAGS], TAGS, reference.tags),
    }
    lengths = {len(array) for columns in domains.values() for array in columns.values()}
    if len(lengths) > 1:
        raise ShapeError(
            "The arrays of a step have different numbers of rows.",
            found=", ".join(
                f"{key} {array.shape}" for columns in domains.values() for key, array in columns.items()
            ),
        )
    n_rows = lengths.pop() if lengths else 0
    alone = {FEATURES: value, **own}
    return Given(
        domains,
        {DEFAULT_ROLE: np.arange(n_rows)},
        arrays=frozenset(domain for domain, one in alone.items() if not isinstance(one, Mapping)),
    )


def _of_batch(batch: Batch) -> Given:
    roles = batch.roles
    domains: dict[str, dict[str, np.ndarray]] = {FEATURES: {}, TARGETS: {}, TAGS: {}}
    rows: dict[str, np.ndarray] = {}
    start = 0
    for role, samples in roles.items():
        rows[role] = np.where(samples.mask, np.arange(start, start + samples.n_rows), MASKED)
        start += samples.n_rows
    for domain, columns in domains.items():
        for key in getattr(next(iter(roles.values())), domain):
            columns[key] = np.concatenate([np.asarray(getattr(one, domain)[key]) for one in roles.values()])
    return Given(domains, rows)


def _columns(value: Any, domain: str, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the columns that are given, by key; a lone array is the only column that the node reads."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        selected = tuple(names)
        name = _stored(selected[0]).rpartition(".")[2] if len(selected) == 1 else domain
        value = {domain if "*" in name else name: value}
    columns = {str(key): np.asarray(array) for key, array in value.items()}
    for key, array in columns.items():
        if not array.ndim or (domain == FEATURES and array.dtype.kind not in "biuf"):
            raise GraphError(
                "What a step is given are arrays of numbers with a row for each sample.",
                where={"column": f"{domain}.{key}"},
                found=f"{array.dtype} {array.shape}",
            )
    return columns


# --- lanes -----------------------------------------------------------------------------------------------


def _lanes(
    given: Mapping[str, Given], known: Mapping[str, tuple[ComputeNode, int]]
) -> tuple[tuple[Lane, ...], dict[str, BatchView]]:
    lanes: list[Lane] = []
    for names in _agreeing(given):
        columns: dict[str, dict[str, np.ndarray]] = {FEATURES: {}, TARGETS: {}, TAGS: {}}
        for name in names:
            for domain, found in given[name].domains.items():
                columns[domain].update(found)
        source = _featureset(columns)
        for name in names:
            node, number = known[name]
            lanes.append(_lane(name, node, node.upstream[number], given=given[name], featureset=source))
    return tuple(lanes), {name: BatchView(dict(one.rows)) for name, one in given.items()}


def _lane(name: str, node: ComputeNode, reference: Any, *, given: Given, featureset: FeatureSet) -> Lane:
    schema = featureset.schema
    columns = {}
    for domain, found in given.domains.items():
        own = schema.only([str(ColumnName(domain, key, RAW)) for key in found])
        names = () if domain in given.arrays else tuple(_stored(one) for one in getattr(reference, domain))
        columns[domain] = own.select(names or "*", domain=domain) if found else ()
    return Lane(
        name,
        node.label,
        featureset.snapshot(),
        columns,
        None if FEATURES in given.arrays else reference.combine,
        tuple(given.rows),
        rows=np.arange(len(featureset)),
        featureset=reference.label,
    )


def _stored(name: str) -> str:
    """Return a column's name without its representation: what is given by hand has none."""
    for representation in (RAW, TRANSFORMED):
        name = name.removesuffix(f".{representation}")
    return name


def _agreeing(given: Mapping[str, Given]) -> Iterator[list[str]]:
    """Yield groups of inputs whose data can be columns of one FeatureSet."""
    groups: list[list[str]] = []
    for name, one in given.items():
        fitting = (group for group in groups if all(one.agrees_with(given[other]) for other in group))
        group = next(fitting, None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    yield from groups


def _featureset(columns: Mapping[str, Columns]) -> FeatureSet:
    with ExperimentContext(policy=RegistrationPolicy.NO_REGISTER).activate():
        return FeatureSet.from_numpy(
            "given", columns[FEATURES], targets=columns[TARGETS] or None, tags=columns[TAGS] or None
        )


def _check_shape(lane: Lane, node: ComputeNode, number: int) -> None:
    built: InputShape | None = None
    if isinstance(node, ModelNode):
        built = node.input_shape
    elif isinstance(node, MergeNode) and node.input_shapes is not None:
        built = node.input_shapes[number]
    if built is None:
        return
    try:
        found = columns_shape(lane.source, lane.columns[FEATURES], lane.combine)
    except MMLError as error:
        raise error.located({"input": lane.name}) from error.__cause__
    if found != built:
        raise ShapeError(
            "The input does not have the shape that the node was built for.",
            where={"node": node.label, "input": lane.name},
            expected=f"{built} a sample",
            found=f"{found} a sample",
        )


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    if one is other:
        return True
    return one.dtype == other.dtype and one.shape == other.shape and bool(np.all(one == other))
