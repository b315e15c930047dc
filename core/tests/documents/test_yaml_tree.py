"""YAML as plain values with lines: what is read, and what is refused."""

import pytest

from mml.documents.yaml_tree import MAX_BYTES, MAX_VALUES, parse_yaml
from mml.errors import DocumentError


def tree(text):
    return parse_yaml(text, name="x.yaml").tree


def refusal(text) -> str:
    with pytest.raises(DocumentError) as caught:
        parse_yaml(text, name="x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # Words that older YAML turns into something else: the keys and values that experiments need.
        ("on", "on"),
        ("no", "no"),
        ("off", "off"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("1e-3", 1e-3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-2", -2),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("'1'", "1"),
        ('"true"', "true"),
        (".inf", float("inf")),
        ("-.inf", float("-inf")),
        ("é", "é"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text, value):
    found = tree(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_an_empty_text_is_nothing():
    assert tree("") is None
    assert tree("# only a comment\n") is None


def test_every_value_has_the_line_of_its_key():
    text = "a:\n  b: 1\n  c:\n    - x\n    - y: 2\n      z: 3\n"
    lines = parse_yaml(text, name="x.yaml").lines
    assert lines[("a",)] == 1
    assert lines[("a", "b")] == 2
    assert lines[("a", "c")] == 3
    assert lines[("a", "c", 0)] == 4
    assert lines[("a", "c", 1, "z")] == 6


def test_a_key_that_stands_twice_is_refused_with_both_lines():
    message = refusal("a: 1\nb: 2\na: 3\n")
    assert "'a' stands here twice" in message
    assert "line 3" in message
    assert "line 1" in message


def test_several_mistakes_are_told_together():
    message = refusal("a: 1\na: 2\nb: !!python/object:os.system {}\n")
    assert "2 mistakes" in message
    assert "line 2" in message
    assert "line 3" in message


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['echo']",
        "a: !!python/name:os.system",
        "a: !custom x",
        "a: !!binary aGVsbG8=",
        "a: !!set {x}",
        "!!python/object:builtins.object {}",
        "- !!timestamp 2020-01-01",
    ],
)
def test_tags_are_refused(text):
    assert "Tags are not allowed" in refusal(text)


def test_an_explicit_plain_tag_must_hold_what_it_says():
    assert tree("a: !!int '3'")["a"] == 3
    assert "no int" in refusal("a: !!int x")


def test_aliases_are_read_as_what_they_stand_for():
    assert tree("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_a_bomb_of_aliases_is_refused_quickly():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert f"{MAX_VALUES:,}" in refusal("\n".join(lines))


def test_an_alias_to_itself_is_refused():
    assert "loops" in refusal("a: &a [*a]")


def test_merge_keys_are_refused():
    message = refusal("a: &a {x: 1}\nb:\n  <<: *a\n")
    assert "Merge keys" in message
    assert "line 3" in message


def test_deep_nesting_is_refused():
    assert "nested too deeply" in refusal("a: " + "[" * 200 + "]" * 200)
    assert "nested too deeply" in refusal("a: " + "[" * 5000 + "]" * 5000)


def test_a_long_text_is_refused():
    assert f"{MAX_BYTES:,}" in refusal("# " + "x" * MAX_BYTES)


def test_a_key_is_a_word():
    assert "A key is a word" in refusal("[1, 2]: x")
    assert tree("1: x") == {"1": "x"}


def test_bytes_that_are_no_utf_8_are_refused():
    assert "UTF-8" in refusal(b"label: \xff\xfe")


@pytest.mark.parametrize(
    "text", ["a: [1, 2", "a: 'x", "a: 1\n b: 2", "a: b: c", "\ta: 1", "a: *nowhere", "a: 1\n---\nb: 2"]
)
def test_a_syntax_error_names_the_line(text):
    message = refusal(text)
    assert "no YAML" in message
    assert "line " in message
