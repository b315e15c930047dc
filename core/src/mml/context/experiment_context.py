"""Contexts: the namespaces in which labels and UUIDs mean nodes.

Which context is active, and what is substituted in it, are context variables: a thread or an asyncio task
that activates one or substitutes something changes nothing for the others. Nodes are held as they are; this
module knows only that they have a label and a UUID.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

from mml.context.policy import RegistrationPolicy
from mml.errors import OverwriteWarning, RegistrationError, did_you_mean
from mml.user_warning import warn_user

if TYPE_CHECKING:
    from mml.context.node import ExperimentNode


@dataclass
class _Names:
    """What labels and UUIDs mean at one moment."""

    by_label: dict[str, ExperimentNode] = field(default_factory=dict)
    by_uuid: dict[str, ExperimentNode] = field(default_factory=dict)

    def copy(self) -> _Names:
        return _Names(dict(self.by_label), dict(self.by_uuid))

    def find(self, name: str) -> ExperimentNode | None:
        # By presence: a data set without rows is false.
        found = self.by_label.get(name)
        return self.by_uuid.get(name) if found is None else found

    def rivals(self, node: ExperimentNode) -> list[ExperimentNode]:
        known = [self.by_label.get(node.label), self.by_uuid.get(node.uuid)]
        return [one for one in known if one is not None and one is not node]

    def put(self, node: ExperimentNode) -> None:
        self.by_label[node.label] = node
        self.by_uuid[node.uuid] = node

    def drop(self, node: ExperimentNode) -> None:
        self.by_label = {label: one for label, one in self.by_label.items() if one is not node}
        self.by_uuid = {uuid: one for uuid, one in self.by_uuid.items() if one is not node}


_ACTIVE: ContextVar[ExperimentContext | None] = ContextVar("mml_active_context", default=None)
# One variable for the substitutions of all contexts: a variable per context would never be collected.
_LAYERS: ContextVar[tuple[tuple[ExperimentContext, _Names], ...]] = ContextVar(
    "mml_context_layers", default=()
)


class ExperimentContext:
    """A registry of nodes by label and by UUID.

    Parameters
    ----------
    policy : RegistrationPolicy or str, optional
        What happens when a label is registered twice; by default as :meth:`RegistrationPolicy.default`
        says at that moment.

    Examples
    --------
    >>> context = ExperimentContext()
    >>> with context.activate():
    ...     ExperimentContext.active() is context
    True
    """

    def __init__(self, *, policy: RegistrationPolicy | str | None = None) -> None:
        self._lock = threading.RLock()
        self._own = _Names()
        # Weak, so that a loop that makes a data set per seed does not keep all of them alive.
        self._released: WeakValueDictionary[str, ExperimentNode] = WeakValueDictionary()
        self._policy = None if policy is None else RegistrationPolicy(policy)

    @classmethod
    def active(cls) -> ExperimentContext:
        """Return the context that is active here, or the default one of the process."""
        return _ACTIVE.get() or _DEFAULT

    @classmethod
    def process_default(cls) -> ExperimentContext:
        """Return the context that is active wherever no other one is."""
        return _DEFAULT

    @property
    def policy(self) -> RegistrationPolicy:
        """What happens when a label is registered twice."""
        return self._policy or RegistrationPolicy.default()

    @policy.setter
    def policy(self, policy: RegistrationPolicy | str | None) -> None:
        self._policy = None if policy is None else RegistrationPolicy(policy)

    @contextmanager
    def activate(self) -> Iterator[Self]:
        """Make this the active context inside a ``with`` block, for this thread or task only."""
        token = _ACTIVE.set(self)
        try:
            yield self
        finally:
            _ACTIVE.reset(token)

    @contextmanager
    def temporary(self, substitutions: Mapping[str, ExperimentNode] | None = None) -> Iterator[Self]:
        """Activate this context with other nodes in place of some, for a ``with`` block.

        Inside, and for this thread or task only, each label or UUID in `substitutions` means the given node,
        under the original's label and UUID both. Whatever is registered or removed inside is undone at the
        end, also after an exception.

        Parameters
        ----------
        substitutions : mapping of str to ExperimentNode, optional
            Label or UUID of a node in this context → what stands in for it.

        Raises
        ------
        RegistrationError
            If a key names nothing: a substitution with a misspelt label would silently not happen.
        """
        with self._lock:
            names = self._substituted(substitutions or {})
        token = _LAYERS.set((*_LAYERS.get(), (self, names)))
        try:
            with self.activate():
                yield self
        finally:
            _LAYERS.reset(token)

    def register(self, node: ExperimentNode) -> None:
        """Add a node under its label and UUID, as the policy says.

        Raises
        ------
        RegistrationError
            If another node, of whatever kind, has the label or the UUID and the policy is ERROR.
        """
        _check_node(node)
        policy = self.policy
        if policy is RegistrationPolicy.NO_REGISTER:
            return
        with self._lock:
            names = self._names()
            rivals = names.rivals(node)
            if rivals and policy is RegistrationPolicy.ERROR:
                raise _taken(node, rivals[0])
            # In this order a reader in another thread finds one of them at any moment.
            names.put(node)
            for rival in rivals:
                names.drop(rival)
        if rivals and policy is RegistrationPolicy.OVERWRITE_WARN:
            warn_user(_replaced(node, rivals[0]), OverwriteWarning)

    def remove(self, label: str) -> None:
        """Take out the node of a label or UUID.

        Raises
        ------
        RegistrationError
            If there is none.
        """
        with self._lock:
            self._names().drop(self.get(label))

    def release(self, node: ExperimentNode) -> None:
        """Free a node's label for others, because another context has taken the node over.

        As long as somebody holds the node, references to its UUID still find it here.
        """
        with self._lock:
            self._names().drop(node)
            self._released[node.uuid] = node

    def remember(self) -> Callable[[], None]:
        """Return a function that puts what is registered here back to what it is now."""
        with self._lock:
            names = self._names()
            kept = names.copy()

        def put_back() -> None:
            with self._lock:
                names.by_label, names.by_uuid = kept.by_label, kept.by_uuid

        return put_back

    def get(self, label_or_uuid: str) -> ExperimentNode:
        """Return the node of a label or UUID.

        Raises
        ------
        RegistrationError
            If there is none; near misses are listed.
        """
        found = self.find(label_or_uuid)
        if found is None:
            raise RegistrationError(
                f"The context has no node {label_or_uuid!r}.",
                hint=did_you_mean(str(label_or_uuid), self.labels()),
            )
        return found

    def find(self, label_or_uuid: str) -> ExperimentNode | None:
        """Return the node of a label or UUID, or None."""
        found = self._names().find(label_or_uuid)
        return self._released.get(label_or_uuid) if found is None else found

    def labels(self) -> tuple[str, ...]:
        """Return all labels in the order of registration."""
        with self._lock:
            return tuple(self._names().by_label)

    def nodes(self) -> tuple[ExperimentNode, ...]:
        """Return all nodes in the order of registration."""
        with self._lock:
            return tuple(dict.fromkeys(self._names().by_label.values()))

    def __contains__(self, item: object) -> bool:
        """Whether a label, a UUID or a node is here."""
        if isinstance(item, str):
            return self.find(item) is not None
        return any(one is item for one in self.nodes())

    def __len__(self) -> int:
        return len(self.labels())

    def __iter__(self) -> Iterator[ExperimentNode]:
        return iter(self.nodes())

    def __bool__(self) -> bool:
        # An empty context is still a context.
        return True

    def __repr__(self) -> str:
        return f"ExperimentContext({', '.join(map(repr, self.labels()))})"

    def _names(self) -> _Names:
        """Return what names mean here and now: the innermost substitution of this thread, or the own ones."""
        for context, names in reversed(_LAYERS.get()):
            if context is self:
                return names
        return self._own

    def _substituted(self, substitutions: Mapping[str, ExperimentNode]) -> _Names:
        before, names = self._names(), self._names().copy()
        for name, node in substitutions.items():
            _check_node(node)
            original = self.get(name)
            names.by_label.setdefault(node.label, node)
            names.by_uuid.setdefault(node.uuid, node)
            # By what stood there before, so that two nodes can take each other's place.
            names.by_label |= {key: node for key, one in before.by_label.items() if one is original}
            names.by_uuid |= {key: node for key, one in before.by_uuid.items() if one is original}
        return names


_DEFAULT = ExperimentContext()


def _check_node(node: object) -> None:
    if not isinstance(getattr(node, "label", None), str) or not isinstance(getattr(node, "uuid", None), str):
        raise RegistrationError(
            "A context holds nodes only.", expected="an object with a label and a UUID", found=repr(node)
        )


def _taken(node: ExperimentNode, rival: ExperimentNode) -> RegistrationError:
    what = "label" if rival.label == node.label else "UUID"
    return RegistrationError(
        f"The {what} of {node!r} is already taken in its context.",
        found=repr(rival),
        hint="Choose another label, remove the earlier node, work in a context of its own (`with "
        "mml.ExperimentContext().activate():`), or let later nodes replace earlier ones "
        "(mml.ExperimentContext.active().policy = 'overwrite').",
    )


def _replaced(node: ExperimentNode, rival: ExperimentNode) -> str:
    return f"{node!r} replaced an earlier {type(rival).__name__} of the same label in its context."
