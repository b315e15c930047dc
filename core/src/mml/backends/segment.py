"""What core hands to a backend: a segment, the part of a graph that one step executes together.

A segment is plain data. Its values live in one namespace: the names of its inputs and the keys of its calls.
Roles, masks, routing and stages are resolved before a segment exists, so a backend sees arrays, calls in
order, losses over named values, and who learns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from mml.backends.base_model import BaseModel
    from mml.backends.ops import ArrayOps

Mode = Literal["train", "eval", "fit"]


class Merge(Protocol):
    """A differentiable combination of arrays, written once over a backend's array operations."""

    def merge(self, ops: ArrayOps, arrays: list[Any]) -> Any:
        """Combine arrays of shape ``(rows, ...)`` into one of shape ``(rows, ...)``."""
        ...


@dataclass(frozen=True, slots=True)
class SegmentInput:
    """An array that reaches the segment from outside.

    Parameters
    ----------
    name : str
        Its name among the segment's values.
    shape : tuple of int
        Shape of one row.
    dtype : str or None
        NumPy's name of the dtype that the rows arrive in, None where only the data can tell.
    rows : int
        Which column of `Block.rows` counts its live rows.
    origin : str or None
        The call of another segment that produces it, None for data.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str | None
    rows: int
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One execution of a node: a model or a merge over named values.

    Parameters
    ----------
    key : str
        Name of the result among the segment's values: the node's label, with the role unless it is the only
        one.
    node : str
        Label of the node.
    model : BaseModel or None
        The model to run; None for a merge.
    merge : Merge or None
        The combination to compute; None for a model.
    sources : tuple of str
        Names of the values that go in.
    learns : bool
        The node's parameters get updates in this segment. A call that does not learn runs in inference mode.
    rows : int
        Which column of `Block.rows` counts its live rows; with none, the call does not run at that step.
    targets : str or None
        Name of the target values, where the call fits an estimator.
    keys : tuple of str
        Where the model takes one mapping of arrays: the key of each source. Empty where it takes one array.
    """

    key: str
    node: str
    model: BaseModel | None
    merge: Merge | None
    sources: tuple[str, ...]
    learns: bool
    rows: int
    targets: str | None = None
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentLoss:
    """One loss over named values.

    Parameters
    ----------
    label : str
        Unique within the phase.
    function : LossFunction or object
        What `Loss.resolve` gave for this backend: see `LossFunction`.
    arguments : tuple of str
        Names of the values that are passed, in order; a name per keyword where `keywords` is given.
    weight : float
        Factor of this loss in the total.
    rows : int
        Which column of `Block.rows` counts the rows that are live in all arguments.
    keywords : tuple of str
        Keyword names for the arguments, empty where they are positional.
    sample_weight : str or None
        Name of the row weights, shape ``(rows, 1)``.
    context : bool
        The function takes a keyword ``context`` and receives the step's entry of `Controls.contexts`, a
        Python object: a program runs such a segment eagerly, whatever it compiles otherwise.
    written : tuple of str
        The arguments as the user wrote them, for messages only.
    """

    label: str
    node: str
    function: LossFunction
    arguments: tuple[str, ...]
    weight: float
    rows: int
    keywords: tuple[str, ...] = ()
    sample_weight: str | None = None
    context: bool = False
    written: tuple[str, ...] = field(default=(), compare=False)


class LossFunction(Protocol):
    """A loss as a program calls it, on live rows only.

    ``reduction="mean"`` gives the mean over rows as a scalar of the backend, ``"none"`` one value a row. A
    framework's own loss object, whose meaning is its own, is wrapped by its backend into the same shape.
    """

    def __call__(self, *values: Any, reduction: str = "mean", **named: Any) -> Any:
        """Compute the loss of values of shape ``(rows, ...)``."""
        ...


@dataclass(frozen=True, slots=True)
class SegmentOptimizer:
    """An optimizer and the nodes whose parameters it steps.

    Parameters
    ----------
    rule : object
        What `Optimizer.resolve` gave for this backend: an `UpdateRule`, or a backend's own kind of it.
    slots : SlotStore
        Where the optimizer keeps its state, keyed ``<node label>/<parameter name>``; it outlives programs.
    nodes : tuple of str
        Labels of the nodes it steps.
    clip_norm : float or None
        Largest global norm of the gradients over all its parameters.
    clip_value : float or None
        Largest absolute value of a gradient's element.
    """

    rule: Any
    slots: SlotStore
    nodes: tuple[str, ...]
    clip_norm: float | None = None
    clip_value: float | None = None


class SlotStore(Protocol):
    """An optimizer's state, owned by core and shared by every program.

    A variable's slots are ``"step"``, the number of updates that it received, and the rule's arrays by name.
    A program makes them when it first needs them, changes them in place, and turns NumPy arrays, which
    restored slots are, into native ones when it meets them.
    """

    def slots_of(self, variable: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the slots of one variable, made by `make` at the first call; changes to it are kept."""
        ...


class UpdateRule(Protocol):
    """An optimizer written over a backend's array operations: pure, one variable at a time."""

    slot_names: tuple[str, ...]

    def update(
        self, ops: ArrayOps, variable: Any, gradient: Any, slots: Mapping[str, Any], *, rate: float, step: int
    ) -> tuple[Any, dict[str, Any]]:
        """Return the new variable and new slots after update number `step` (counted from 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """A maximal set of calls of one backend that one step executes together.

    Parameters
    ----------
    backend : str
    mode : {"train", "eval", "fit"}
    inputs, calls, losses, optimizers
        Calls stand in the order of execution.
    outputs : tuple of str
        Keys of the calls whose results are returned, one array a step.
    device : str or None
    n_rows : int
        How many columns `Block.rows` has.
    deterministic : bool
        Ask for kernels that give equal bits in every run.
    precision : str
        One of the backend's `Capabilities.precisions`; another than ``"float32"`` in mode ``train`` only.
    jit_compile : bool
        Hand the calls to the framework's optimising compiler; only where `Capabilities.compiler` says so.
    options : mapping
        What a call that fits needs to know beforehand: under ``classes``, by node label, the sorted class
        values of the whole split, for learners that take batch by batch.
    """

    backend: str
    mode: Mode
    inputs: tuple[SegmentInput, ...]
    calls: tuple[Call, ...]
    losses: tuple[SegmentLoss, ...] = ()
    optimizers: tuple[SegmentOptimizer, ...] = ()
    outputs: tuple[str, ...] = ()
    device: str | None = None
    n_rows: int = 1
    deterministic: bool = False
    precision: str = "float32"
    jit_compile: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def learning(self) -> tuple[str, ...]:
        """Labels of the nodes that learn, in order, each once."""
        return tuple(dict.fromkeys(call.node for call in self.calls if call.learns))

    def reached_by(self, losses: Iterable[SegmentLoss]) -> frozenset[str]:
        """Return the keys of the calls that gradients of these losses flow through.

        A program lets a call learn in a step only if it is among those of the losses with live rows: another
        call gets no update, and its running statistics stay as they are.

        Parameters
        ----------
        losses : iterable of SegmentLoss
        """
        values = {name for loss in losses for name in loss.arguments}
        for call in reversed(self.calls):
            if call.key in values:
                values.update(call.sources)
        return frozenset(call.key for call in self.calls if call.key in values)
