"""The rule for a node's inputs: shapes at build time agree with arrays at run time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.data import assemble, assembled_shape
from mml.errors import ConfigError, ShapeError

SHAPES = st.lists(st.lists(st.integers(1, 3), max_size=2).map(tuple), min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("shapes", "combine", "expected"),
    [
        ([()], None, (1,)),
        ([(4,)], None, (4,)),
        ([(2, 3)], None, (2, 3)),
        ([(), ()], None, (2,)),
        ([(4,), (4,), (4,)], None, (3, 4)),
        ([(1,), (1,)], None, (2, 1)),
        ([(30,), ()], "concat", (31,)),
        ([(2, 3), (4, 3)], "concat", (6, 3)),
        ([(4,)], "concat", (4,)),
    ],
)
def test_one_column_stacking_and_concatenation(shapes, combine, expected):
    rng = np.random.default_rng(0)
    columns = [rng.normal(size=(7, *shape)).astype(np.float32) for shape in shapes]
    made = assemble(columns, combine)

    assert assembled_shape(shapes, combine) == expected
    assert made.shape == (7, *expected)
    assert made.dtype == np.float32
    flat = np.concatenate([column.reshape(7, -1) for column in columns], axis=1)
    assert np.array_equal(np.sort(made.reshape(7, -1), axis=1), np.sort(flat, axis=1))


def test_a_single_column_is_not_copied():
    column = np.ones((5, 3))

    assert assemble([column]) is column
    assert np.shares_memory(assemble([column[:, 0]]), column)


def test_dict_keeps_names():
    made = assemble({"a": np.ones(5), "b": np.ones((5, 2))}, "dict")

    assert {name: array.shape for name, array in made.items()} == {"a": (5, 1), "b": (5, 2)}
    assert assembled_shape({"a": (), "b": (2,)}, "dict") == {"a": (1,), "b": (2,)}


def test_shapes_that_do_not_fit_name_the_columns_and_the_way_out():
    with pytest.raises(ShapeError, match="combine") as caught:
        assembled_shape({"voltage": (), "pulse": (5,)})
    assert "voltage ()" in str(caught.value)
    assert "pulse (5,)" in str(caught.value)
    with pytest.raises(ShapeError, match="other axes differ"):
        assembled_shape([(2, 3), (2, 4)], "concat")
    with pytest.raises(ConfigError, match="Did you mean 'concat'"):
        assembled_shape([()], "concatt")
    with pytest.raises(ShapeError, match="at least one"):
        assembled_shape([])


@given(SHAPES, st.sampled_from([None, "concat", "dict"]))
def test_build_time_and_run_time_agree(shapes, combine):
    columns = {f"c{number}": np.zeros((3, *shape)) for number, shape in enumerate(shapes)}
    declared = {name: column.shape[1:] for name, column in columns.items()}
    try:
        shape = assembled_shape(declared, combine)
    except ShapeError:
        with pytest.raises(ShapeError):
            assemble(columns, combine)
    else:
        made = assemble(columns, combine)
        found = {k: v.shape[1:] for k, v in made.items()} if combine == "dict" else made.shape[1:]
        assert found == shape
