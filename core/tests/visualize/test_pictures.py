"""Pictures of graphs: what is drawn, as Mermaid text and as SVG that loads nothing."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import mml
from mml.errors import ConfigError
from mml.visualize import GraphPicture
from mml.visualize.mermaid import escaped

SVG = "{http://www.w3.org/2000/svg}"


def data(label="cells"):
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=(20, 3)),
        "u": rng.normal(size=(20, 2)).astype(np.float32),
        "y": np.ones((20, 1), np.float32),
    }
    made = mml.FeatureSet.from_dict(label, columns, feature_keys=["x", "u"], target_keys="y")
    made.split_random(ratios={"train": 0.5, "test": 0.5}, seed=0)
    return made


def dense(label, upstream, width=4, **settings):
    return mml.ModelNode(label, mml.Model("reference/mlp", output_shape=width), upstream, **settings)


def foreign(label, upstream):
    return mml.ModelNode(label, mml.Model(np.tanh, backend="numpy"), upstream)


def branches(rows=None):
    """A function, a frozen model behind it, a branch that learns, a sum and a head."""
    rows = rows or data()
    scale = foreign("scale", rows.reference(features="x", targets="y"))
    frozen = dense("frozen", scale)
    frozen.freeze()
    side = dense("side", rows.reference(features="u", targets="y"))
    both = mml.SumNode("both", [frozen, side])
    return mml.ModelGraph([scale, frozen, side, both, dense("head", both, 1)], optimizer="adam", label="net")


def training(**settings):
    return mml.TrainPhase.from_split(
        "train",
        split="train",
        sampler=mml.SimpleSampler(batch_size=4, shuffle=True),
        losses=[mml.AppliedLoss("mse", on="head", weight=0.5)],
        **settings,
    )


def boxes(picture):
    return {box.key: box for box in picture.drawing.boxes}


def arrows(picture):
    return {(one.source, one.target): one for one in picture.drawing.arrows}


# --- what is drawn ---------------------------------------------------------------------------------------


def test_every_kind_of_thing_and_every_edge_is_there():
    picture = branches().visualize()
    assert {key: box.kind for key, box in boxes(picture).items()} == {
        "data cells": "data",
        "node scale": "model",
        "node frozen": "model",
        "node side": "model",
        "node both": "merge",
        "node head": "model",
    }
    assert set(arrows(picture)) == {
        ("data cells", "node scale"),
        ("data cells", "node side"),
        ("node scale", "node frozen"),
        ("node frozen", "node both"),
        ("node side", "node both"),
        ("node both", "node head"),
    }
    assert arrows(picture)["data cells", "node scale"].label == "x"


def test_shapes_freezing_and_learning_are_told():
    found = boxes(branches().visualize())
    assert "(3,) → (4,)" in found["node frozen"].lines
    assert "→ (4,)" in found["node both"].lines
    assert "SumNode" in found["node both"].lines
    assert "frozen by the user" in found["node frozen"].lines
    assert [key for key, box in found.items() if box.frozen] == ["node frozen"]
    assert [key for key, box in found.items() if box.learning] == ["node side", "node head"]


def test_borders_are_marked_where_gradients_stop_and_where_values_are_converted():
    rows = data()
    a = dense("a", rows.reference(features="x", targets="y"), optimizer="sgd")
    b = dense("b", a, optimizer="sgd")
    found = arrows(mml.ModelGraph([a, b, foreign("c", b)]).visualize())
    assert found["node a", "node b"].crossing == "stop"
    assert found["node b", "node c"].crossing == "convert"
    assert found["node b", "node c"].label == "reference → numpy"
    assert found["data " + rows.label, "node a"].crossing == "plain"
    assert arrows(branches(data("others")).visualize())["node side", "node both"].crossing == "plain"


def test_a_phase_brings_its_sampler_its_rows_and_its_losses():
    picture = branches().visualize(training())
    found = boxes(picture)
    (sampler,) = [box for box in found.values() if box.kind == "sampler"]
    assert (sampler.title, *sampler.lines) == ("train", "SimpleSampler", "batch size 4", "shuffle")
    (loss,) = [box for box in found.values() if box.kind == "loss"]
    assert (loss.title, *loss.lines) == ("head/mse", "targets.y of cells", "weight 0.5")
    assert arrows(picture)["data cells", sampler.key].label == ""
    assert arrows(picture)[sampler.key, "node side"].label == "u"
    assert arrows(picture)["node head", loss.key].crossing == "plain"
    assert "learns" in found["node head"].lines
    assert picture.drawing.title == "net in train"


def test_what_a_phase_does_not_run_is_set_back():
    graph = branches()
    loss = mml.AppliedLoss("mse", on="side", inputs=["outputs", "features.u"])
    phase = mml.EvalPhase.from_split("look", split="test", losses=[loss], active_nodes=["side"])
    found = boxes(graph.visualize(phase))
    assert [box.title for box in found.values() if box.idle] == ["scale", "frozen", "both", "head"]
    assert "does not run" in found["node both"].lines
    (sampler,) = [box for box in found.values() if box.kind == "sampler"]
    assert (sampler.title, *sampler.lines) == ("test", "in order")


def test_bindings_of_their_own_have_samplers_of_their_own():
    one, other = data("one"), data("other")
    a, b = dense("a", one.reference(features="x", targets="y")), dense("b", other.reference(features="u"))
    both = mml.SumNode("both", [a, b], targets="a")
    graph = mml.ModelGraph([a, b, both, dense("head", both, 1)], optimizer="sgd")
    phase = mml.TrainPhase(
        "train",
        input_sources=[
            mml.InputBinding.for_training(node=a, sampler=mml.SimpleSampler(batch_size=2)),
            mml.InputBinding.for_training(node=b, sampler=mml.SimpleSampler(batch_size=3), split="train"),
        ],
        losses=[mml.AppliedLoss("mse", on="head")],
    )
    picture = graph.visualize(phase)
    titles = {box.key: box.title for box in picture.drawing.boxes if box.kind == "sampler"}
    assert sorted(titles.values()) == ["all rows", "train"]
    leading = {(one.source, one.target) for one in picture.drawing.arrows if one.source in titles}
    assert {(titles[source], target) for source, target in leading} == {
        ("all rows", "node a"),
        ("train", "node b"),
    }


def test_what_cannot_run_is_drawn_with_the_reason():
    rows = data()
    graph = mml.ModelGraph([dense("a", mml.FeatureSetReference("later")), dense("b", rows)], label="odd")
    picture = graph.visualize()
    assert "does not exist yet" in boxes(picture)["data later"].lines
    assert any("has no optimizer" in note for note in picture.drawing.notes)
    refused = graph.visualize(training())
    assert set(boxes(refused)) >= {"node a", "node b"}
    assert refused.drawing.notes
    assert "Refused" in refused.svg


def test_drawing_changes_nothing():
    graph = branches()
    before = graph.get_config()
    graph.visualize(training()).svg  # noqa: B018 -- drawn when it is read
    assert graph.get_config() == before
    assert not any(node.is_built for node in graph.nodes.values())


# --- Mermaid ---------------------------------------------------------------------------------------------


def test_the_text_is_a_flowchart_with_a_shape_for_each_kind():
    text = str(branches().visualize(training()))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "flowchart LR"
    assert 'n0[("cells")]' in lines
    assert any(line.startswith('n1(["train<br/>SimpleSampler') for line in lines)
    assert any(re.fullmatch(r'n\d\("frozen<br/>.*frozen by the user"\)', line) for line in lines)
    assert any(re.fullmatch(r'n\d\{\{"both<br/>SumNode.*"\}\}', line) for line in lines)
    assert any(re.fullmatch(r'n\d\[/"head/mse<br/>.*"/\]', line) for line in lines)
    assert any(
        re.fullmatch(r'n\d -\.->\|"numpy → reference, float32; gradients stop"\| n\d', x) for x in lines
    )
    frozen = next(line for line in lines if line.endswith(" frozen") and line.startswith("class "))
    named = next(line for line in lines if line.startswith(frozen.split()[1]))
    assert '"frozen<br/>' in named


@pytest.mark.parametrize(
    "label", ['say "hi"', "<b>bold</b>", "a & b", "`code`", "#35;", "end", "a\\b", "{x} [y] (z) |w|", "%% c"]
)
def test_labels_are_escaped_in_both_forms(label):
    rows = data(label)
    picture = mml.ModelGraph(
        [dense("n " + label.replace("/", " "), rows.reference(features="x"))]
    ).visualize()
    text = str(picture)
    assert f'n0[("{escaped(label)}")]' in text
    inside = re.search(r'n0\[\("(.*)"\)\]', text).group(1)
    assert not set(inside) & set('"<>`')
    drawn = ElementTree.fromstring(picture.svg)
    words = ["".join(one.itertext()) for one in drawn.iter(f"{SVG}text")]
    assert label in words


# --- SVG -------------------------------------------------------------------------------------------------


def test_the_picture_is_one_svg_that_loads_nothing_and_runs_nothing():
    picture = branches().visualize(training())
    drawn = ElementTree.fromstring(picture.svg)
    assert drawn.tag == f"{SVG}svg"
    assert drawn.get("aria-label") == "net in train"
    tags = {one.tag.removeprefix(SVG) for one in drawn.iter()}
    assert tags <= {"svg", "title", "defs", "marker", "path", "rect", "g", "text", "polygon"}
    attributes = " ".join(value for one in drawn.iter() for value in one.attrib.values())
    assert "http" not in attributes
    assert set(re.findall(r"url\(([^)]*)\)", attributes)) == {
        "#" + next(drawn.iter(f"{SVG}marker")).get("id")
    }
    assert not [
        name for one in drawn.iter() for name in one.attrib if "href" in name or name.startswith("on")
    ]


def test_kinds_and_states_differ_without_colour():
    colourless = re.sub(r'(fill|stroke)="[^"]*"', "", branches().visualize(training()).svg)
    drawn = ElementTree.fromstring(colourless)

    def drawn_as(title):
        group = next(
            one
            for one in drawn.iter(f"{SVG}g")
            if (named := one.find(f"{SVG}title")) is not None and named.text.split("\n")[0] == title
        )
        shape = next(one for one in group if one.tag != f"{SVG}title")
        return (
            shape.tag,
            shape.get("stroke-dasharray"),
            shape.get("stroke-width"),
            len(shape.get("points", "").split()),
        )

    seen = [drawn_as(title) for title in ("cells", "scale", "frozen", "head", "both", "head/mse")]
    assert len(set(seen)) == len(seen)
    assert (drawn_as("both")[3], drawn_as("head/mse")[3]) == (6, 4)


def test_every_box_and_the_text_in_it_lies_inside_the_picture():
    drawn = ElementTree.fromstring(branches().visualize(training()).svg)
    width, height = float(drawn.get("width")), float(drawn.get("height"))
    for one in drawn.iter(f"{SVG}rect"):
        assert float(one.get("x", 0)) + float(one.get("width")) <= width
    for one in drawn.iter(f"{SVG}text"):
        assert 0 <= float(one.get("x")) <= width
        assert 0 <= float(one.get("y")) <= height


def test_long_names_are_shortened_and_told_in_full_to_whoever_points_at_them():
    label = "a label that goes on and on and on until nobody reads it any more"
    svg = mml.ModelGraph([dense(label, data().reference(features="x"))]).visualize().svg
    drawn = ElementTree.fromstring(svg)
    assert label not in ["".join(one.itertext()) for one in drawn.iter(f"{SVG}text")]
    assert any(one.text.startswith(label) for one in drawn.iter(f"{SVG}title"))


def test_notebooks_get_the_picture_and_the_text_under_it():
    picture = branches().visualize()
    html = picture._repr_html_()
    assert picture.svg in html
    assert "&lt;br/&gt;" in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert picture._repr_svg_() == picture.svg
    assert isinstance(picture, GraphPicture)
    assert "6 boxes" in repr(picture)


def test_it_is_saved_as_either(tmp_path):
    picture = branches().visualize()
    assert picture.save(tmp_path / "net.svg").read_text(encoding="utf-8") == picture.svg
    assert picture.save(tmp_path / "net.mmd").read_text(encoding="utf-8") == str(picture)
    with pytest.raises(ConfigError, match=r"\.svg or \.mmd"):
        picture.save(tmp_path / "net.png")


def test_a_picture_is_the_same_in_every_process():
    graph = branches()
    assert graph.visualize().svg == graph.visualize().svg
