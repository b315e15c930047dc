"""MODE: evaluation changes nothing and is not random; training is what it says."""

from __future__ import annotations

import numpy as np

from mml_conformance.bench import Head, Settings, Wiring, evaluate, make_segment, run, states_of, train
from mml_conformance.expect import expect, expect_close, expect_same_bits
from mml_conformance.registry import check
from mml_conformance.subject import Subject
from mml_conformance.wirings import STEPS, WIDTH, chain, draw, one_head

_ROUNDING = "float32 rounding of a small network"


@check("MODE-eval-keeps", "Evaluation changes no parameter, buffer or random position.", needs="gradients")
def eval_keeps(subject: Subject) -> None:
    """Evaluate a network with batch norm and dropout."""
    wiring = chain(subject)
    before = states_of(wiring)
    evaluate(subject.backend, wiring)
    expect_same_bits(states_of(wiring), before, given="an evaluation of seven steps")


@check(
    "MODE-eval-is-not-random",
    "Evaluation does not depend on the seed, and is what forward gives.",
    needs="dropout",
)
def eval_is_not_random(subject: Subject) -> None:
    """Evaluate a network with dropout under two seeds."""
    wiring = one_head(subject, dropout=0.4)
    _, first = evaluate(subject.backend, wiring, outputs=("model",), settings=Settings(seed=1))
    _, second = evaluate(subject.backend, wiring, outputs=("model",), settings=Settings(seed=2))
    expect_same_bits({"outputs": second["model"][0]}, {"outputs": first["model"][0]}, given="seeds 1 and 2")
    forward = wiring.models["model"].forward(wiring.inputs["x"][0])
    expect_close(first["model"][0], forward, within=1e-5, because=_ROUNDING)


@check(
    "MODE-dropout", "Dropout in training is random and keeps the expectation of its output.", needs="dropout"
)
def dropout(subject: Subject) -> None:
    """Compare the mean over many training steps at rate 0 with the evaluation; the last layer is linear."""
    steps, rows = 600, 3
    # One hidden layer and no activation after the dropout, so that the output is linear in what is dropped.
    model = subject.mlp(input_shape=(WIDTH,), hidden=[11], activation="tanh", dropout=0.4)
    once = draw(steps=1, capacity=rows, x=(WIDTH,), y=(1,))
    inputs = {name: np.repeat(array, steps, axis=0) for name, array in once.items()}
    wiring = Wiring({"model": (model, ("x",))}, inputs, [Head("model")])
    optimizer = subject.optimizer("sgd")
    segment = make_segment(
        subject.backend, wiring, learning=("model",), optimizer=optimizer, outputs=("model",)
    )
    (result,) = run(subject.backend.compile(segment), wiring, Settings(rates=[0.0] * steps))
    seen = np.stack([subject.backend.to_numpy(one) for one in result.outputs["model"]]).astype(np.float64)
    spread = seen.std(axis=0)
    expect(
        bool((spread > 1e-3).all()), expected="outputs that differ from step to step", seen=spread.tolist()
    )
    allowed = float(5 * spread.max() / np.sqrt(steps))
    expected = model.forward(once["x"][0])
    expect_close(seen.mean(axis=0), expected, within=allowed, because="five standard errors of the mean")


@check("MODE-batch-norm-eval", "Batch norm in evaluation does not depend on the batch.", needs="batch_norm")
def batch_norm_eval(subject: Subject) -> None:
    """Evaluate rows together and alone, after training has moved the statistics."""
    wiring = one_head(subject, batch_norm=True)
    train(subject.backend, wiring, optimizer=subject.optimizer("sgd", lr=0.01))
    _, together = evaluate(subject.backend, wiring, outputs=("model",))
    single = {name: array[:, :1] for name, array in wiring.inputs.items()}
    _, alone = evaluate(subject.backend, Wiring(wiring.nodes, single, wiring.heads), outputs=("model",))
    seen = [one[:1] for one in together["model"]]
    expect_close(np.stack(seen), np.stack(alone["model"]), within=1e-5, because=_ROUNDING)


@check("MODE-batch-norm-train", "Batch norm in training moves its buffers.", needs="batch_norm")
def batch_norm_train(subject: Subject) -> None:
    """Train one step and look at the buffers."""
    wiring = one_head(subject, batch_norm=True)
    buffers = [spec.name for spec in wiring.models["model"].variables() if spec.role == "buffer"]
    expect(bool(buffers), expected="at least one variable of role 'buffer'", seen=buffers)
    before = states_of(wiring)
    train(subject.backend, wiring, optimizer=subject.optimizer("sgd", lr=0.01))
    after = states_of(wiring)
    moved = [name for name in buffers if (before[f"model/{name}"] != after[f"model/{name}"]).any()]
    expect(bool(moved), expected="a buffer that moved", seen=f"unchanged: {buffers}")


@check("MODE-validation-between", "Validating between steps changes nothing in training.", needs="gradients")
def validation_between(subject: Subject) -> None:
    """Train seven steps, once with an evaluation after each."""
    plain, validated = chain(subject), chain(subject)
    train(subject.backend, plain, optimizer=subject.optimizer("adam"))
    optimizer = subject.optimizer("adam")
    program = subject.backend.compile(
        make_segment(subject.backend, validated, learning=("trunk", "head"), optimizer=optimizer)
    )
    for step in range(STEPS):
        part = {name: array[step : step + 1] for name, array in validated.inputs.items()}
        run(program, Wiring(validated.nodes, part, validated.heads), Settings(seed=100 + step, rates=[0.1]))
        evaluate(subject.backend, validated, settings=Settings(seed=step))
    expect_same_bits(states_of(validated), states_of(plain), given="an evaluation after each of seven steps")
