"""The calls and losses of a segment as functions of one step's values, made once for a program.

What is known from the segment (which model, which values, whose rows have to be cut) is decided here, so
that a step only runs it. Counts are Python numbers on every engine; where values are padded, the counts of
live rows among them come as data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mml.backends import Call, CanonicalLoss, Segment, SegmentLoss
from mml.errors import LossError, MMLError, ModelError
from mml_keras3.class_numbers import OVER_CLASSES
from mml_keras3.engines import engine
from mml_keras3.framework import keras
from mml_keras3.probe import reason_of

Values = dict[str, Any]


class Padding(NamedTuple):
    """What is known of values that have more rows than live ones.

    Parameters
    ----------
    counts : int array, shape (columns,)
        Live rows.
    shift : float scalar
        Moves what stands in the place of rows that are live in one column and not in another: 0 but where
        somebody wants to know whether it is seen.
    """

    counts: Any
    shift: Any


Fetch = Callable[[Values, int, "Padding | None"], Any]

_WIDE = ("float32", "float64")
_NARROW = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class CompiledCall:
    """One call: its result's name, whose rows it has, its model unless it merges, and what computes it.

    `run` takes the values, the count of its rows, whether it trains, and the padding.
    """

    key: str
    node: str
    rows: int
    learns: bool
    model: Any
    run: Callable[[Values, int, bool, Padding | None], Any]


@dataclass(frozen=True, slots=True)
class CompiledLoss:
    """One loss: whose rows it has, its weight, whether it is a sum over rows, and what computes it.

    `run` takes the values, the count of its rows, the keyword arguments that the step adds, and the padding.
    """

    rows: int
    weight: float
    is_sum: bool
    context: bool
    run: Callable[[Values, int, Mapping[str, Any], Padding | None], Any]


def compile_calls(
    segment: Segment, run_model: Callable[[Any], Callable[[Any, bool], Any]]
) -> tuple[list[CompiledCall], list[CompiledCall]]:
    """Return the calls that no learning node precedes, and the others, each in order.

    Parameters
    ----------
    segment : Segment
    run_model : callable
        From a Keras model to what runs it on an array, told whether it trains.
    """
    columns = _columns(segment)
    constant: list[CompiledCall] = []
    behind_learning: list[CompiledCall] = []
    reached: set[str] = set()
    for call in segment.calls:
        model = None if call.model is None else call.model.native
        learns = call.learns and segment.mode == "train"
        run = _guarded(_call(call, columns, run_model), call)
        compiled = CompiledCall(call.key, call.node, call.rows, learns, model, run)
        if learns or reached.intersection(call.sources):
            reached.add(call.key)
            behind_learning.append(compiled)
        else:
            constant.append(compiled)
    return constant, behind_learning


def compile_losses(segment: Segment) -> list[CompiledLoss]:
    """Return the losses, in order."""
    columns = _columns(segment)
    return [_compiled_loss(loss, columns) for loss in segment.losses]


def _compiled_loss(loss: SegmentLoss, columns: Mapping[str, int]) -> CompiledLoss:
    return CompiledLoss(
        loss.rows,
        float(loss.weight),
        bool(getattr(loss.function, "is_sum", False)),
        loss.context,
        _guarded_loss(_loss(loss, columns), loss),
    )


def _columns(segment: Segment) -> dict[str, int]:
    return {one.name: one.rows for one in segment.inputs} | {one.key: one.rows for one in segment.calls}


def _fetch(name: str, column: int, wanted: int) -> Fetch:
    """Return what reads a value; live rows stand first, so fewer of them are the first ones."""
    if column == wanted:
        return lambda values, count, padding: values[name]  # noqa: ARG005 -- one signature for both

    def cut(values: Values, count: int, padding: Padding | None) -> Any:
        value = values[name]
        if padding is not None:
            return _refilled(value, padding.counts[wanted], padding.shift)
        return value if value.shape[0] == count else value[:count]

    return cut


def _refilled(value: Any, live: Any, shift: Any) -> Any:
    """Put copies of the first row in the place of rows that are not live, moved where they are numbers."""
    first = value[:1]
    if keras.backend.is_float_dtype(value.dtype):
        first = first + keras.ops.cast(shift, value.dtype)
    is_live = keras.ops.arange(value.shape[0], dtype="int32") < live
    shape = (value.shape[0], *(1 for _ in value.shape[1:]))
    return keras.ops.where(keras.ops.reshape(is_live, shape), value, first)


def _call(
    call: Call, columns: Mapping[str, int], run_model: Callable[[Any], Callable[[Any, bool], Any]]
) -> Callable[[Values, int, bool, Padding | None], Any]:
    fetches = [_fetch(name, columns[name], call.rows) for name in call.sources]
    if call.merge is not None:
        merge, ops = call.merge.merge, engine().ops
        return lambda values, count, training, padding: merge(  # noqa: ARG005 -- one signature for both
            ops, [fetch(values, count, padding) for fetch in fetches]
        )
    assert call.model is not None  # a call has a model or a merge: the segment's own invariant
    run, fetch = run_model(call.model.native), fetches[0]
    return lambda values, count, training, padding: run(fetch(values, count, padding), training)


def _guarded(
    run: Callable[[Values, int, bool, Padding | None], Any], call: Call
) -> Callable[[Values, int, bool, Padding | None], Any]:
    def guarded(values: Values, count: int, training: bool, padding: Padding | None = None) -> Any:
        try:
            return run(values, count, training, padding)
        except MMLError as error:
            raise error.located({"node": call.node}) from error.__cause__
        except Exception as cause:
            raise ModelError(
                f"The node failed: {reason_of(cause)}",
                where={"node": call.node},
                found=_described(values, call.sources),
            ) from cause

    return guarded


def _loss(
    loss: SegmentLoss, columns: Mapping[str, int]
) -> Callable[[Values, int, Mapping[str, Any], Padding | None], Any]:
    function: Callable[..., Any] = loss.function
    fetches = [_fetch(name, columns[name], loss.rows) for name in loss.arguments]
    keywords, ops, weights = loss.keywords, engine().ops, loss.sample_weight
    fetch_weights = None if weights is None else _fetch(weights, columns[weights], loss.rows)
    is_sum = bool(getattr(function, "is_sum", False))
    prepared = _prepared_for(function)

    def call(values: Values, count: int, more: Mapping[str, Any], padding: Padding | None) -> Any:
        arrays = prepared([fetch(values, count, padding) for fetch in fetches])
        if keywords:
            return function(**dict(zip(keywords, arrays, strict=True)), **more)
        return function(*arrays, **more)

    def by_row(values: Values, count: int, more: Mapping[str, Any], padding: Padding | None) -> Any:
        rows = call(values, count, {**more, "reduction": "none"}, padding)
        if fetch_weights is None:
            return rows
        return rows * engine().cast(ops.reshape(fetch_weights(values, count, padding), (count,)), rows)

    def run(values: Values, count: int, more: Mapping[str, Any], padding: Padding | None) -> Any:
        if padding is None:
            if fetch_weights is None:
                return call(values, count, more, None)
            total = ops.sum(by_row(values, count, more, None))
            return total if is_sum else total / count
        rows, live = by_row(values, count, more, padding), padding.counts[loss.rows]
        is_live = keras.ops.arange(count, dtype="int32") < live
        total = ops.sum(ops.where(is_live, rows, ops.zeros_like(rows)))
        return total if is_sum else total / engine().cast(live, total)

    return run


def _prepared_for(function: Any) -> Callable[[list[Any]], list[Any]]:
    """Return what brings a loss's arguments to the dtypes that it is written for.

    What is computed in 16 bits is scored in 32. The canonical formulas take floating numbers, but for the
    numbers of classes; not every engine would mix them with whole ones.
    """
    is_canonical = isinstance(function, CanonicalLoss)
    keeps_integers = not is_canonical or function.formula in OVER_CLASSES

    def prepared(arrays: list[Any]) -> list[Any]:
        dtypes = [keras.backend.standardize_dtype(one.dtype) for one in arrays]
        if all(dtype == dtypes[0] for dtype in dtypes) and dtypes[0] in _WIDE:
            return arrays
        wide = "float64" if "float64" in dtypes else "float32"
        return [
            keras.ops.cast(one, wide) if dtype in _NARROW or not (keeps_integers or dtype in _WIDE) else one
            for one, dtype in zip(arrays, dtypes, strict=True)
        ]

    return prepared


def _guarded_loss(
    run: Callable[[Values, int, Mapping[str, Any], Padding | None], Any], loss: SegmentLoss
) -> Callable[[Values, int, Mapping[str, Any], Padding | None], Any]:
    def guarded(values: Values, count: int, more: Mapping[str, Any], padding: Padding | None = None) -> Any:
        try:
            return run(values, count, more, padding)
        except MMLError as error:
            raise error.located({"loss": loss.label}) from error.__cause__
        except Exception as cause:
            raise LossError(
                f"The loss failed: {reason_of(cause)}",
                where={"loss": loss.label},
                found=_described(values, loss.arguments),
            ) from cause

    return guarded


def _described(values: Values, names: Sequence[str], told: Sequence[str] = ()) -> str:
    return ", ".join(
        f"{shown!r}: {values[name].dtype} of shape {tuple(values[name].shape)}"
        if name in values
        else f"no {shown!r}"
        for name, shown in zip(names, told or names, strict=True)
    )
