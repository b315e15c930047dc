"""References: symbolic until a run needs them."""

from __future__ import annotations

import pytest

from mml.context import ExperimentContext, ExperimentNode
from mml.data import FeatureSet, FeatureSetReference
from mml.errors import ColumnError, ConfigError, DataError, RegistrationError

from .samples import arrays, cells


def made():
    return FeatureSet.from_dict(
        "cells", arrays(), feature_keys=["voltage", "pulse"], target_keys="soh", tag_keys="cell"
    )


def test_a_reference_names_columns_as_they_are_when_it_is_resolved():
    fs = made()
    reference = fs.reference(features="pulse", tags="*")
    before = reference.columns(fs)
    fs.fit_transform("standard", domain="features")

    assert before == {
        "features": ("features.pulse.raw",),
        "targets": ("targets.soh.raw",),
        "tags": ("tags.cell.raw",),
    }
    assert reference.columns(fs)["features"] == ("features.pulse.transformed",)
    assert reference.columns(fs.view()) == reference.columns(fs.snapshot()) == reference.columns(fs)
    assert fs.reference(features="pulse", rep="raw", targets=()).columns(fs)["features"] == (
        "features.pulse.raw",
    )


def test_a_reference_resolves_in_the_active_context_by_uuid_then_label():
    fs = made()
    reference = fs.reference()
    symbolic = FeatureSetReference("cells", features="pulse")

    assert reference.resolve() is fs
    assert symbolic.resolve() is fs
    assert FeatureSetReference("renamed", fs.uuid).resolve() is fs
    with ExperimentContext().activate() as other:
        with pytest.raises(RegistrationError):
            reference.resolve()
        stand_in = made()
        assert reference.resolve() is stand_in
        assert symbolic.resolve(other) is stand_in


def test_a_temporary_context_puts_another_set_in_place():
    fs = made()
    with ExperimentContext().activate():
        fold = cells(label="fold")
    with ExperimentContext.active().temporary({"cells": fold}):
        assert fs.reference().resolve() is fold
    assert fs.reference().resolve() is fs


def test_a_reference_to_something_else_is_refused():
    class Other(ExperimentNode):
        def __init__(self, label):
            super().__init__(label)
            self._register()

    Other("cells")
    with pytest.raises(DataError, match="not a FeatureSet"):
        FeatureSetReference("cells").resolve()


def test_keys_are_checked_when_the_reference_is_made_and_representations_later():
    fs = made()
    with pytest.raises(ColumnError, match="Did you mean 'pulse'") as caught:
        fs.reference(features="puls")
    assert "FeatureSet 'cells'" in str(caught.value)
    early = fs.reference(features="pulse.transformed")
    with pytest.raises(ColumnError, match="no column"):
        early.columns(fs)
    fs.fit_transform("standard", domain="features")
    assert early.columns(fs)["features"] == ("features.pulse.transformed",)


def test_references_are_values():
    fs = made()
    one, two = fs.reference(features=["pulse"]), fs.reference(features="pulse")

    assert one == two
    assert hash(one) == hash(two)
    assert FeatureSetReference.from_config(one.get_config()) == one
    with pytest.raises(ConfigError, match="combine"):
        fs.reference(combine="cocnat")
    with pytest.raises(ConfigError, match="no config"):
        FeatureSetReference.from_config({"labl": "cells"})
    with pytest.raises(ConfigError, match="names a FeatureSet"):
        FeatureSetReference("")


@pytest.mark.parametrize("domain", ["features", "targets", "tags"])
@pytest.mark.parametrize("bad", [None, 3, [3], {"pulse", "voltage"}, frozenset(["soh"])])
def test_a_selection_that_is_none_is_refused_by_label_and_domain(domain, bad):
    with pytest.raises(ColumnError) as caught:
        made().reference(**{domain: bad})

    assert caught.value.where == f"FeatureSet 'cells', domain '{domain}'"
