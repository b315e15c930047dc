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
    home: ExperimentContext,
) -> None:
    """Register nodes and the FeatureSets that they read in a context; free their labels in the default one.

    Parameters
    ----------
    context : ExperimentContext
        Where they go.
    nodes : iterable of ExperimentNode
    references : iterable of FeatureSetReference
        Looked up in the active context, else where the graph was at home before.
    home : ExperimentContext

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
        knowing = [one for one in (context, active, home) if is_known(reference, one)]
        if knowing and knowing[0] is not context:
            context.register(reference.resolve(knowing[0]))
    if active is not ExperimentContext.process_default() or active is context:
        return
    for node in context.nodes():
        if node in active:
            active.release(node)


def is_known(reference: FeatureSetReference, context: ExperimentContext) -> bool:
    """Whether a FeatureSet exists there; it may be made later, and whoever needs it says what is missing."""
    try:
        reference.resolve(context)
    except MMLError:
        return False
    return True
