"""What the runner counts, prints and refuses."""

import json
from dataclasses import replace
from importlib.metadata import version

import pytest

from mml.backends import get_backend
from mml.errors import ConfigError
from mml_conformance import CAPABILITIES, Declaration, ExpectedFailure, all_checks, run, run_checks
from mml_conformance.mutants import all_mutants
from mml_conformance.reference.conformance import DECLARATION


def mutant(name):
    (found,) = [one for one in all_mutants() if one.name == name]
    return found.backend()


def test_the_reference_passes_everything():
    report = run_checks("reference")
    assert report.is_conformant, str(report)
    assert report.counts["passed"] == report.counts["applicable"] == len(all_checks())


def test_ids_are_unique_and_say_their_group():
    ids = [one.id for one in all_checks()]
    groups = {one.group for one in all_checks()}
    assert len(ids) == len(set(ids))
    assert {
        "CONV",
        "MODE",
        "SEED",
        "LOSS",
        "OPT",
        "FRZ",
        "STATE",
        "MASK",
        "GRAD",
        "MULTI",
        "RESUME",
    } <= groups
    assert all(one.requirement.endswith(".") or "canonical" in one.requirement for one in all_checks())
    assert {one.needs for one in all_checks()} <= {"", *CAPABILITIES}


def test_a_failure_prints_requirement_expected_seen_and_how_to_reproduce_it(capsys):
    backend = mutant("0-d promoted")
    report = run_checks(backend, declaration=DECLARATION)
    assert not report.is_conformant
    (failure,) = [one for one in report.failed if one.id == "CONV-shapes"]
    text = str(failure)
    assert "0-d and empty arrays keep their shape" in text
    assert "expected: array: float32 0.0" in text
    assert "seen: array: float32 [0.0]" in text
    assert "given: shape ()" in text
    assert "only=['CONV-shapes']" in text


def test_a_backend_without_gradients_must_refuse_politely():
    declared = Declaration(dict.fromkeys(CAPABILITIES, "unsupported"))
    report = run_checks("numpy", declaration=declared, only=["OPT", "MODE"])
    assert report.counts["unsupported"] == len(report.outcomes) > 0
    # Nothing was run, which is no proof of anything.
    assert not report.is_conformant


def test_declaring_less_than_there_is_fails():
    declared = Declaration({**DECLARATION.capabilities, "dropout": "unsupported"})
    report = run_checks("reference", declaration=declared, only=["MODE-dropout", "CONV"])
    (failure,) = report.failed
    assert failure.id == "MODE-dropout"
    assert "declared as 'unsupported'" in failure.expected
    assert failure.seen == "it passes"


def test_expected_failures_are_counted_and_hold_in_both_directions():
    known = ExpectedFailure("CONV-device", "no devices yet", expires="0.2")
    declared = replace(DECLARATION, expected_failures=(known,))
    failing = run_checks(mutant("silent move to the default device"), declaration=declared, only=["CONV"])
    assert failing.is_conformant
    assert failing.counts["expected failure"] == 1
    passing = run_checks("reference", declaration=declared, only=["CONV"])
    assert [one.seen for one in passing.failed] == ["it passes"]
    stale = replace(DECLARATION, expected_failures=(replace(known, id="CONV-gone"),))
    report = run_checks("reference", declaration=stale, only=["CONV"])
    assert not report.is_conformant
    assert "CONV-gone" in report.problems[0]


@pytest.mark.parametrize("expires", ["0.0.1", version("mml-conformance"), ""])
def test_an_expected_failure_past_its_version_is_a_problem(expires):
    known = ExpectedFailure("CONV-device", "no devices yet", expires=expires)
    declared = replace(DECLARATION, expected_failures=(known,))
    report = run_checks(mutant("silent move to the default device"), declaration=declared, only=["CONV"])
    assert not report.is_conformant
    assert "CONV-device" in report.problems[0]


def test_a_declaration_leaves_nothing_out():
    with pytest.raises(ConfigError, match="nothing about float64, dropout, batch_norm, eager"):
        Declaration({"gradients": "full"})
    with pytest.raises(ConfigError, match="gradients"):
        Declaration({**DECLARATION.capabilities, "gradient": "full"})
    with pytest.raises(ConfigError, match="one of"):
        Declaration({**DECLARATION.capabilities, "gradients": "maybe"})


def test_an_error_of_the_backend_is_a_failure_and_not_a_crash():
    class Broken(type(get_backend("reference"))):
        def to_array(self, array, *, device=None):
            raise ZeroDivisionError("by design")

    report = run_checks(Broken(), declaration=DECLARATION, only=["CONV-bits"])
    assert "ZeroDivisionError: by design" in report.failed[0].seen


def test_the_command_prints_and_returns_a_status(capsys):
    assert run("reference", only=["CONV"]) == 0
    assert "conforms: 7 applicable, 7 run, 7 passed" in capsys.readouterr().out
    assert run("reference", json=True, only=["CONV"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["conformant"] is True
    assert document["counts"]["passed"] == len(document["outcomes"]) == 7
    assert run("no-such-backend") == 2
    assert "no-such-backend" in capsys.readouterr().err
    assert run("reference", only=["CONV-bit"]) == 2
    assert "CONV-bits" in capsys.readouterr().err
