"""Building the nodes of a graph: shapes inferred from the references down, without touching data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeGuard

from mml.backends import InputShape
from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import MMLError, RegistrationError, ShapeError, did_you_mean
from mml.graph.nodes import ComputeNode, ModelNode
from mml.graph.references import ModelIOReference, Reference
from mml.graph.shapes import reference_shape
from mml.random import derive_seed


def initial_seed(seed: int, label: str) -> int:
    """Return the seed of a node's initial values, which depends on the graph's seed and the label alone."""
    return derive_seed(seed, "initial values", label)


def build_nodes(
    nodes: Mapping[str, ComputeNode], *, seed: int, context: ExperimentContext | None = None
) -> None:
    """Build every node whose input is known, in topological order.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
        In topological order.
    seed : int
        The graph's.
    context : ExperimentContext, optional
        Where FeatureSets are looked up; the active one where left out.

    Raises
    ------
    RegistrationError
        If FeatureSets do not exist yet; all of them are named, and nothing is built.
    ShapeError
        If shapes do not fit; both nodes are named.
    """
    _require_featuresets(nodes, ExperimentContext.active() if context is None else context)
    shapes: dict[str, InputShape | None] = {}
    for label, node in nodes.items():
        incoming = [_shape(node, one, shapes, context) for one in node.upstream]
        known = [shape for shape in incoming if shape is not None]
        if len(known) == len(incoming):
            node.build(known, seed=initial_seed(seed, label))
        elif isinstance(node, ModelNode):
            node.wrap()
        shapes[label] = node.output_shape


def _require_featuresets(nodes: Mapping[str, ComputeNode], context: ExperimentContext) -> None:
    missing: list[tuple[str, str]] = []
    for label, node in nodes.items():
        for reference in node.upstream:
            if isinstance(reference, ModelIOReference):
                continue
            try:
                reference.resolve(context)
            except RegistrationError:
                missing.append((label, reference.label))
            except MMLError as error:
                raise error.located({"node": label}) from error.__cause__
    if not missing:
        return
    node_label, featureset = missing[0]
    known = [one.label for one in context.nodes() if isinstance(one, FeatureSet)]
    raise RegistrationError(
        f"The FeatureSet {featureset!r} does not exist yet.",
        where={"node": node_label},
        found="; ".join(f"{head!r} reads {label!r}" for head, label in missing),
        hint=f"Make it, and the graph can be built. {did_you_mean(featureset, known)}",
    )


def build_through(
    nodes: Mapping[str, ComputeNode],
    *,
    new: Collection[str],
    seed: int,
    context: ExperimentContext | None = None,
    rebuild: bool = False,
) -> tuple[str, ...]:
    """Build new nodes of a graph that was built, and hold all others to the shapes that they get now.

    What was not built before, because its width is not known yet, is left to `build_nodes`.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
        In topological order.
    new : collection of str
        Labels of the nodes to build.
    seed, context
        See `build_nodes`.
    rebuild : bool
        Build models that get another width again, with new initial values; those without values always are.

    Returns
    -------
    tuple of str
        Labels of the nodes that were built again.

    Raises
    ------
    ShapeError
        If shapes do not fit; both nodes are named.
    """
    shapes: dict[str, InputShape | None] = {}
    rebuilt: list[str] = []
    for label, node in nodes.items():
        known = [
            shape
            for one in node.upstream
            if (shape := _shape(node, one, shapes, context, may_be_missing=True)) is not None
        ]
        if len(known) == len(node.upstream):
            if _gets_another_width(node, known[0]) and (rebuild or not _has_values(node)):
                rebuilt += [label] if node.make_again() else []
            if label in new or label in rebuilt or node.is_built or not isinstance(node, ModelNode):
                _build_or_tell(node, known, seed=seed)
        elif label in new and isinstance(node, ModelNode):
            node.wrap()
        shapes[label] = node.output_shape
    return tuple(rebuilt)


def build_for_a_look(
    nodes: Mapping[str, ComputeNode], *, seed: int, context: ExperimentContext | None = None
) -> MMLError | None:
    """Build what can be built; return the first thing that stands against the rest, but for missing data."""
    shapes: dict[str, InputShape | None] = {}
    problem: MMLError | None = None
    for label, node in nodes.items():
        shapes[label] = None
        try:
            if isinstance(node, ModelNode):
                node.wrap()
            incoming = [_shape(node, one, shapes, context, may_be_missing=True) for one in node.upstream]
            known = [shape for shape in incoming if shape is not None]
            if len(known) == len(incoming):
                node.build(known, seed=initial_seed(seed, label))
            shapes[label] = node.output_shape
        except MMLError as error:
            problem = problem or error.located({"node": label})
    return problem


def _gets_another_width(node: ComputeNode, shape: InputShape) -> TypeGuard[ModelNode]:
    return isinstance(node, ModelNode) and node.is_built and node.input_shape != shape


def _has_values(node: ComputeNode) -> bool:
    """Whether building again would lose anything."""
    return node.model is not None and bool(node.model.variables())


def _build_or_tell(node: ComputeNode, shapes: list[InputShape], *, seed: int) -> None:
    try:
        node.build(shapes, seed=initial_seed(seed, node.label))
    except ShapeError as error:
        if isinstance(node, ModelNode) and node.is_built:
            error.hint = (
                "Pass rebuild=True to build it again with new initial values, or replace it, too."
                if node.is_declared
                else "Its model came ready-made and keeps its width: replace it, too."
            )
        raise


def _shape(
    node: ComputeNode,
    reference: Reference,
    shapes: Mapping[str, InputShape | None],
    context: ExperimentContext | None,
    *,
    may_be_missing: bool = False,
) -> InputShape | None:
    if isinstance(reference, ModelIOReference):
        return shapes[reference.label]
    try:
        return reference_shape(reference, context=context)
    except RegistrationError as error:
        if may_be_missing:
            return None
        raise error.located({"node": node.label}) from error.__cause__
    except MMLError as error:
        raise error.located({"node": node.label}) from error.__cause__
