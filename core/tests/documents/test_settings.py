"""Settings of components: names and plain types are checked before anything is built."""

import pytest

from mml.documents import ExperimentDocument
from mml.errors import DocumentError

MISTAKES = {
    "a misspelt setting": (
        "batch_size",
        "batch_sise",
        ["line 26", "plan[0].sampler.simple.batch_sise", "'batch_size'"],
    ),
    "a setting of a wrong type": (
        "batch_size: 8",
        'batch_size: "8"',
        ["line 26", "plan[0].sampler.simple.batch_size", "a whole number", "'8'"],
    ),
    "a wrong type deep inside": (
        "train: 0.5",
        "train: half",
        ["line 10", "data.cells.splits[0].splitter.random.ratios.train", "a number", "'half'"],
    ),
    "a wrong entry of a list": (
        "hidden: [4]",
        "hidden: [4, x]",
        ["line 17", "hidden[1]", "a whole number", "'x'"],
    ),
    "a setting of a model": (
        "hidden",
        "hiden",
        ["line 17", "graph.nodes.head.model.reference/mlp.hiden", "'hidden'"],
    ),
    "a setting of an optimizer": ("lr: 0.1", "rl: 0.1", ["line 14", "graph.optimizer.sgd.rl", "'lr'"]),
    "a setting of a loss": (
        "loss: mse",
        "loss: {huber: {dleta: 1}}",
        ["line 20", "losses.error.loss.huber.dleta", "'delta'"],
    ),
    "a setting of a scaler": (
        "scaler: standard",
        "scaler: {minmax: {range: 1}}",
        ["line 12", "minmax.range"],
    ),
    "a setting of a callback": (
        "patience: 2",
        "patient: 2",
        ["line 31", "early_stopping.patient", "'patience'"],
    ),
    "a setting of core's evaluation": (
        "phase: validate",
        "phase: validate, every: 2",
        ["line 30", "evaluation.every"],
    ),
    "a setting of a metric": ("[rmse]", "[{rmse: {sqrt: 1}}]", ["line 35", "plan[1].metrics[0].rmse.sqrt"]),
    "a value that a class refuses": (
        "patience: 2",
        "patience: 0",
        ["line 31", "early_stopping", "at least 1"],
    ),
    "a learning rate below zero": ("lr: 0.1", "lr: -1", ["line 14", "graph.optimizer.sgd", "positive"]),
    "shares beyond one": ("val: 0.25", "val: 0.75", ["line 10", "random"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_wrong_setting_is_told_with_line_and_path(text, folder, case):
    before, after, parts = MISTAKES[case]
    assert before in text
    with pytest.raises(DocumentError) as caught:
        ExperimentDocument.from_text(text.replace(before, after, 1), name="toy.yaml", folder=folder).build()
    for part in ["toy.yaml", *parts]:
        assert part in str(caught.value)


@pytest.mark.parametrize("case", [case for case in MISTAKES if case != "shares beyond one"])
def test_checking_finds_it_without_the_data(text, tmp_path, case):
    before, after, parts = MISTAKES[case]
    with pytest.raises(DocumentError) as caught:
        ExperimentDocument.from_text(text.replace(before, after, 1), folder=tmp_path).check()
    for part in parts:
        assert part in str(caught.value)


def test_settings_that_are_wrong_are_told_together(text):
    text = text.replace("batch_size", "batch_sise").replace("hidden", "hiden")
    with pytest.raises(DocumentError, match="2 mistakes"):
        ExperimentDocument.from_text(text).check()


def test_a_document_without_a_mistake_passes(text, tmp_path):
    ExperimentDocument.from_text(text, folder=tmp_path).check()
    assert not list(tmp_path.iterdir())


def test_a_cycle_is_told_at_the_graph(text):
    nodes = "    other: {model: reference/mlp, from: head}\n    head:"
    text = text.replace("    head:", nodes, 1).replace(
        "from: {data: cells, features: x, targets: y}", "from: other"
    )
    with pytest.raises(DocumentError, match="cycle") as caught:
        ExperimentDocument.from_text(text).check()
    assert "line 13" in str(caught.value)
    assert "other" in str(caught.value)


def test_a_setting_may_be_a_whole_number_where_a_number_is_asked_for(text):
    ExperimentDocument.from_text(text.replace("lr: 0.1", "lr: 1")).check()
    assert ExperimentDocument.from_text(text.replace("lr: 0.1", "lr: 1")).spec.graph.optimizer.settings == {
        "lr": 1
    }
