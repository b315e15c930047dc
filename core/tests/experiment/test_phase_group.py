"""PhaseGroup: order, labels, access by label and index, nesting, and a round trip of its structure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mml
from mml.errors import ConfigError, PhaseError
from mml.experiment.phases import phase_from_config

from .toy import digest, experiment, in_own_context, training, validation


@pytest.fixture
def nested():
    """Return plan(fit, outer(train, inner(a, b)), test)."""
    inner = mml.PhaseGroup("inner", [training("a"), validation("b")])
    outer = mml.PhaseGroup("outer", [training(), inner])
    return mml.PhaseGroup("plan", [mml.FitPhase.from_split("fit", split="train"), outer, validation("test")])


class TestAccess:
    def test_by_label_and_index(self, nested):
        assert nested["fit"] is nested[0] is nested.phases[0]
        assert nested["outer"]["inner"]["b"] is nested[1][1][-1]
        assert [member.label for member in nested] == ["fit", "outer", "test"]
        assert len(nested) == 3
        assert "outer" in nested
        assert "inner" not in nested

    @pytest.mark.parametrize("key", [3, -4, "outr"])
    def test_of_what_is_not_there_is_refused(self, nested, key):
        with pytest.raises(PhaseError) as caught:
            nested[key]
        assert "group 'plan'" in caught.value.where
        if key == "outr":
            assert "'outer'" in caught.value.hint

    def test_flattening_gives_the_order_of_execution(self, nested):
        assert [phase.label for phase in nested.flatten()] == ["fit", "train", "a", "b", "test"]
        assert [group.label for group in nested.groups()] == ["outer", "inner"]


class TestChange:
    def test_adding_returns_what_was_added(self):
        group = mml.PhaseGroup("group")
        phase, child = training(), mml.PhaseGroup("child")
        assert group.add_phase(phase) is phase
        assert group.add_group(child) is child
        assert group.add_group("new").label == "new"
        assert group.phases == (phase, child, group["new"])

    @pytest.mark.parametrize("key", ["outer", 1, -2])
    def test_removing_returns_what_was_removed(self, nested, key):
        outer = nested["outer"]
        assert nested.remove(key) is outer
        assert [member.label for member in nested] == ["fit", "test"]
        nested.add_group(outer)
        assert [member.label for member in nested] == ["fit", "test", "outer"]

    def test_removing_what_is_not_there_is_refused(self, nested):
        with pytest.raises(PhaseError, match="'nothing'"):
            nested.remove("nothing")

    def test_a_label_is_taken_once(self, nested):
        for member in (training("fit"), mml.PhaseGroup("fit")):
            with pytest.raises(PhaseError, match="already has a member 'fit'"):
                mml.PhaseGroup("again", [*nested, member])
        nested["outer"].add_phase(validation("test"))

    def test_a_phase_may_stand_in_two_groups(self):
        phase = training(n_epochs=1)
        made = in_own_context(experiment, phases=[])
        for label in ("first", "second"):
            made.execution_plan.add_group(mml.PhaseGroup(label, [phase]))
        results = made.run()
        assert results["first"]["train"].status == results["second"]["train"].status == "completed"
        before = digest(made)
        made.run_group(mml.PhaseGroup("third", [phase]))
        assert digest(made) != before

    def test_no_group_holds_itself(self, nested):
        with pytest.raises(PhaseError, match="itself"):
            nested.add_group(nested)
        with pytest.raises(PhaseError, match="itself"):
            nested["outer"]["inner"].add_group(nested)

    def test_an_equal_group_is_not_the_same(self):
        group = mml.PhaseGroup("same")
        group.add_group(mml.PhaseGroup("between", [mml.PhaseGroup("same")]))
        assert [one.label for one in group.groups()] == ["between", "same"]

    @pytest.mark.parametrize("wrong", [3, "train", None, mml.SimpleSampler(batch_size=2)])
    def test_only_phases_and_groups_are_members(self, wrong):
        with pytest.raises(PhaseError):
            mml.PhaseGroup("group", [wrong])
        with pytest.raises(PhaseError):
            mml.PhaseGroup("group").add_phase(wrong)

    def test_each_has_its_way_in(self):
        group = mml.PhaseGroup("group")
        with pytest.raises(PhaseError, match="add_group") as caught:
            group.add_phase(mml.PhaseGroup("child"))
        assert "group 'group'" in caught.value.where
        with pytest.raises(PhaseError, match="add_phase"):
            group.add_group(training())

    def test_a_lone_member_needs_no_list(self, nested):
        assert mml.PhaseGroup("group", training()).phases == (training(),)
        assert mml.PhaseGroup("group", nested).phases == (nested,)

    @pytest.mark.parametrize("label", ["", "a/b", None, 3])
    def test_a_label_is_a_name_without_a_slash(self, label):
        with pytest.raises(PhaseError, match="label"):
            mml.PhaseGroup(label)
        with pytest.raises(PhaseError, match="label"):
            training(label)


class TestConfig:
    def test_is_json_and_comes_back_equal(self, nested):
        config = json.loads(json.dumps(nested.get_config()))
        rebuilt = mml.PhaseGroup.from_config(config)
        assert rebuilt == nested
        assert rebuilt.get_config() == nested.get_config()
        assert rebuilt is not nested
        rebuilt["outer"].remove("inner")
        assert rebuilt != nested

    @given(st.recursive(st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=12))
    def test_any_nesting_comes_back_equal(self, tree):
        def group(branches, label):
            made = mml.PhaseGroup(label)
            for number, branch in enumerate(branches):
                if branch is None:
                    made.add_phase(validation(f"phase-{number}"))
                else:
                    made.add_group(group(branch, f"group-{number}"))
            return made

        made = group(tree or [], "plan")
        assert mml.PhaseGroup.from_config(made.get_config()) == made

    @pytest.mark.parametrize(
        ("config", "match"),
        [
            ({"group": "g"}, "incomplete"),
            ({"group": "g", "phases": [], "extra": 1}, "'extra'"),
            ({"group": "g", "phases": 3}, "no list"),
            ({"group": "g", "phases": [{"phase": "trian"}]}, "'trian'"),
            ({"group": "g", "phases": [3]}, "kind of phase"),
            ({"group": "g", "phases": [{"group": "h"}]}, "'h'|incomplete"),
            (None, "mapping"),
        ],
    )
    def test_that_is_wrong_is_refused(self, config, match):
        with pytest.raises(ConfigError, match=match):
            mml.PhaseGroup.from_config(config)

    def test_an_unknown_kind_of_phase_names_the_nearest(self):
        with pytest.raises(ConfigError) as caught:
            phase_from_config({**training().get_config(), "phase": "trian"})
        assert "'train'" in caught.value.hint
