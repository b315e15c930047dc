"""Nodes: labels and identities."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from mml.context import ExperimentContext, ExperimentNode
from mml.errors import ConfigError


def test_a_node_has_a_label_and_a_fresh_uuid():
    one, two = ExperimentNode("cells"), ExperimentNode("cells")

    assert one.label == "cells"
    assert one.uuid != two.uuid
    assert UUID(one.uuid).hex == one.uuid
    assert repr(one) == "ExperimentNode('cells')"


def test_a_base_node_does_not_register_before_its_subclass_is_done():
    with ExperimentContext().activate() as context:
        ExperimentNode("cells")

    assert len(context) == 0


@pytest.mark.parametrize("name", ["label", "uuid"])
def test_label_and_uuid_are_read_only(name):
    with pytest.raises(AttributeError):
        setattr(ExperimentNode("cells"), name, "other")


def test_a_uuid_is_kept_in_one_spelling():
    uuid = uuid4()

    for spelling in (uuid.hex, str(uuid), str(uuid).upper(), uuid):
        assert ExperimentNode("cells", uuid=spelling).uuid == uuid.hex


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "a\x00", None, 3, b"cells"])
def test_a_label_must_be_printable_text(label):
    with pytest.raises(ConfigError, match="label"):
        ExperimentNode(label)


@pytest.mark.parametrize("uuid", ["", "xyz", "12", 3])
def test_a_wrong_uuid_names_the_node(uuid):
    with pytest.raises(ConfigError, match="cells"):
        ExperimentNode("cells", uuid=uuid)
