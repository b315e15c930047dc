"""The tree of errors: every message has its parts, and the near misses are near."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml import errors
from mml.errors import ColumnError, DataError, MMLError, MMLWarning, did_you_mean, listed


def members(base):
    return [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, base)]


def test_every_error_stands_under_one_root_and_every_warning_under_another():
    own = [one for _, one in inspect.getmembers(errors, inspect.isclass) if one.__module__ == errors.__name__]

    assert set(own) == set(members(MMLError)) | set(members(MMLWarning))
    assert len(members(MMLError)) > 20
    assert issubclass(ColumnError, DataError)
    assert not issubclass(MMLError, KeyError | TypeError | ValueError)


def test_the_message_has_its_parts_in_order():
    error = MMLError("It broke.", where={"phase": "train", "epoch": 3}, expected="a", found="b", hint="Do c.")

    assert str(error).splitlines() == [
        "It broke.",
        "  where: phase 'train', epoch 3",
        "  expected: a",
        "  found: b",
        "  try: Do c.",
    ]
    assert str(MMLError("It broke.")) == "It broke."


def test_outer_places_stand_in_front_and_are_not_repeated():
    error = ColumnError("No column.", where="column 'x'")

    same = (
        error.located({"FeatureSet": "cells", "split": None})
        .located("phase 'train'")
        .located("phase 'train'")
    )

    assert same is error
    assert error.where == "phase 'train', FeatureSet 'cells', column 'x'"
    assert MMLError("x").where is None


@pytest.mark.parametrize("part", ["what", "where", "expected", "found", "hint"])
def test_the_rendered_size_is_bounded_and_the_parts_are_kept_whole(part):
    long = "x" * 100_000
    arguments = {"what": "w"} | {part: long}
    error = MMLError(arguments.pop("what"), **arguments)

    assert len(str(error)) < 2000
    assert str(error).endswith("…")
    assert getattr(error, part) == long


def test_near_names_are_offered_whatever_their_case():
    assert did_you_mean("voltag", ["voltage", "current"]) == "Did you mean 'voltage'?"
    assert did_you_mean("PCA", ["pca", "nmf"]) == "Did you mean 'pca'?"
    assert did_you_mean("q", ["b", "a"]) == "Available: 'a', 'b'."
    assert did_you_mean("q", []) == "There are none."
    assert did_you_mean(3, [3.5, 41]) == "Available: '3.5', '41'."


@given(names=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=40), asked=st.text(max_size=8))
def test_the_advice_names_only_what_exists_and_is_short(names, asked):
    advice = did_you_mean(asked, names)

    assert any(repr(name) in advice for name in names)
    assert advice.count("'") + advice.count('"') <= 2 * 13 + sum(
        name.count("'") + name.count('"') for name in names
    )
    if asked in names:
        assert repr(asked).lower() in advice.lower()


@given(names=st.lists(st.text(max_size=5), max_size=40))
def test_lists_are_shortened_after_a_dozen(names):
    text = listed(names)

    assert text.startswith(", ".join(repr(one) for one in names[:12]))
    assert text.endswith(f" and {len(names) - 12} more") == (len(names) > 12)
