"""DataFrames whose groups of rows are the samples, against pandas' own groupby."""

from __future__ import annotations

import datetime
import fractions

import numpy as np
import pandas
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError, DataError

FRAME = pandas.DataFrame(
    {
        "cell": ["b", "a", "b", "a", "c", "c"],
        "step": [2, 1, 1, 2, 1, 2],
        "v": np.arange(6, dtype=np.float32),
        "day": pandas.date_range("2024-01-01", periods=6, tz="Europe/Paris"),
        "kind": pandas.Categorical(["y", "x", "y", "x", "z", "z"]),
        "n": pandas.array([1, 2, 3, 4, 5, 6], dtype="Int16"),
        "curve": [[0.0, float(row)] for row in range(6)],
    }
)


def made(frame=FRAME, **options):
    with ExperimentContext().activate():
        return FeatureSet.from_pandas("cells", frame, **options)


def test_rows_of_a_group_become_the_axis_of_its_sample():
    fs = made(feature_cols=["v", "n", "curve"], target_cols="step", group_by="cell", sort_by="step")

    assert fs.get_features("v").tolist() == [[2, 0], [1, 3], [4, 5]]
    assert fs.get_features("v").dtype == np.float32
    assert fs.get_features("n").tolist() == [[3, 1], [2, 4], [5, 6]]
    assert fs.get_features("n").dtype == np.int16
    assert fs.get_features("curve").shape == (3, 2, 2)
    assert fs.get_features("curve")[0].tolist() == [[0, 2], [0, 0]]
    assert fs.get_targets("step").tolist() == [[1, 2]] * 3
    assert fs.get_tags("cell").tolist() == ["b", "a", "c"]


def test_without_sorting_rows_and_groups_keep_their_order():
    fs = made(feature_cols=["v", "day"], tag_cols=["kind"], group_by="cell")

    assert fs.get_features("v").tolist() == [[0, 2], [1, 3], [4, 5]]
    assert fs.get_features("day")[0].tolist() == FRAME["day"].dt.tz_convert(None)[[0, 2]].tolist()
    assert fs.schema.keys("tags") == ("kind", "cell")
    assert fs.get_tags("kind").tolist() == ["y", "x", "z"]


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("sort_by", [None, "step"])
def test_a_constant_column_is_one_value_a_sample(interleaved, sort_by):
    frame = FRAME if interleaved else FRAME.sort_values("cell", kind="stable")
    frame = frame.assign(label=frame["cell"].map({"a": 4, "b": 7, "c": 5}), mean=frame["cell"].map(len) * 0.5)
    fs = made(
        frame,
        feature_cols=["v", "mean"],
        target_cols="label",
        group_by="cell",
        sort_by=sort_by,
        constant_cols=["label", "mean"],
    )

    first = frame.groupby("cell", sort=False)["label"].first()
    assert fs.get_targets("label").shape == (3,)
    assert fs.get_targets("label").tolist() == first.tolist()
    assert fs.get_targets("label").dtype == np.int64
    assert fs.get_features("mean").tolist() == [0.5] * 3
    assert fs.get_features("v").shape == (3, 2)


def test_rows_of_equal_keys_keep_the_order_of_the_frame():
    frame = FRAME.assign(step=[1, 1, 1, 0, 1, 1])
    fs = made(frame, feature_cols="v", group_by="cell", sort_by="step")
    assert fs.get_features("v").tolist() == [[0, 2], [3, 1], [4, 5]]


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 9), st.booleans())
def test_groups_are_those_of_pandas(n_groups, length, seed, interleaved):
    rng = np.random.default_rng(seed)
    number = np.repeat(rng.permutation(n_groups), length)
    if interleaved:
        number = rng.permutation(number)
    frame = pandas.DataFrame({"a": number // 2, "b": number % 2, "x": rng.normal(size=len(number))})
    frame["k"] = rng.integers(0, 3, len(frame))
    fs = made(frame, feature_cols="x", group_by=["a", "b"], sort_by=["k", "x"])
    expected = {
        key: group.sort_values(["k", "x"], kind="stable")["x"].to_numpy()
        for key, group in frame.groupby(["a", "b"], sort=False)
    }

    assert list(zip(fs.get_tags("a"), fs.get_tags("b"), strict=True)) == list(expected)
    assert fs.get_features("x").tobytes() == np.stack(list(expected.values())).tobytes()


def test_without_groups_all_rows_are_sorted_and_keep_their_dtypes():
    fs = made(feature_cols=["v"], tag_cols=["cell", "day"], sort_by=["cell", "step"])
    expected = FRAME.sort_values(["cell", "step"], kind="stable")

    assert fs.get_features("v").tolist() == expected["v"].tolist()
    assert fs.get_tags("day", fmt="pandas")["day"].tolist() == expected["day"].tolist()


def test_a_column_that_is_grouped_by_may_also_be_a_feature():
    fs = made(feature_cols=["v", "step"], group_by="step")

    assert fs.schema.keys("tags") == ()
    assert fs.get_features("step").tolist() == [[2, 2, 2], [1, 1, 1]]


def test_the_index_of_a_frame_does_not_matter():
    shuffled = FRAME.set_index(pandas.Index([5, 5, 0, 1, 9, 5]))

    assert made(shuffled, feature_cols="v", group_by="cell", sort_by="step") == made(
        feature_cols="v", group_by="cell", sort_by="step"
    )


@pytest.mark.parametrize("kind", ["datetime64[ns, Europe/Paris]", "timestamp[us, tz=Asia/Tokyo][pyarrow]"])
@pytest.mark.parametrize("interleaved", [False, True])
def test_times_of_a_group_keep_their_zone(kind, interleaved):
    days = pandas.Series(pandas.date_range("2024-01-01", periods=4, tz="UTC")).astype(kind)
    frame = pandas.DataFrame({"x": days, "g": [0, 1, 0, 1] if interleaved else [0, 0, 1, 1]})
    fs = made(frame, feature_cols="x", group_by="g")
    stored = fs.get_features("x", fmt="arrow")["x"].type
    rows = [[0, 2], [1, 3]] if interleaved else [[0, 1], [2, 3]]

    assert stored.value_type == pa.array(days, from_pandas=True).type
    assert fs.get_features("x").astype("M8[D]").tolist() == [
        [datetime.date(2024, 1, 1 + row) for row in group] for group in rows
    ]


def test_lists_of_zoned_times_of_a_group_keep_their_zone():
    time = datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC)
    frame = pandas.DataFrame({"x": [[time, time], [time, time]], "g": [0, 0]})
    fs = made(frame, feature_cols="x", group_by="g")

    assert fs.get_features("x").shape == (1, 2, 2)
    assert fs.get_features("x", fmt="arrow")["x"].type.value_type.tz == "UTC"


@pytest.mark.parametrize("options", [{}, {"group_by": "cell"}])
@pytest.mark.parametrize("domain", ["feature_cols", "tag_cols"])
@pytest.mark.parametrize(
    ("values", "row"),
    [
        (pandas.Series([1, "a", 1, "a", 1, 1], dtype=object), 1),
        (pandas.Series([1, 1, 1, 1, b"a", b"a"], dtype=object), 4),
        ([fractions.Fraction(1)] * 6, 0),
    ],
)
def test_a_bad_value_is_named_by_its_row_in_the_frame_however_it_is_sorted(options, domain, values, row):
    frame = FRAME.assign(x=values, order=range(6, 0, -1))
    with pytest.raises(DataError, match="'x'") as caught:
        made(frame, **{"feature_cols": "v", domain: "x"}, sort_by="order", **options)

    assert f"row {row}" in caught.value.where


@pytest.mark.parametrize("options", [{}, {"group_by": "cell"}])
@pytest.mark.parametrize("values", [pandas.array([1, 2, 3, None, 5, 6], "Int8"), [1, 2, 3, None, 5, 6]])
def test_a_missing_value_is_named_by_its_row_in_the_frame_however_it_is_sorted(options, values):
    times = pandas.to_datetime(pandas.Series(values), unit="s")
    for column in (pandas.Series(values, dtype=None if hasattr(values, "dtype") else object), times):
        frame = FRAME.assign(x=column, order=range(6, 0, -1))
        with pytest.raises(DataError, match="'x' has a missing value in row 3"):
            made(frame, feature_cols="x", sort_by="order", **options)


def test_sorted_columns_keep_types_that_numpy_does_not_have():
    frame = FRAME.assign(x=pandas.array([1, None, 3, 4, 5, 6], dtype="Int16"), order=range(6, 0, -1))
    fs = made(frame, feature_cols="v", tag_cols=["x", "kind", "day"], sort_by="order")

    assert fs.get_tags("x").tolist() == [6, 5, 4, 3, None, 1]
    assert fs.get_tags("kind").tolist() == frame["kind"].tolist()[::-1]
    assert fs.get_tags("day", fmt="pandas")["day"].tolist() == frame["day"].tolist()[::-1]


LISTS = pandas.Series([[1, 2]] * 6)
ARROW_LISTS = pandas.Series([[1, 2]] * 6, dtype=pandas.ArrowDtype(pa.list_(pa.int64())))


@pytest.mark.parametrize("values", [LISTS, ARROW_LISTS])
@pytest.mark.parametrize(
    "options", [{"group_by": "x"}, {"group_by": "cell", "tag_cols": "x"}, {"group_by": ["cell", "x"]}]
)
def test_lists_neither_group_rows_nor_describe_groups(values, options):
    with pytest.raises(DataError, match="'x' cannot be told apart") as caught:
        made(FRAME.assign(x=values), feature_cols="v", **options)

    assert "one number, text or time" in caught.value.expected


def test_lists_of_arrow_do_not_sort_rows():
    with pytest.raises(DataError, match="cannot be sorted"):
        made(FRAME.assign(x=ARROW_LISTS), feature_cols="v", sort_by="x")


BAD = {
    "ragged groups": (
        FRAME.iloc[:5],
        {"feature_cols": "v", "group_by": "cell"},
        ["cell=c", "row 4", "expected: 2 row(s), as in the group cell=b", "found: 1 row(s)"],
    ),
    "a tag that varies": (
        FRAME,
        {"feature_cols": "v", "tag_cols": "step", "group_by": "cell"},
        [
            "'step' varies within the group cell=b",
            "found: 2 in row 0, 1 in row 2",
            "try: Name it among the features",
        ],
    ),
    "a constant column that varies": (
        FRAME,
        {"feature_cols": "v", "target_cols": "step", "group_by": "cell", "constant_cols": "step"},
        [
            "constant column 'step' varies within the group cell=b",
            "found: 2 in row 0, 1 in row 2",
            "try: Leave it out of constant_cols",
        ],
    ),
    "a constant column that varies, sorted": (
        FRAME,
        {
            "feature_cols": ["v", "n"],
            "group_by": "cell",
            "sort_by": "step",
            "constant_cols": "n",
        },
        ["'n' varies within the group cell=b", "found: 3 in row 2, 1 in row 0"],
    ),
    "a constant column without groups": (
        FRAME,
        {"feature_cols": "v", "constant_cols": "v"},
        ["there are none", "group_by"],
    ),
    "a missing group": (
        FRAME.assign(cell=["b", None] * 3),
        {"feature_cols": "v", "group_by": "cell"},
        ["'cell' has a missing value in row 1", "group_by"],
    ),
    "text in a group": (FRAME, {"feature_cols": "kind", "group_by": "cell"}, ["tensors of text", "row 0"]),
    "a null in a group": (
        FRAME.assign(n=pandas.array([1, 2, 3, None, 5, 6], dtype="Int16")),
        {"feature_cols": "n", "group_by": "cell"},
        ["'n' has a missing value in row 3"],
    ),
    "no rows": (FRAME.iloc[:0], {"feature_cols": "v", "group_by": "cell"}, ["at least one sample"]),
    "no rows, no groups": (FRAME.iloc[:0], {"feature_cols": "v"}, ["at least one sample"]),
    "rows that do not sort": (
        FRAME.assign(mixed=pandas.Series(["a", 1] * 3, dtype=object)),
        {"feature_cols": "v", "sort_by": "mixed"},
        ["cannot be sorted", "sort_by"],
    ),
    "no frame": ({"v": [1]}, {"feature_cols": "v"}, ["takes a DataFrame", "dict"]),
    "a series": (FRAME["v"], {"feature_cols": "v"}, ["takes a DataFrame", "Series"]),
    "keys that are no strings": (pandas.DataFrame([[1, 2]]), {"feature_cols": [0]}, ["cannot be the key"]),
    "ragged samples": (
        pandas.DataFrame({"x": [[1], [1, 2]]}),
        {"feature_cols": "x"},
        ["row 1", "shape (1,)"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_frames_are_refused_by_name_and_nothing_is_registered(case):
    frame, options, words = BAD[case]
    with ExperimentContext().activate() as context, pytest.raises(DataError) as caught:
        FeatureSet.from_pandas("bad", frame, **options)

    assert [word for word in words if word not in str(caught.value)] == []
    assert "FeatureSet 'bad'" in str(caught.value)
    assert len(context) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"feature_cols": "vv"},
        {"feature_cols": "v", "group_by": "cel"},
        {"feature_cols": "v", "group_by": "cell", "constant_cols": "vv"},
        {"feature_cols": "v", "sort_by": ["cell", "stepp"]},
    ],
)
def test_unknown_columns_are_answered_with_the_near_ones(options):
    with pytest.raises(ColumnError, match="no key") as caught:
        made(**options)

    assert caught.value.hint.startswith("Did you mean") or "Available" in caught.value.hint
    with pytest.raises(ColumnError, match="a string, or a list"):
        made(feature_cols="v", group_by=3)
