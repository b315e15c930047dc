"""What a person sees of a FeatureSet: summaries, representations, and what they must not cost."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.data.collection import SampleCollection
from mml.errors import MMLError, SplitError

from .samples import cells, single


def made(data, features=(), tags=(), label="cells"):
    with ExperimentContext().activate():
        return FeatureSet.from_dict(label, data, feature_keys=features, tag_keys=tags)


def line_of(text, start):
    (line,) = [line.strip() for line in text.splitlines() if line.strip().startswith(start)]
    return " ".join(line.split())


def test_a_summary_says_what_a_reader_wants_to_know():
    fs = made(
        {
            "x": np.array([[1, np.nan], [np.inf, -np.inf], [np.nan, 4]], dtype=np.float32),
            "ok": np.ones(3),
            "n": np.arange(3),
            "c": ["a", None, "a"],
            "t": pa.array([1, None, None], pa.timestamp("us", "Europe/Paris")),
            "b": pa.array([True, None, False]),
            "f": pa.array([1.0, None, float("nan")]),
        },
        features=["x", "ok", "n"],
        tags=["c", "t", "b", "f"],
    )
    fs.split_by_condition({"train": {"n": [0, 2]}}, rest="test")
    fs.fit_transform("minmax", domain="features", keys="n", fit_to_split="train")
    text = fs.summary()

    assert text.splitlines()[0].startswith("FeatureSet 'cells': 3 samples, 8 columns, ")
    assert line_of(text, "features.x.raw") == "features.x.raw float32[2] 2 NaN, 2 infinite"
    assert line_of(text, "features.ok.raw") == "features.ok.raw float64 all finite"
    assert line_of(text, "features.n.raw") == "features.n.raw int64"
    assert line_of(text, "tags.c.raw") == "tags.c.raw string 1 category, 1 missing"
    assert line_of(text, "tags.t.raw") == "tags.t.raw datetime64[us, Europe/Paris] 2 missing"
    assert line_of(text, "tags.b.raw") == "tags.b.raw bool 1 missing"
    assert line_of(text, "tags.f.raw") == "tags.f.raw float64 1 NaN, 1 missing"
    assert line_of(text, "split 'test'") == "split 'test': 1 sample (33.3%)"
    assert line_of(text, "transform") == "transform mml/minmax on features n, fitted on train"


def test_a_view_is_summarised_by_its_own_rows_and_columns():
    fs = made({"x": np.array([1, np.nan, 3]), "y": np.ones(3), "c": ["a", "b", None]}, ["x", "y"], "c")
    fs.fit_transform("standard", domain="features", keys=["y"])
    text = fs.take([0, 2]).select(["x", "c"]).summary()

    assert text.splitlines()[0].startswith("FeatureSetView 'cells[2 rows]': 2 samples, 2 columns")
    assert line_of(text, "features.x.raw").endswith("all finite")
    assert line_of(text, "tags.c.raw").endswith("1 category, 1 missing")
    assert "transform" not in text
    assert "transform mml/standard on features y" in fs.take([0]).summary()


def test_what_is_missing_is_told_from_nan_and_infinity_row_by_row():
    floats = [1.0, None, float("nan"), float("inf"), None]
    fs = made({"x": np.ones(5), "f": pa.array(floats, pa.float32())}, "x", "f")

    assert line_of(fs.summary(), "tags.f.raw") == "tags.f.raw float32 1 NaN, 1 infinite, 2 missing"
    assert line_of(fs.take([1, 4, 0]).summary(), "tags.f.raw") == "tags.f.raw float32 2 missing"
    assert line_of(fs.take([2]).summary(), "tags.f.raw") == "tags.f.raw float32 1 NaN"
    assert line_of(fs.take([0]).summary(), "tags.f.raw") == "tags.f.raw float32 all finite"
    many = made({f"f{number}": pa.array(floats) for number in range(70)}, tags=[f"f{i}" for i in range(70)])
    assert "... and 10 more columns (10 NaN, 10 infinite in them)" in many.summary()


def test_a_null_among_the_words_of_a_dictionary_is_missing():
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1], pa.int32()), pa.array(["a", None]))

    assert line_of(made({"c": words}, tags="c").summary(), "tags.c.raw").endswith("1 category, 3 missing")


def test_names_give_a_terminal_no_orders():
    key, split = "a\nb\x1b[2J\u200bc", "tra\nin"
    fs = made({key: np.arange(4.0), "n": np.arange(4)}, key, "n")
    fs.split_by_condition({split: {"n": [0, 1]}}, rest="rest")
    fs.fit_transform("standard", domain="features", fit_to_split=split)

    for text in (fs.summary(), fs[split].summary(), repr(fs), repr(fs[split])):
        assert all(line.isprintable() for line in text.split("\n"))
    assert r"features.a\nb\x1b[2J\u200bc.raw" in fs.summary()
    assert r"on features a\nb\x1b[2J\u200bc, fitted on tra\nin" in fs.summary()
    assert len(fs.summary().splitlines()) == 8


def test_wide_sets_and_long_names_stay_readable():
    long = "a" * 70 + "_the_end"
    data = {f"c{number}": np.ones(4) for number in range(200)} | {long: np.ones(4)}
    data["c150"][2] = np.nan
    text = made(data, features=[long, *(f"c{number}" for number in range(200))]).summary()

    assert max(len(line) for line in text.splitlines()) <= 110
    assert "_the_end.raw" in text
    assert "... and 141 more columns (1 NaN in them)" in text


def test_an_empty_structure_is_summarised_too():
    with ExperimentContext().activate():
        empty = FeatureSet.from_config(cells().get_config())

    assert "0 samples" in empty.summary()
    assert "0 samples" in empty._repr_html_()
    assert repr(empty) == "FeatureSet('cells', 0 samples, 4 features, 1 targets, 3 tags, splits [])"


def test_a_state_without_its_table_is_sent_to_load():
    filled = cells()
    filled.split_random(ratios={"a": 0.5, "b": 0.5}, seed=0)
    with ExperimentContext().activate():
        empty = FeatureSet.from_config(filled.get_config())
    with pytest.raises(MMLError, match="names rows that do not exist") as caught:
        empty.set_state(filled.get_state())

    assert "FeatureSet.load" in caught.value.hint
    assert len(empty["a"]) == 0


class Page(HTMLParser):
    """Collects text and checks that tags close in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.text = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_html_is_whole_and_escaped():
    label = "<script>alert('x')</script>"
    fs = made({"<b>x</b>": np.ones((4, 2)), "c": list("abca")}, "<b>x</b>", "c", label=label)
    fs.split_by_condition({"<i>a</i>": {"c": "a"}}, rest="rest")
    fs.fit_transform("standard", domain="features", fit_to_split="<i>a</i>")
    html = fs._repr_html_()
    page = Page(html)

    for raw in ("<script>", "<b>", "<i>"):
        assert raw not in html
    for text in ("<b>x</b>", "float64[2]", "<i>a</i>", "50.0%", "transformed"):
        assert text in page.text
    assert "color" not in html
    assert "2 samples, 1 column" in "".join(Page(fs["rest"].select("c")._repr_html_()).text)


def test_showing_a_featureset_reads_no_values(monkeypatch):
    fs = cells()
    fs.split_random(ratios={"train": 0.5, "test": 0.5}, seed=0)
    fs.fit_transform("standard", domain="features", fit_to_split="train")
    monkeypatch.setattr(SampleCollection, "column", lambda *_: pytest.fail("a column was read"))
    monkeypatch.setattr("mml.data.collection.fingerprint", lambda *_: pytest.fail("the values were hashed"))

    for one in (fs, fs["train"], fs.take([3, 1]), fs.select("pulse")):
        assert repr(one)
        assert "float32" in one._repr_html_()


def test_representations_say_what_there_is():
    fs = single(np.ones(4))
    fs.split_by_condition({"train": {"row": [0, 3]}}, rest="test")

    assert repr(fs) == "FeatureSet('one', 4 samples, 1 features, 1 tags, splits ['train', 'test'])"
    assert repr(fs["train"]) == "FeatureSetView('one[train]', 2 samples, 2 columns)"
    assert repr(fs.splits) == "{'train': 2 samples, 'test': 2 samples}"


def test_splits_are_a_mapping_that_answers_a_wrong_name():
    fs = single(np.ones(4))
    fs.split_by_condition({"train": {"row": [0, 3]}}, rest="test")
    splits = fs.splits

    assert dict(splits).keys() == {"train", "test"}
    assert [name for name, view in splits.items() if len(view) == 2] == ["train", "test"]
    assert "train" in splits
    assert [1] not in splits
    assert splits.get("nope") is None
    assert splits.get([1], 3) == 3
    assert splits.get("test").rows.tolist() == [1, 2]
    with pytest.raises(SplitError, match="no split 'trian'") as caught:
        splits["trian"]
    assert caught.value.hint == "Did you mean 'train'?"
    with pytest.raises(SplitError, match=r"no split \['train'\]"):
        fs[["train"]]
    with pytest.raises(SplitError, match="no split") as caught:
        single(np.ones(4)).splits["train"]
    assert "Split it first" in caught.value.hint
