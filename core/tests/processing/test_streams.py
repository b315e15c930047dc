"""Streams and roles of views and batches: read plainly where there is one, by name where there are more."""

from __future__ import annotations

import numpy as np
import pytest

from mml.backends.numpy_backend import NumpyBackend
from mml.errors import ColumnError, MMLError, SamplerError
from mml.processing import Batch, BatchView, Epoch, RoleData, SampleData


def samples(n_rows=3, value=0.0):
    return SampleData(
        {"x": np.full((n_rows, 2), value), "voltage": np.arange(n_rows)},
        targets={"y": np.ones(n_rows)},
        tags={"cell": np.array(["a"] * n_rows, dtype=object)},
        mask=np.ones(n_rows, dtype=bool),
        sample_uuids=np.zeros((n_rows, 16), dtype=np.uint8),
    )


def views():
    one = {"default": np.array([3, -1, 5])}
    return BatchView(one), BatchView.of_streams({"p": one, "q": {"default": np.array([1, 2, -1])}})


class TestViews:
    def test_a_single_stream_is_itself(self):
        single, _ = views()
        assert single.streams == ("default",)
        assert single.stream() is single.stream("default") is single
        named = BatchView.of_streams({"p": {"default": np.array([3, -1, 5])}})
        assert named.stream() == named.stream("p") == named.stream("default") == single
        assert named.rows is named.stream("p").rows

    def test_several_streams_are_read_by_name(self):
        _, several = views()
        assert several.streams == ("p", "q")
        assert several.stream("q").rows["default"].tolist() == [1, 2, -1]
        assert (several.n_rows, several.n_live, several.roles) == (3, 1, ("default",))
        assert several.mask.tolist() == [True, False, False]
        with pytest.raises(SamplerError, match="none is named"):
            several.rows  # noqa: B018 -- reading is what is refused

    def test_masking_keeps_roles_and_streams(self):
        _, several = views()
        masked = several.masked_like()
        assert masked.streams == several.streams
        assert masked.n_live == 0
        assert masked == BatchView.masked(3, streams=["p", "q"])
        assert masked != several
        assert BatchView.masked(2, roles=["anchor", "pair"]).rows["pair"].tolist() == [-1, -1]

    def test_views_differ_by_stream_role_and_row(self):
        single, several = views()
        assert single != several
        assert single != BatchView({"anchor": single.rows["default"]})
        assert several == BatchView.of_streams({"p": single.rows, "q": {"default": np.array([1, 2, -1])}})
        assert single != 3
        assert "streams ['p', 'q']" in repr(several)
        assert "streams" not in repr(single)


class TestEpochs:
    EPOCH = Epoch.of_streams(
        {"p": {"default": np.arange(7)}, "q": {"default": np.arange(7, 14)}}, np.array([0, 3, 6, 7])
    )

    def test_are_cut_at_the_same_borders(self):
        assert [view.stream("q").rows["default"].tolist() for view in self.EPOCH] == [
            [7, 8, 9],
            [10, 11, 12],
            [13],
        ]
        alone = self.EPOCH.stream("q")
        assert len(alone) == 3
        assert alone.rows(0, 2)["default"].tolist() == [7, 8, 9, 10, 11, 12]
        assert self.EPOCH.view(1, 3).stream("p").rows["default"].tolist() == [3, 4, 5, 6]
        assert self.EPOCH[1:].streams == ("p", "q")
        assert np.shares_memory(self.EPOCH[0].stream("p").rows["default"], alone.borders) is False
        assert np.shares_memory(self.EPOCH[1].stream("q").rows["default"], alone.order["default"])

    def test_one_of_several_is_named(self):
        for read in (lambda: self.EPOCH.order, lambda: self.EPOCH.rows(0, 1), self.EPOCH.stream):
            with pytest.raises(SamplerError, match="none is named") as caught:
                read()
            assert "'p', 'q'" in caught.value.expected


class TestBatches:
    def test_one_role_and_stream_read_like_features_and_targets(self):
        batch = Batch({"default": samples()})
        assert batch.features["x"].shape == (3, 2)
        assert batch.targets["y"].tolist() == [1, 1, 1]
        assert batch["default"].tags["cell"].tolist() == ["a"] * 3
        assert (len(batch), list(batch), batch.streams) == (3, ["default"], ("default",))
        assert batch.stream() is batch.stream("default") is batch
        assert dict(batch.features).keys() == {"x", "voltage"}

    def test_several_roles_are_named(self):
        batch = Batch({"anchor": samples(), "pair": samples(value=1.0)})
        assert batch["pair"].features["x"].sum() == 6
        assert list(batch) == ["anchor", "pair"]
        assert "pair" in batch
        assert batch.roles.get("nobody") is None
        assert batch.roles.get("pair") is batch["pair"]
        with pytest.raises(SamplerError, match="several roles") as caught:
            batch.features  # noqa: B018 -- reading is what is refused
        assert "'anchor', 'pair'" in caught.value.expected
        with pytest.raises(SamplerError, match="no role 'pairs'") as caught:
            batch["pairs"]
        assert "'pair'" in caught.value.hint

    def test_several_streams_are_named(self):
        batch = Batch.of_streams(
            {"p": {"default": samples()}, "q": RoleData({"default": samples(value=2.0)})}
        )
        assert batch.stream("q").features["x"].sum() == 12
        assert batch.streams == ("p", "q")
        assert len(batch) == 3
        assert "streams ['p', 'q']" in repr(batch)
        for read in (lambda: batch.features, lambda: batch["default"], lambda: batch.roles, batch.stream):
            with pytest.raises(SamplerError, match="several streams"):
                read()
        with pytest.raises(SamplerError, match="no stream 'r'"):
            batch.stream("r")

    @pytest.mark.parametrize("domain", ["features", "targets", "tags"])
    def test_an_unknown_column_names_the_near_ones(self, domain):
        columns = getattr(Batch({"default": samples()}), domain)
        known = next(iter(columns))
        with pytest.raises(ColumnError, match=f"no '{known}s'|among its {domain}") as caught:
            columns[f"{known}s"]
        assert repr(known) in caught.value.hint
        assert isinstance(caught.value, MMLError)
        assert not isinstance(caught.value, KeyError)
        assert columns.get("nothing") is None
        assert "nothing" not in columns

    def test_conversion_keeps_roles_and_streams_and_happens_once(self, monkeypatch):
        calls = []
        to_array = NumpyBackend.to_array

        def counted(self, array, **settings):
            calls.append(array.shape)
            return to_array(self, array, **settings)

        monkeypatch.setattr(NumpyBackend, "to_array", counted)
        batch = Batch.of_streams(
            {"p": {"anchor": samples(), "pair": samples()}, "q": {"anchor": samples(), "pair": samples()}}
        )
        converted = batch.to("numpy")
        assert converted.streams == ("p", "q")
        assert converted.stream("q")["pair"].features["x"].shape == (3, 2)
        assert len(calls) == 4 * 3
        assert batch.to("numpy") is converted
        part = batch.stream("p")
        assert part.to("numpy") is batch.stream("p").to("numpy")
        assert part.to("numpy")["pair"] is converted.stream("p")["pair"]
        assert len(calls) == 4 * 3
