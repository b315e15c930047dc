"""States come back equal in type and bits, or are refused by path."""

from __future__ import annotations

import enum
import hashlib
import math
import struct
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import StateError
from mml.files import flatten_state, state_digest, unflatten_state

from .states import DTYPES, arrays, same_bits, states


def _shuffled(value):
    """The same value with the keys of every dict in reverse order."""
    if isinstance(value, dict):
        return {key: _shuffled(value[key]) for key in reversed(value)}
    return [_shuffled(one) for one in value] if isinstance(value, list) else value


@given(states())
def test_flatten_then_unflatten_is_the_identity(state):
    tree, found = flatten_state(state)
    assert same_bits(unflatten_state(tree, found), state)


@given(states())
def test_the_digest_sees_values_and_not_the_order_of_keys(state):
    assert state_digest(_shuffled(state)) == state_digest(state)
    assert state_digest({**state, "one more": 0}) != state_digest(state)


@given(states(), states())
def test_digests_are_equal_exactly_for_equal_states(first, second):
    assert (state_digest(first) == state_digest(second)) == same_bits(first, _sorted_like(second, first))


def _sorted_like(value, model):
    if isinstance(value, dict) and isinstance(model, dict) and set(value) == set(model):
        return {key: _sorted_like(value[key], model[key]) for key in model}
    if isinstance(value, list) and isinstance(model, list) and len(value) == len(model):
        return [_sorted_like(one, other) for one, other in zip(value, model, strict=True)]
    return value


@given(arrays())
def test_the_memory_layout_of_arrays_does_not_enter_the_digest(array):
    plain = state_digest({"a": array.copy(order="C")})
    assert state_digest({"a": np.asfortranarray(array)}) == (
        plain if array.ndim else state_digest({"a": array.reshape(1)})
    )
    spread = np.zeros((*array.shape, 2), dtype=array.dtype)
    spread[..., 0] = array
    assert state_digest({"a": spread[..., 0]}) == plain
    assert state_digest({"a": array.astype(array.dtype.newbyteorder(">"))}) == plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0.0, -0.0),
        (1, 1.0),
        (1, True),
        ("1", 1),
        ([], {}),
        (None, False),
        ([[1], 2], [[1, 2]]),
        (np.zeros(2), np.zeros((2, 1))),
        (np.zeros(2, "f4"), np.zeros(2, "i4")),
        (np.zeros(0), np.zeros((0, 1))),
        (np.array(0.0), np.array(-0.0)),
        (np.array(1.0), 1.0),
        (np.zeros(1), {"$array": "/x"}),
        (float("nan"), {"$float": "7ff8000000000000"}),
    ],
)
def test_different_states_have_different_digests(one, other):
    assert state_digest({"x": one}) != state_digest({"x": other})


def test_the_digest_is_the_documented_one():
    # A change of this encoding makes every recorded digest incomparable: it needs a new prefix.
    weight = np.arange(6, dtype="<f4").reshape(2, 3)
    text = '{"name":"ü","step":3,"w":{"$array":"/w"}}'.encode()
    expected = b"mml-state-1 %d 1\n" % len(text) + text + b'["/w", "float32", [2, 3]]\n' + weight.tobytes()
    assert state_digest({"w": weight, "step": 3, "name": "ü"}) == hashlib.sha256(expected).hexdigest()


def test_nan_payloads_of_plain_floats_survive():
    (nan,) = struct.unpack(">d", bytes.fromhex("fff8000000abcdef"))
    tree, found = flatten_state({"x": nan, "y": math.inf, "z": -math.inf})
    back = unflatten_state(tree, found)
    assert struct.pack(">d", back["x"]).hex() == "fff8000000abcdef"
    assert (back["y"], back["z"]) == (math.inf, -math.inf)


def test_arrays_are_named_by_json_pointer_and_not_copied():
    weight = np.zeros(3)
    tree, found = flatten_state({"layers": [{"a/b": weight, "~": weight[:1]}], "__metadata__": weight})
    assert list(found) == ["/layers/0/a~1b", "/layers/0/~0", "/__metadata__"]
    assert found["/layers/0/a~1b"] is weight
    assert tree["layers"][0]["a/b"] == {"$array": "/layers/0/a~1b"}


class _Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ((1, 2), "list"),
        (b"raw", "frombuffer"),
        ({1, 2}, "JSON"),
        (1j, "JSON"),
        (object(), "JSON"),
        (np.float64(1.0), ".item()"),
        (np.int64(1), ".item()"),
        (_Colour.RED, "plain type"),
        (OrderedDict(a=1), "plain type"),
        (np.ma.masked_array([1.0], [True]), "plain arrays"),
    ],
)
def test_what_would_not_come_back_is_refused_by_path(value, hint):
    with pytest.raises(StateError) as caught:
        flatten_state({"outer": [0, {"inner": value}]})
    assert "/outer/1/inner" in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2, complex),
        np.zeros(2, object),
        np.array(["a"]),
        np.array([b"a"]),
        np.zeros(2, "datetime64[s]"),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, "V4"),
    ],
)
def test_arrays_of_other_dtypes_are_refused_by_path_and_dtype(array):
    with pytest.raises(StateError) as caught:
        flatten_state({"x": [array]})
    assert caught.value.where == "/x/0"
    assert caught.value.found == str(array.dtype)


@pytest.mark.parametrize("key", [1, None, ("a",), 2.5, b"a"])
def test_keys_that_are_not_strings_are_refused(key):
    with pytest.raises(StateError, match="not a string"):
        flatten_state({"x": {key: 1}})


def test_half_surrogates_and_huge_integers_are_refused():
    for state in ({"x": "\ud800"}, {"\ud800": 1}, {"x": 1 << 5000}):
        with pytest.raises(StateError):
            flatten_state(state)


def test_a_state_that_contains_itself_is_refused():
    state = {}
    state["self"] = state
    with pytest.raises(StateError, match="contains itself"):
        flatten_state(state)


def test_only_a_dict_is_a_state():
    with pytest.raises(StateError, match="is a dict"):
        flatten_state([1, 2])


@pytest.mark.parametrize(
    ("tree", "given_arrays"),
    [
        ({"a": {"$array": "/a"}}, {}),
        ({"a": {"$array": "/b"}}, {"/b": np.zeros(1)}),
        ({"a": {"$array": ["/a"]}}, {"/a": np.zeros(1)}),
        ({"a": 1}, {"/a": np.zeros(1)}),
        ({"a": {"$unknown": 1}}, {}),
        ({"a": {"$float": "xyz"}}, {}),
        ({"a": {"$float": 3}}, {}),
        ({"a": {"$array": "/a", "more": 1}}, {"/a": np.zeros(1)}),
    ],
)
def test_a_tree_that_does_not_fit_its_arrays_is_refused(tree, given_arrays):
    with pytest.raises(StateError):
        unflatten_state(tree, given_arrays)


@given(st.sampled_from(DTYPES))
def test_every_listed_dtype_is_accepted(dtype):
    tree, found = flatten_state({"x": np.zeros(2, dtype)})
    assert same_bits(unflatten_state(tree, found), {"x": np.zeros(2, dtype)})
