"""Overrides: values by path, typed as YAML, checked like the rest of the document."""

import pytest

from mml.documents import ExperimentDocument
from mml.errors import DocumentError


def spec(text, *assignments):
    return ExperimentDocument.from_text(text, overrides=assignments).spec


def test_a_value_is_replaced_and_typed_as_yaml(text):
    found = spec(text, "seed=3", "label=other", "plan.0.epochs=7", "graph.optimizer.sgd.lr=1e-3")
    assert (found.seed, found.label, found.plan[0].epochs) == (3, "other", 7)
    assert found.graph.optimizer.settings == {"lr": 1e-3}


@pytest.mark.parametrize("key", ["plan.0.epochs", "plan.train.epochs", "plan[0].epochs"])
def test_an_entry_of_a_list_is_named_by_position_or_label(text, key):
    assert spec(text, f"{key}=5").plan[0].epochs == 5


def test_later_overrides_win_and_a_value_may_be_a_list_or_mapping(text):
    found = spec(text, "seed=1", "seed=2", "graph.nodes.head.model={reference/mlp: {hidden: [1, 2]}}")
    assert found.seed == 2
    assert found.graph.nodes["head"].model.settings == {"hidden": [1, 2]}


def test_a_key_that_is_not_there_may_be_set(text):
    assert spec(text.replace("seed: 0\n", ""), "seed=4").seed == 4
    assert spec(text, "graph.label=net").graph.label == "net"


def test_the_value_may_hold_an_equals_sign(text):
    assert spec(text, "label=a=b").label == "a=b"


def test_the_document_that_is_overridden_stays_as_it_was(text):
    document = ExperimentDocument.from_text(text)
    changed = document.with_overrides(["seed=5"]).with_overrides(["label=x"])
    assert (changed.spec.seed, changed.spec.label) == (5, "x")
    assert (document.spec.seed, document.spec.label) == (0, "toy")


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("seed", ["key=value", "'seed'"]),
        ("=3", ["key=value"]),
        ("seed=[1", ["no YAML"]),
        ("seed=!!python/name:os.system", ["no YAML"]),
        ("plan.tarin.epochs=3", ["no entry 'tarin'", "'train'"]),
        ("plan.9.epochs=3", ["no entry '9'", "from 0 to 1"]),
        ("seed.x=3", ["nothing below 'seed'", "0"]),
        ("sead=3", ["no key 'sead'", "'seed'", "--set sead=3"]),
        ("seed=x", ["a whole number", "--set seed=x"]),
        ("plan.train.sampler.simple.batchsize=3", ["'batch_size'", "--set plan.train.sampler"]),
    ],
)
def test_a_wrong_override_is_told_with_what_was_written(text, assignment, parts):
    with pytest.raises(DocumentError) as caught:
        ExperimentDocument.from_text(text, overrides=[assignment]).check()
    for part in parts:
        assert part in str(caught.value)


def test_a_line_is_not_named_where_an_override_stands_in_its_place(text):
    with pytest.raises(DocumentError) as caught:
        ExperimentDocument.from_text(
            text, overrides=["graph.nodes.head.model={reference/mlp: {hiden: [1]}}"]
        ).check()
    assert "line" not in str(caught.value)
