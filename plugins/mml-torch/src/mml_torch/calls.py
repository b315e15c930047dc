"""The calls and losses of a segment as functions of one step's values, made once for a program.

What is known from the segment (which module, which values, whose rows have to be cut) is decided here, so
that a step only runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mml.backends import Call, Segment, SegmentLoss
from mml.errors import LossError, MMLError, ModelError
from mml_torch.ops import TorchOps

Values = dict[str, Tensor]
Fetch = Callable[[Values, int], Tensor]

# Beside the step's values, under a name that no value has: what losses with a `context` receive.
CONTEXT = "/context"


@dataclass(frozen=True, slots=True)
class CompiledCall:
    """One call: its result's name, whose rows it has, its module unless it merges, and what computes it."""

    key: str
    rows: int
    module: nn.Module | None
    run: Callable[[Values, int], Tensor]


@dataclass(frozen=True, slots=True)
class CompiledLoss:
    """One loss: whose rows it has, its weight, whether it is a sum over rows, and what computes it."""

    rows: int
    weight: float
    is_sum: bool
    run: Callable[[Values, int], Tensor]


def compile_calls(segment: Segment, ops: TorchOps) -> tuple[list[CompiledCall], list[CompiledCall]]:
    """Return the calls that no learning node precedes, and the others, each in order.

    The first need no gradients; in a segment that does not train, those are all.
    """
    columns = _columns(segment)
    constant: list[CompiledCall] = []
    learning: list[CompiledCall] = []
    reached: set[str] = set()
    jitted: dict[int, nn.Module] = {}
    for call in segment.calls:
        module = None if call.model is None else call.model.native
        runs = module
        if module is not None and segment.jit_compile:
            runs = jitted.setdefault(id(module), torch.compile(module))
        run = _guarded(_call(call, columns, ops, runs), call)
        compiled = CompiledCall(call.key, call.rows, module, run)
        if segment.mode == "train" and (call.learns or reached.intersection(call.sources)):
            reached.add(call.key)
            learning.append(compiled)
        else:
            constant.append(compiled)
    return constant, learning


def compile_losses(segment: Segment) -> list[CompiledLoss]:
    """Return the losses, in order."""
    columns = _columns(segment)
    return [
        CompiledLoss(
            loss.rows,
            float(loss.weight),
            bool(getattr(loss.function, "is_sum", False)),
            _guarded_loss(_loss(loss, columns, widened=segment.precision == "bf16"), loss),
        )
        for loss in segment.losses
    ]


def _columns(segment: Segment) -> dict[str, int]:
    return {one.name: one.rows for one in segment.inputs} | {one.key: one.rows for one in segment.calls}


def _fetch(name: str, column: int, wanted: int) -> Fetch:
    """Return what reads a value; live rows stand first, so fewer of them are the first ones."""
    if column == wanted:
        return lambda values, count: values[name]  # noqa: ARG005 -- one signature for both

    def cut(values: Values, count: int) -> Tensor:
        value = values[name]
        return value if len(value) == count else value[:count]

    return cut


def _call(
    call: Call, columns: dict[str, int], ops: TorchOps, module: nn.Module | None
) -> Callable[[Values, int], Tensor]:
    fetches = [_fetch(name, columns[name], call.rows) for name in call.sources]
    if call.merge is not None:
        merge = call.merge.merge
        return lambda values, count: merge(ops, [fetch(values, count) for fetch in fetches])
    assert module is not None  # a call has a model or a merge: the segment's own invariant
    source, fetch = call.sources[0], fetches[0]
    if columns[source] == call.rows:
        return lambda values, count: module(values[source])  # noqa: ARG005 -- one signature for both
    return lambda values, count: module(fetch(values, count))


def _guarded(run: Callable[[Values, int], Tensor], call: Call) -> Callable[[Values, int], Tensor]:
    def guarded(values: Values, count: int) -> Tensor:
        try:
            return run(values, count)
        except MMLError as error:
            raise error.located({"node": call.node}) from error.__cause__
        except Exception as cause:
            in_compiler = type(cause).__module__.startswith("torch._")
            raise ModelError(
                f"The node failed: {cause}",
                where={"node": call.node},
                found=_described(values, call.sources),
                hint="Leave jit_compile out of the graph." if in_compiler else None,
            ) from cause

    return guarded


def _loss(loss: SegmentLoss, columns: dict[str, int], *, widened: bool) -> Callable[[Values, int], Tensor]:
    function: Callable[..., Tensor] = loss.function
    fetches = [_fetch(name, columns[name], loss.rows) for name in loss.arguments]
    if widened:
        fetches = [_widened(fetch) for fetch in fetches]
    compute = _called(function, fetches, loss)
    if loss.sample_weight is None:
        return compute
    by_row = _called(lambda *args, **named: function(*args, reduction="none", **named), fetches, loss)
    fetch_weights = _fetch(loss.sample_weight, columns[loss.sample_weight], loss.rows)
    is_sum = bool(getattr(function, "is_sum", False))

    def weighted(values: Values, count: int) -> Tensor:
        rows = by_row(values, count)
        total = (rows * fetch_weights(values, count).reshape(-1).to(rows.dtype)).sum()
        return total if is_sum else total / count

    return weighted


def _widened(fetch: Fetch) -> Fetch:
    """Let losses compute in float32 what the models computed in half of it."""

    def read(values: Values, count: int) -> Tensor:
        value = fetch(values, count)
        return value.float() if value.dtype is torch.bfloat16 else value

    return read


def _called(
    function: Callable[..., Tensor], fetches: list[Fetch], loss: SegmentLoss
) -> Callable[[Values, int], Tensor]:
    if loss.context:
        return _called_with_context(function, fetches, loss.keywords)
    if loss.keywords:
        named = list(zip(loss.keywords, fetches, strict=True))
        return lambda values, count: function(**{key: fetch(values, count) for key, fetch in named})
    if len(fetches) == 2:
        first, second = fetches
        return lambda values, count: function(first(values, count), second(values, count))
    return lambda values, count: function(*[fetch(values, count) for fetch in fetches])


def _called_with_context(
    function: Callable[..., Tensor], fetches: list[Fetch], keywords: tuple[str, ...]
) -> Callable[[Values, int], Tensor]:
    def call(values: Values, count: int) -> Tensor:
        read = [fetch(values, count) for fetch in fetches]
        named = dict(zip(keywords, read, strict=True)) if keywords else {}
        return function(*([] if keywords else read), **named, context=values[CONTEXT])

    return call


def _guarded_loss(run: Callable[[Values, int], Tensor], loss: SegmentLoss) -> Callable[[Values, int], Tensor]:
    def guarded(values: Values, count: int) -> Tensor:
        try:
            return run(values, count)
        except MMLError as error:
            raise error.located({"loss": loss.label}) from error.__cause__
        except Exception as cause:
            raise LossError(
                f"The loss failed: {cause}",
                where={"loss": loss.label},
                found=_described(values, loss.arguments, told=loss.written),
            ) from cause

    return guarded


def _described(values: Values, names: tuple[str, ...], told: tuple[str, ...] = ()) -> str:
    return ", ".join(
        f"{shown!r}: {values[name].dtype} of shape {tuple(values[name].shape)}"
        if name in values
        else f"no {shown!r}"
        for name, shown in zip(names, told or names, strict=True)
    )
