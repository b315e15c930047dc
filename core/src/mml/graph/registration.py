"""Where a graph is at home: the context that knows its nodes and the FeatureSets that they read."""

from __future__ import annotations

from collections.abc import Iterable

from mml.context import ExperimentContext, ExperimentNode
from mml.data import FeatureSetReference
from mml.errors import MMLError


def move_in(
    context: ExperimentContext,
    *,
    nodes: Iterable[ExperimentNode],
    references: Iterable[FeatureSetReference],
) -> None:
    """Register nodes and the FeatureSets that they read in a context; free their labels in the default one.

    Parameters
    ----------
    context : ExperimentContext
        Where they go.
    nodes : iterable of ExperimentNode
    references : iterable of FeatureSetReference
        Looked up in the active context.

    Raises
    ------
    RegistrationError
        If a label is taken there.
    """
    active = ExperimentContext.active()
    for node in nodes:
        # By UUID, under which a temporary context may have put another one in its place.
        if context.find(node.uuid) is None:
            context.register(node)
    for reference in references:
        if not _is_known(reference, context) and _is_known(reference, active):
            context.register(reference.resolve(active))
    if active is not ExperimentContext.process_default() or active is context:
        return
    for node in context.nodes():
        if node in active:
            active.release(node)


def _is_known(reference: FeatureSetReference, context: ExperimentContext) -> bool:
    """Whether a FeatureSet exists there; it may be made later, and whoever needs it says what is missing."""
    try:
        reference.resolve(context)
    except MMLError:
        return False
    return True
