"""Polars as a partner: what goes in and what comes out.

Imported with the module, because polars sets an environment variable of its own when it is first imported.
"""

from __future__ import annotations

import numpy as np
import pytest

from mml.data import FeatureSet

from .samples import arrays, cells

polars = pytest.importorskip("polars")


def test_frames_go_in_through_the_arrow_stream():
    frame = polars.DataFrame({"x": [1.0, 2.0], "c": ["a", None], "v": [[1, 2], [3, 4]]})
    fs = FeatureSet.from_arrow("p", frame, feature_keys=["x", "v"], tag_keys="c")

    assert fs.get_features("v").tolist() == [[1, 2], [3, 4]]
    assert fs.get_features("x").dtype == np.float64
    assert fs.get_tags("c").tolist() == ["a", None]


def test_series_go_in_as_columns():
    fs = FeatureSet.from_dict("p", {"x": polars.Series([1, 2], dtype=polars.Int8)}, feature_keys="x")

    assert fs.get_features("x").dtype == np.int8


def test_columns_come_out_as_a_frame():
    frame = cells().get_data(["voltage", "pulse", "cell"], fmt="polars")

    assert frame.columns == ["features.voltage.raw", "features.pulse.raw", "tags.cell.raw"]
    assert np.array_equal(frame["features.pulse.raw"].to_numpy(), arrays()["pulse"])
    assert frame["tags.cell.raw"].to_list() == arrays()["cell"]
