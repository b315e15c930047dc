"""The JSON Schema: the format, and the components by name."""

import json
import re

from mml.documents import ExperimentDocument, json_schema
from mml.plugins import KINDS, registry


def references(value):
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_it_is_json_and_every_reference_is_defined():
    schema = json.loads(json.dumps(json_schema()))
    found = set(references(schema))
    assert found
    assert {re.fullmatch(r"#/\$defs/(\w+)", one)[1] for one in found} <= set(schema["$defs"])


def test_the_top_names_the_keys_of_a_document(text):
    schema = json_schema()
    document = ExperimentDocument.from_text(text)
    assert set(document.tree) <= set(schema["properties"])
    assert set(schema["required"]) == {"mml", "label", "data", "graph", "plan"}
    assert schema["additionalProperties"] is False


def test_components_stand_in_it_by_full_and_short_name():
    schema = json_schema()
    for kind in (
        "models",
        "losses",
        "optimizers",
        "callbacks",
        "metrics",
        "scalers",
        "samplers",
        "splitters",
    ):
        names = schema["$defs"][kind]["anyOf"][0]["enum"]
        assert set(registry(kind).names()) <= set(names)
        assert kind in KINDS
    assert "mse" in schema["$defs"]["losses"]["anyOf"][0]["enum"]
    settings = schema["$defs"]["callbacks"]["anyOf"][1]["properties"]["evaluation"]
    assert settings == {"$ref": "#/$defs/EvaluationSettings"}


def test_the_forms_of_a_step_and_of_a_node_are_told_apart():
    schema = json_schema()
    steps = {one["$ref"].rpartition("/")[2] for one in schema["properties"]["plan"]["items"]["anyOf"]}
    assert steps == {"FitStep", "TrainStep", "EvalStep", "GroupStep"}
    assert "from" in schema["$defs"]["ModelNodeSpec"]["required"]
