"""MASK: rows that are not live have no part in anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mml.backends import Block, Controls
from mml_conformance.bench import Head, Settings, Wiring, make_segment, states_of, train
from mml_conformance.expect import expect, expect_close, expect_same_bits
from mml_conformance.registry import check
from mml_conformance.subject import Subject
from mml_conformance.wirings import CAPACITY, STEPS, WIDTH, chain, draw, one_head

_ROUNDING = "float32 rounding over seven steps"
# At least two: a batch norm may refuse to train on one row, which has no variance.
_LIVE = [2, 3, 2, 3, 3, 2, 2]


def _deleted(subject: Subject, *, fill: float | None) -> None:
    """Train on padded blocks and on blocks of the live rows alone, and compare."""
    padded, exact = chain(subject, dropout=0.0), chain(subject, dropout=0.0)
    inputs = {name: _padded(array, fill) for name, array in padded.inputs.items()}
    seen = train(
        subject.backend,
        Wiring(padded.nodes, inputs, padded.heads),
        optimizer=subject.optimizer("sgd", lr=0.05, momentum=0.9),
        settings=Settings(live=_LIVE),
    )
    optimizer = subject.optimizer("sgd", lr=0.05, momentum=0.9)
    expected = []
    for step, count in enumerate(_LIVE):
        part = {name: array[step : step + 1, :count] for name, array in exact.inputs.items()}
        one = Wiring(exact.nodes, part, exact.heads)
        expected.append(train(subject.backend, one, optimizer=optimizer, settings=Settings(seed=100 + step)))
    expect_close(seen, np.concatenate(expected), within=1e-5, because=_ROUNDING, given="losses")
    for name, value in states_of(exact).items():
        expect_close(states_of(padded)[name], value, within=1e-5, because=_ROUNDING, given=name)


def _padded(array: np.ndarray, fill: float | None) -> np.ndarray:
    out = array.copy()
    for step, count in enumerate(_LIVE):
        out[step, count:] = out[step, 0] if fill is None else fill
    return out


@check("MASK-deleted", "Masked rows that hold a copy of a live one are as if deleted.", needs="batch_norm")
def deleted(subject: Subject) -> None:
    """Pad with the first row."""
    _deleted(subject, fill=None)


@check("MASK-nan", "Masked rows that hold NaN are as if deleted.", needs="eager")
def nan(subject: Subject) -> None:
    """Pad with NaN."""
    _deleted(subject, fill=np.nan)


@check("MASK-inf", "Masked rows that hold infinity are as if deleted.", needs="eager")
def infinite(subject: Subject) -> None:
    """Pad with infinity."""
    _deleted(subject, fill=np.inf)


@check(
    "MASK-all",
    "A step without a live row changes nothing and counts no update; its loss is NaN.",
    needs="gradients",
)
def wholly_masked(subject: Subject) -> None:
    """Train one live step and two without a live row, under decay and momentum."""
    wiring, single = one_head(subject), one_head(subject)
    optimizer, other = (subject.optimizer("adamw", lr=0.1, weight_decay=0.1) for _ in range(2))
    three = {name: array[:3] for name, array in wiring.inputs.items()}
    losses = train(
        subject.backend,
        Wiring(wiring.nodes, three, wiring.heads),
        optimizer=optimizer,
        settings=Settings(live=[CAPACITY, 0, 0]),
    )
    expect(bool(np.isnan(losses[1:]).all()), expected="NaN for the steps without rows", seen=losses.tolist())
    one = {name: array[:1] for name, array in single.inputs.items()}
    train(subject.backend, Wiring(single.nodes, one, single.heads), optimizer=other)
    expect_same_bits(states_of(wiring), states_of(single), given="one live step and two without rows")
    steps = {int(slots["step"]) for slots in optimizer.get_state().values()}
    expect(steps == {1}, expected="every variable at step 1", seen=steps)


@check(
    "MASK-unscored",
    "A learning node that no loss with live rows reaches moves nothing, running statistics included.",
    needs="batch_norm",
)
def unscored(subject: Subject) -> None:
    """Train two networks side by side; after the first step, only one of them has targets."""
    names = ("scored", "unscored")
    models = {
        name: subject.mlp(name, input_shape=(WIDTH,), output_shape=(1,), hidden=[5], batch_norm=True)
        for name in names
    }
    nodes = {name: (model, ("x",)) for name, model in models.items()}
    wiring = Wiring(nodes, draw(steps=3, x=(WIDTH,), y=(1,), z=(1,)), [Head("scored"), Head("unscored", "z")])
    optimizer = subject.optimizer("sgd", lr=0.1, momentum=0.9)
    whole = make_segment(subject.backend, wiring, learning=names, optimizer=optimizer)
    first, second = whole.losses
    # The targets of the second network are counted in a column of their own.
    inputs = tuple(replace(one, rows=int(one.name == "z")) for one in whole.inputs)
    segment = replace(whole, inputs=inputs, losses=(first, replace(second, rows=1)), n_rows=2)
    program = subject.backend.compile(segment)
    rows = np.array([[CAPACITY, CAPACITY], [CAPACITY, 0], [CAPACITY, 0]], dtype=np.int64)
    staged = program.stage(Block(dict(wiring.inputs), rows))
    controls = Controls(seeds=np.arange(100, 103, dtype=np.int64), rates=np.full((3, 1), 0.1))
    program.run(staged, 0, 1, controls)
    before = {name: model.get_state() for name, model in models.items()}
    program.run(staged, 1, 3, controls)
    expect_same_bits(models["unscored"].get_state(), before["unscored"], given="two steps without targets")
    after = models["scored"].get_state()
    buffers = [spec.name for spec in models["scored"].variables() if spec.role == "buffer"]
    still = [name for name in buffers if (after[name] == before["scored"][name]).all()]
    expect(still != buffers, expected="a buffer of the scored node that moved", seen=f"unchanged: {still}")


@check(
    "SHAPE-rows", "Batches of 1 and 7 rows give as many outputs, in the parameters' dtype.", needs="gradients"
)
def rows(subject: Subject) -> None:
    """Run forward on batches of several sizes."""
    model = subject.mlp(input_shape=(WIDTH,), output_shape=(2,), hidden=[5])
    expect(model.output_shape == (2,), expected="output_shape (2,)", seen=model.output_shape)
    for count in (1, 7):
        outputs = model.forward(draw(steps=1, capacity=count, x=(WIDTH,))["x"][0])
        seen = (outputs.shape, outputs.dtype.name)
        expect(seen == ((count, 2), "float32"), expected=f"shape ({count}, 2), float32", seen=seen)


@check("BLOCK-cuts", "How a block is cut into ranges changes no bit.", needs="dropout")
def cuts(subject: Subject) -> None:
    """Run seven steps whole, one by one, and in uneven pieces."""
    whole = chain(subject)
    losses = train(subject.backend, whole, optimizer=subject.optimizer("adam"), settings=Settings(live=_LIVE))
    for edges in (tuple(range(1, STEPS)), (3,), (2, 6)):
        cut = chain(subject)
        settings = Settings(live=_LIVE, cuts=edges)
        seen = train(subject.backend, cut, optimizer=subject.optimizer("adam"), settings=settings)
        expect_same_bits({"losses": seen}, {"losses": losses}, given=f"cut at {edges}")
        expect_same_bits(states_of(cut), states_of(whole), given=f"cut at {edges}")
