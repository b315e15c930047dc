"""What all configurations have in common: the registered name under its kind, and mistakes named by key."""

from __future__ import annotations

import pytest

import mml
from mml.configuration import checked_config, made_with, registered_name, settings_beside, several
from mml.errors import ConfigError
from mml.registry import noun

WHAT_IT_TAKES = {
    "mml/segmented": {"boundaries": [3], "scaler": "minmax"},
    "mml/simple": {"batch_size": 3},
    "mml/paired": {"batch_size": 3, "conditions": {"cell": "similar"}},
    "mml/triplet": {"batch_size": 3, "by": "cell"},
    "mml/n": {"batch_size": 3, "conditions": {"other": {"cell": "dissimilar"}}},
    "mml/aligned": {"base": mml.SimpleSampler(batch_size=3)},
    "mml/random": {"ratios": {"a": 0.5, "b": 0.5}, "seed": 0},
    "mml/condition": {"conditions": {"a": {"x": 1}}},
    "mml/evaluation": None,
    "mml/early_stopping": {"monitor": "val_loss"},
}
COMPONENTS = [
    (kind, component.qualified)
    for kind in ("scalers", "samplers", "splitters", "metrics", "callbacks")
    for component in mml.registry(kind)
    if component.plugin == "mml" and WHAT_IT_TAKES.get(component.qualified, {}) is not None
]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_is_written_down_under_the_noun_of_its_kind(kind, name):
    cls = mml.registry(kind).load(name)
    made = cls(**WHAT_IT_TAKES.get(name, {}))
    config = made.get_config()
    assert config[noun(kind)] == name
    assert registered_name(config, noun(kind)) == name


@pytest.mark.parametrize(("kind", "name"), [one for one in COMPONENTS if one[0] != "callbacks"])
def test_a_setting_that_a_component_does_not_have_is_an_error_that_names_it(kind, name):
    cls = mml.registry(kind).load(name)
    config = cls(**WHAT_IT_TAKES.get(name, {})).get_config()
    with pytest.raises(ConfigError, match="'colour'"):
        made_from(cls, {**config, "colour": "red"})


def made_from(cls, config):
    from mml.experiment.callbacks.evaluation_metric import EvaluationMetric, evaluation_metric_from_config

    return (evaluation_metric_from_config if issubclass(cls, EvaluationMetric) else cls.from_config)(config)


@pytest.mark.parametrize("config", [None, 3, {}, {"scaler": 3}, {"name": "mml/minmax"}])
def test_a_configuration_without_a_name_is_refused(config):
    with pytest.raises(ConfigError, match="names none"):
        registered_name(config, "scaler")


def test_settings_stand_beside_the_name():
    assert settings_beside({"scaler": "mml/minmax", "feature_range": [0, 1]}, "scaler") == {
        "feature_range": [0, 1]
    }


class Taking:
    def __init__(self, *, size, colour="red"):
        self.settings = (size, colour)


def test_made_with_names_what_is_unknown_or_missing():
    assert made_with(Taking, {"size": 3}).settings == (3, "red")
    with pytest.raises(ConfigError, match="'color'") as caught:
        made_with(Taking, {"size": 3, "color": "blue"})
    assert "'colour'" in str(caught.value)
    with pytest.raises(ConfigError, match="size"):
        made_with(Taking, {})


def test_keys_are_checked_before_anything_is_made():
    assert checked_config({"a": 1}, "a thing", required=("a",), optional=("b",)) == {"a": 1}
    for wrong, match in (({"c": 1}, "'c'"), ({"b": 1}, "incomplete"), ([], "no mapping")):
        with pytest.raises(ConfigError, match=match):
            checked_config(wrong, "a thing", required=("a",), optional=("b",))
    assert several({"a": (1, 2)}, "a", "a thing") == [1, 2]
    assert several({}, "a", "a thing") == []
    with pytest.raises(ConfigError, match="no list"):
        several({"a": "12"}, "a", "a thing")
