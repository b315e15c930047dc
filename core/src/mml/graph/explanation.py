"""An outline in words: what each step executes, where gradients stop, what is cast and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

from mml.backends import get_backend
from mml.errors import MMLError
from mml.graph.outline import BorderOutline, ColumnOutline, Outline, StageOutline

_DOING = {"train": "learning", "fit": "fitting", "eval": "learning"}
_FROZEN = {"user": "by the user", "fit": "by a FitPhase"}


def explain(outline: Outline) -> str:
    """Return an outline as text, a fact a line."""
    return "\n".join(_lines(outline))


def _lines(outline: Outline) -> Iterator[str]:
    yield _title(outline)
    for number, stage in enumerate(outline.stages, start=1):
        yield f"  Step {number} on {stage.backend}: {_stage(stage, outline)}."
    yield from _frozen(outline)
    yield from _data(outline)
    for border in outline.borders:
        yield f"  Between {border.upstream} and {border.downstream} {_border(border, outline)}."
    if outline.compiled:
        yield f"  Compiled by an optimising compiler: what runs on {', '.join(outline.compiled)}."
    if outline.mode == "train" and outline.stages:
        yield from _as_a_whole(outline)
    for refusal in outline.refusals:
        yield from _refused(refusal, outline)


def _title(outline: Outline) -> str:
    if outline.phase is None:
        return f"Graph {outline.label!r}, where every node learns that can:"
    verb = {"train": "trains", "eval": "evaluates", "fit": "fits"}[outline.mode]
    return f"Graph {outline.label!r} in the phase {outline.phase!r}, which {verb}:"


def _stage(stage: StageOutline, outline: Outline) -> str:
    nodes = ", ".join(stage.nodes)
    if outline.mode == "eval":
        return nodes
    if not stage.learning:
        return f"{nodes} (constant)"
    doing = f"{_DOING[outline.mode]} {', '.join(stage.learning)}"
    batchwise = set(stage.learning) <= set(outline.batchwise)
    return f"{nodes} ({doing}{', batch by batch without gradients' if batchwise else ''})"


def _border(border: BorderOutline, outline: Outline) -> str:
    stop = "gradients stop" if outline.mode == "train" else ""
    if not border.converts:
        return f"{stop}: they are separate stages" if stop else "values go from one step to the next"
    crossing = f"values are converted once a step, from {border.backends[0]} to {border.backends[1]}"
    crossing += f", and cast to {border.dtype}" if border.dtype else ""
    return f"{stop}: {crossing}" if stop else crossing


def _frozen(outline: Outline) -> Iterator[str]:
    for who, words in _FROZEN.items():
        labels = [label for label, by in outline.frozen.items() if by == who]
        passing = [label for label in labels if outline.mode == "train" and _differentiable(label, outline)]
        if passing:
            yield f"  Frozen {words}: {', '.join(passing)}; gradients pass through, values stay."
        if others := [label for label in labels if label not in passing]:
            yield f"  Frozen {words}: {', '.join(others)}."
    to_fit = [label for label in outline.to_fit if label not in outline.batchwise]
    if to_fit and outline.mode != "fit":
        yield f"  Not fitted yet: {', '.join(to_fit)}; a FitPhase has to run before."


def _differentiable(label: str, outline: Outline) -> bool:
    backends = {node: stage.backend for stage in outline.stages for node in stage.nodes}
    return get_backend(backends[label]).capabilities.gradients


def _data(outline: Outline) -> Iterator[str]:
    for head, label in outline.missing.items():
        yield f"  {head} reads the FeatureSet {label!r}, which does not exist yet."
    readers = dict.fromkeys((one.reader, one.featureset, one.stored, one.arrives) for one in outline.columns)
    for reader, featureset, stored, arrives in readers:
        columns = [
            one
            for one in outline.columns
            if (one.reader, one.featureset, one.stored, one.arrives) == (reader, featureset, stored, arrives)
        ]
        yield f"  {reader} reads {_names(columns)} of {featureset!r} as {stored}" + (
            f", cast to {arrives} once a block." if stored != arrives else "."
        )


def _names(columns: list[ColumnOutline]) -> str:
    return ", ".join(dict.fromkeys(one.column for one in columns))


def _as_a_whole(outline: Outline) -> Iterator[str]:
    labels = [label for _, several in outline.holding for label in several]
    if not labels:
        yield "  Training as a whole: not possible, because no node learns by gradient."
        return
    if len(outline.holding) > 1:
        sides = "; ".join(f"{', '.join(several)} on {backend}" for backend, several in outline.holding)
        yield f"  Training as a whole: not possible, because gradients stop between backends: {sides}."
    elif len(labels) == 1:
        yield f"  Training as a whole: possible, only {labels[0]} learns by gradient."
    else:
        yield f"  Training as a whole: possible, one backward pass serves {', '.join(labels)}."
    yield from _optimizers(outline)


def _optimizers(outline: Outline) -> Iterator[str]:
    own = outline.own_optimizers
    if outline.optimizer is not None:
        yield f"  The graph's optimizer is {outline.optimizer}." + "".join(
            f" {label} is stepped by its own, {text}." for label, text in own.items()
        )
        return
    yield (
        "  The graph has no optimizer: nodes learn stage by stage"
        + (", " + ", ".join(f"{label} by {text}" for label, text in own.items()) if own else "")
        + "."
    )


def _refused(error: MMLError, outline: Outline) -> Iterator[str]:
    what = "A phase that trains all of it" if outline.phase is None else "The phase"
    where = f" ({error.where})" if error.where else ""
    yield f"  {what} is refused{where}: {error.what}"
    if error.found:
        yield f"    found: {error.found}"
    if error.hint:
        yield f"    try: {error.hint}"
