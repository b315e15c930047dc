"""Every mistake in a document is told with line, path and what may be meant, and all are told at once."""

import sys

import pytest

from mml.documents import DocumentMistakesError, ExperimentDocument
from mml.errors import DocumentError

# What is replaced in the document, by what, and what the message must hold.
MISTAKES = {
    "a misspelt key": ("seed: 0\n", "sede: 0\n", ["line 3", "sede", "no key 'sede'", "'seed'"]),
    "a misspelt key deep inside": ("epochs: 3", "epoch: 3", ["line 28", "plan[0].epoch", "'epochs'"]),
    "a wrong type": ("epochs: 3", "epochs: many", ["line 28", "plan[0].epochs", "a whole number", "'many'"]),
    "a number as text": (
        "epochs: 3",
        'epochs: "3"',
        ["line 28", "plan[0].epochs", "a whole number", "a text"],
    ),
    "a number out of range": ("epochs: 3", "epochs: 0", ["line 28", "plan[0].epochs", "at least 1"]),
    "true for a number": ("seed: 0", "seed: true", ["line 3", "seed", "a whole number"]),
    "a list for a mapping": (
        "losses:\n  error: {loss: mse, on: head}",
        "losses: [mse]",
        ["line 19", "losses"],
    ),
    "a mapping for a list": (
        "losses: [error]\n    epochs",
        "losses: {a: b}\n    epochs",
        ["line 27", "list"],
    ),
    "a text for a section": ("graph:\n", "graph: x\nother:\n", ["line 13", "graph", "'nodes'"]),
    "an unknown model": (
        "reference/mlp",
        "reference/mpl",
        ["line 17", "graph.nodes.head.model", "'reference/mlp'"],
    ),
    "an unknown loss": ("loss: mse,", "loss: msee,", ["line 20", "losses.error.loss", "'mse'"]),
    "an unknown optimizer": ("sgd:", "sdg:", ["line 14", "graph.optimizer", "'sgd'"]),
    "an unknown scaler": (
        "standard",
        "standart",
        ["line 12", "data.cells.transforms[0].scaler", "'standard'"],
    ),
    "an unknown callback": (
        "early_stopping",
        "early_stoping",
        ["line 31", "callbacks[1]", "'early_stopping'"],
    ),
    "an unknown metric": ("[rmse]", "[rsme]", ["line 35", "plan[1].metrics[0]", "'rmse'"]),
    "an unknown plugin": ("reference/mlp", "nowhere/mlp", ["line 17", "nowhere"]),
    "a reference to no loss": (
        "losses: [error]}",
        "losses: [eror]}",
        ["line 22", "no loss 'eror'", "'error'"],
    ),
    "a reference to no node": (
        "on: head",
        "on: haed",
        ["line 20", "losses.error.on", "no node 'haed'", "'head'"],
    ),
    "a reference to no data": ("{data: cells,", "{data: cell,", ["line 18", "no data 'cell'", "'cells'"]),
    "a reference to no split": ("split: val", "split: valid", ["line 22", "no split 'valid'", "'val'"]),
    "a reference to no evaluation": ("phase: validate", "phase: valid", ["line 30", "no evaluation 'valid'"]),
    "no version": ("mml: 1\n", "", ["'mml' is missing", "`mml: 1`"]),
    "no upstream": (
        "      from: {data: cells, features: x, targets: y}\n",
        "",
        ["line 16", "graph.nodes.head", "'from' is missing"],
    ),
    "no losses to train": (
        "    losses: [error]\n    epochs",
        "    epochs",
        ["line 24", "plan[0]", "'losses'"],
    ),
    "an empty list of losses": (
        "losses: [error]\n    epochs",
        "losses: []\n    epochs",
        ["line 27", "At least 1"],
    ),
    "an empty plan": ("plan:\n", "plan: []\nold:\n", ["line 23", "At least 1"]),
    "no sampler": (
        "    sampler: {simple: {batch_size: 8, shuffle: true}}\n",
        "",
        ["line 24", "plan[0]", "sampler", "batch_size"],
    ),
    "no split": ("    split: test\n", "", ["plan[1]", "no data", "split: train"]),
    "no kind of step": ("- train: train", "- trian: train", ["line 24", "plan[0]", "'train'", "'trian'"]),
    "two kinds of step": (
        "- eval: test",
        "- eval: test\n    fit: x",
        ["plan[1]", "'fit' and 'eval'", "exclude"],
    ),
    "a setting of nothing": ("{batch_size: 8, shuffle: true}", "[8]", ["line 26", "settings of a sampler"]),
    "two names of one component": (
        "{sgd: {lr: 0.1}}",
        "{sgd: {}, adam: {}}",
        ["line 14", "graph.optimizer", "one name"],
    ),
    "an option that does not exist": (
        "domain: features",
        "domain: feature",
        ["line 12", "domain", "'features'"],
    ),
    "no source of data": ("    file: cells.npz\n", "", ["line 5", "data.cells", "dataset"]),
    "another version": ("mml: 1", "mml: 2", ["line 1", "mml"]),
    "a name of two things": ("    head:\n      model", "    cells:\n      model", ["cells", "Rename one"]),
}


def mistake(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        ExperimentDocument.from_text(text, name="toy.yaml")
    return str(caught.value)


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_line_and_path(text, case):
    before, after, parts = MISTAKES[case]
    assert text.count(before) >= 1
    message = mistake(text.replace(before, after, 1))
    assert "toy.yaml" in message
    for part in parts:
        assert part in message


def test_the_document_without_a_mistake_is_read(text):
    document = ExperimentDocument.from_text(text)
    assert document.spec.label == "toy"
    assert [use.name for use in document.components if use.kind == "losses"] == ["mse"]


def test_all_mistakes_are_told_together_in_their_order(text):
    for case in (
        "a misspelt key",
        "an unknown loss",
        "a reference to no split",
        "a wrong type",
        "an unknown metric",
    ):
        text = text.replace(*MISTAKES[case][:2], 1)
    with pytest.raises(DocumentMistakesError) as caught:
        ExperimentDocument.from_text(text, name="toy.yaml")
    assert [one.line for one in caught.value.mistakes] == [3, 20, 22, 28, 35]
    message = str(caught.value)
    assert "toy.yaml has 5 mistakes" in message
    positions = [message.index(f"line {line},") for line in (3, 20, 22, 28, 35)]
    assert positions == sorted(positions)


def test_hundreds_of_mistakes_are_told_shortly(text):
    more = "".join(f"key{number}: 1\n" for number in range(300))
    message = mistake(text + more)
    assert "300 mistakes" in message
    assert "and 280 more" in message
    assert len(message) < 5000


def test_a_misspelt_key_is_one_mistake_and_not_a_missing_one_too(text):
    message = mistake(text.replace("from: {", "form: {"))
    assert "'from'" in message
    assert "missing" not in message
    assert "mistakes" not in message


@pytest.mark.parametrize("text", ["", "[]", "text", "3"])
def test_something_else_than_a_document_is_refused(text):
    assert "mml" in mistake(text)


def test_a_python_path_is_refused_and_nothing_is_imported(text):
    message = mistake(text.replace("reference/mlp", "antigravity.fly"))
    assert "not imported" in message
    assert "--allow-imports" in message
    assert "antigravity" not in sys.modules


def test_a_python_path_is_accepted_where_imports_are_allowed(text, folder):
    text = text.replace("reference/mlp", "mml_conformance.reference.models.Mlp")
    document = ExperimentDocument.from_text(text, folder=folder, allow_imports=True)
    assert document.build().run().status == "completed"


def test_a_path_that_leads_nowhere_is_told_when_it_is_built(text, folder):
    text = text.replace("reference/mlp", "mml_conformance.reference.models.Nothing")
    document = ExperimentDocument.from_text(text, folder=folder, allow_imports=True)
    with pytest.raises(DocumentError, match="nothing to import") as caught:
        document.build()
    assert "line 17" in str(caught.value)
