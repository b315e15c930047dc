"""What the plugin declares: every estimator, lazily, under names that lead to the classes."""

from __future__ import annotations

import subprocess
import sys

import sklearn
from sklearn.base import BaseEstimator
from sklearn.utils import all_estimators
from threadpoolctl import threadpool_limits

from mml.plugins import get_manager, registry
from mml_sklearn import plugin
from mml_sklearn.estimators import ESTIMATORS, SINCE

LISTING = """
import sys
from mml.plugins import get_manager, registry
found = [one.qualified for one in registry("models") if one.plugin == "sklearn"]
assert len(found) > 150, found
assert any(one.name == "sklearn" for one in get_manager().plugins)
loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"sklearn", "skops", "scipy", "joblib"})
print(",".join(loaded))
"""


def version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def test_listing_the_components_imports_no_framework() -> None:
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_table_holds_every_estimator_of_this_release() -> None:
    public = {name for name, _ in all_estimators()}
    installed = version(sklearn.__version__)
    expected = {name for name in ESTIMATORS if version(SINCE.get(name, "1.4")) <= installed}
    assert expected == public


def test_every_name_leads_to_its_class() -> None:
    classes = dict(all_estimators())
    for name in set(ESTIMATORS) & set(classes):
        assert registry("models").load(f"sklearn/{name}") is classes[name]


def test_a_class_is_written_down_by_its_registered_name() -> None:
    for name, cls in all_estimators():
        assert registry("models").name_of(cls) == f"sklearn/{name}"


def test_no_estimator_has_an_argument_that_belongs_to_the_node() -> None:
    taken = [
        name for name, cls in all_estimators() if {"output", "output_shape"} & set(cls._get_param_names())
    ]
    assert taken == []


def test_estimators_and_what_derives_from_them_are_claimed() -> None:
    class Own(BaseEstimator):
        pass

    claim = get_manager().claim_for(Own)
    assert claim is not None
    assert claim.backend == "sklearn"


def test_every_declared_component_can_be_loaded() -> None:
    for kind in ("backends", "models", "scalers", "datasets"):
        for component in registry(kind):
            if component.plugin == "sklearn":
                assert callable(component.load()), component.qualified
                assert component.help


def test_estimators_of_a_later_release_are_not_declared(monkeypatch) -> None:
    monkeypatch.setattr(plugin.metadata, "version", lambda name: {"scikit-learn": "1.5.2"}[name])
    declared = {one.name for one in plugin.mml_components() if one.kind == "models"}
    assert set(ESTIMATORS) - declared == {"ClassicalMDS", "FrozenEstimator"}


def test_the_doctor_is_told_the_threads_of_the_libraries_below(monkeypatch) -> None:
    found = [one for one in get_manager().health("sklearn") if one.name == "threads"]
    with threadpool_limits(limits=1):
        limited = [one.value for one in get_manager().health("sklearn") if one.name == "threads"]
    assert {one.split()[2] for one in limited} == {one.value.split()[2] for one in found} >= {"openmp"}
    assert {one.split()[0] for one in limited} == {"1"}
