"""Contexts: labels and UUIDs, policies, activation and substitution under threads and asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.context import ExperimentContext, ExperimentNode, RegistrationPolicy
from mml.errors import ConfigError, MMLError, OverwriteWarning, RegistrationError


class Node(ExperimentNode):
    def __init__(self, label, *, uuid=None, fail=False):
        super().__init__(label, uuid=uuid)
        if fail:
            raise ValueError("half built")
        self._register()


class OtherNode(Node):
    pass


@pytest.fixture
def context():
    made = ExperimentContext(policy=RegistrationPolicy.ERROR)
    with made.activate():
        yield made


def detached(label):
    """Make a node that stands in no context."""
    with ExperimentContext(policy=RegistrationPolicy.NO_REGISTER).activate():
        return Node(label)


def test_a_node_registers_itself_under_label_and_uuid(context):
    node = Node("cells")

    assert context.get("cells") is node
    assert context.get(node.uuid) is node
    assert context.find("nothing") is None
    assert ("cells" in context, node.uuid in context, node in context, "x" in context, 3 in context) == (
        True,
        True,
        True,
        False,
        False,
    )
    assert (context.labels(), context.nodes(), len(context), list(context)) == (
        ("cells",),
        (node,),
        1,
        [node],
    )


def test_a_node_that_is_false_is_found_all_the_same(context):
    class Empty(Node):
        def __len__(self):
            return 0

    node = Empty("no rows")

    assert context.get("no rows") is context.get(node.uuid) is node
    with pytest.raises(RegistrationError):
        Node("no rows")


def test_a_failed_constructor_leaves_nothing_and_the_label_free(context):
    with pytest.raises(ValueError, match="half built"):
        Node("cells", fail=True)

    assert len(context) == 0
    assert Node("cells") in context


def test_an_unknown_label_names_near_misses(context):
    Node("cells")

    with pytest.raises(RegistrationError, match="'cells'"):
        context.get("cels")
    with pytest.raises(RegistrationError, match="cels"):
        context.remove("cels")


def test_error_policy_refuses_a_second_node_of_any_kind_and_keeps_the_first(context):
    first = Node("cells")

    with pytest.raises(RegistrationError, match="cells"):
        OtherNode("cells")
    assert context.get("cells") is first
    assert len(context) == 1


def test_registering_the_same_node_again_is_nothing(context):
    node = Node("cells")
    context.register(node)

    assert context.nodes() == (node,)


def test_overwrite_replaces_silently_and_forgets_the_old_uuid(context):
    first = Node("cells")
    context.policy = "overwrite"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second = OtherNode("cells")

    assert context.get("cells") is second
    assert context.find(first.uuid) is None
    assert first not in context


def test_overwrite_warn_says_so_on_the_users_line(context):
    Node("cells")
    context.policy = RegistrationPolicy.OVERWRITE_WARN

    with pytest.warns(OverwriteWarning, match="cells") as caught:
        second = Node("cells")

    assert context.get("cells") is second
    assert [one.filename for one in caught] == [__file__]


def test_no_register_registers_nothing(context):
    first = Node("cells")
    context.policy = RegistrationPolicy.NO_REGISTER

    Node("cells")
    Node("others")

    assert context.nodes() == (first,)


def test_one_uuid_under_two_labels_is_a_clash_too(context):
    first = Node("cells")

    with pytest.raises(RegistrationError, match="UUID"):
        Node("copy", uuid=first.uuid)
    context.policy = RegistrationPolicy.OVERWRITE
    second = Node("copy", uuid=first.uuid)
    assert context.nodes() == (second,)
    assert context.find("cells") is None


def test_removal_frees_label_and_uuid(context):
    node = Node("cells")

    context.remove(node.uuid)

    assert context.find("cells") is None
    assert context.find(node.uuid) is None
    assert Node("cells") in context


def test_only_nodes_are_accepted(context):
    node = Node("cells")

    with pytest.raises(RegistrationError, match="nodes only"):
        context.register("cells")
    with pytest.raises(RegistrationError, match="nodes only"), context.temporary({"cells": object()}):
        pass
    assert context.get("cells") is node


def test_without_a_context_nodes_stand_in_the_process_default():
    label = "a node of the process default context"
    default = contextvars.Context().run(ExperimentContext.active)

    assert default is ExperimentContext.process_default()
    node = contextvars.Context().run(Node, label)
    assert default.get(label) is node
    default.remove(label)


def test_activation_nests_and_ends_also_after_an_exception(context):
    inner = ExperimentContext()
    with inner.activate() as active:
        assert active is inner is ExperimentContext.active()
        with context.activate():
            assert ExperimentContext.active() is context
        assert ExperimentContext.active() is inner
        with pytest.raises(ValueError, match="half built"), context.activate():
            Node("cells", fail=True)
        assert ExperimentContext.active() is inner
    assert ExperimentContext.active() is context


def test_a_node_may_stand_in_several_contexts(context):
    node = Node("cells")
    other = ExperimentContext()
    other.register(node)

    assert other.get("cells") is context.get("cells") is node


def test_an_empty_context_is_true_and_policies_are_checked():
    assert bool(ExperimentContext())
    with pytest.raises(ConfigError, match="overwrite"):
        ExperimentContext(policy="overwritten")


def test_temporary_substitutes_under_label_and_uuid_and_ends(context):
    cells, other, fold = Node("cells"), Node("other"), detached("fold 1 of cells")

    with context.temporary({"cells": fold}) as inside:
        assert inside is context is ExperimentContext.active()
        assert context.get("cells") is fold
        assert context.get(cells.uuid) is fold
        assert context.get(fold.uuid) is fold
        assert context.get("fold 1 of cells") is fold
        assert context.get("other") is other
        assert cells not in context
    assert context.get("cells") is context.get(cells.uuid) is cells
    assert context.find(fold.uuid) is None


def test_temporary_by_uuid_nested_and_exchanged(context):
    a, b, c = Node("a"), Node("b"), detached("c")

    with context.temporary({a.uuid: b, "b": a}):
        assert (context.get("a"), context.get(a.uuid)) == (b, b)
        assert (context.get("b"), context.get(b.uuid)) == (a, a)
        with context.temporary({"a": c}):
            assert context.get("a") is c
            assert context.get("b") is a
        assert context.get("a") is b
    assert (context.get("a"), context.get("b")) == (a, b)


def test_what_is_registered_or_removed_inside_temporary_is_undone_also_after_an_exception(context):
    kept = Node("kept")

    def work(*, fail):
        with context.temporary():
            Node("passing", fail=fail)
            context.remove("kept")
            return context.labels()

    assert work(fail=False) == ("passing",)
    assert context.nodes() == (kept,)
    with pytest.raises(ValueError, match="half built"):
        work(fail=True)
    assert context.nodes() == (kept,)
    assert context.get("kept") is kept


def test_a_misspelt_substitution_is_an_error_and_changes_nothing(context):
    Node("cells")
    with pytest.raises(RegistrationError, match="'cells'"), context.temporary({"cels": detached("x")}):
        pass
    assert context.labels() == ("cells",)


def test_substitution_holds_in_its_context_when_another_is_active(context):
    cells, fold, other = Node("cells"), detached("fold"), ExperimentContext()

    with context.temporary({"cells": fold}), other.activate():
        assert context.get("cells") is fold
        assert other.find("cells") is None
        # An experiment activates its own context when it runs, which must not end the substitution.
        with context.activate():
            assert ExperimentContext.active().get("cells") is fold
    assert context.get("cells") is cells


def test_threads_substitute_without_seeing_each_other(context):
    cells, n_threads = Node("cells"), 8
    folds = [detached(f"fold {number}") for number in range(n_threads)]
    barrier = threading.Barrier(n_threads)

    def work(fold):
        before = ExperimentContext.active()
        seen = set()
        with context.temporary({"cells": fold}):
            for _ in range(20):
                barrier.wait()
                Node(f"made with {fold.label}")
                seen.add(ExperimentContext.active().get("cells"))
                context.remove(f"made with {fold.label}")
        return before, seen, context.get("cells")

    with ThreadPoolExecutor(n_threads) as pool:
        results = list(pool.map(work, folds))

    for fold, (before, seen, after) in zip(folds, results, strict=True):
        assert before is ExperimentContext.process_default()
        assert seen == {fold}
        assert after is cells
    assert context.nodes() == (cells,)


def test_asyncio_tasks_activate_and_substitute_without_seeing_each_other(context):
    cells = Node("cells")

    async def task(number):
        fold, own = detached(f"fold {number}"), ExperimentContext()
        seen = []
        assert ExperimentContext.active() is context
        for _ in range(5):
            with context.temporary({"cells": fold}):
                await asyncio.sleep(0)
                seen.append(context.get("cells") is fold)
                with own.activate():
                    await asyncio.sleep(0)
                    seen.append(ExperimentContext.active() is own)
            await asyncio.sleep(0)
            seen.append(context.get("cells") is cells)
        return seen

    async def every():
        return await asyncio.gather(*(task(number) for number in range(10)))

    assert asyncio.run(every()) == [[True] * 15] * 10


def test_many_threads_register_under_one_label_and_one_wins(context):
    barrier, outcomes = threading.Barrier(8), []

    def work():
        with context.activate():
            barrier.wait()
            try:
                outcomes.append(Node("contested"))
            except RegistrationError as error:
                outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winners = [one for one in outcomes if isinstance(one, Node)]
    assert len(outcomes) == 8
    assert winners == [context.get("contested")]


def test_a_reader_finds_the_label_at_every_moment_while_it_is_overwritten(context):
    Node("cells")
    context.policy = RegistrationPolicy.OVERWRITE
    nodes = [detached("cells") for _ in range(1000)]
    stop, missing = threading.Event(), []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def read():
        while not stop.is_set():
            if context.find("cells") is None:
                missing.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for node in nodes * 20:
        context.register(node)
    stop.set()
    reader.join()
    sys.setswitchinterval(interval)

    assert missing == []
    assert len(context) == 1


labels = st.sampled_from(["a", "b", "c"])


@given(steps=st.lists(st.tuples(st.sampled_from(["register", "remove"]), labels), max_size=30))
def test_labels_and_uuids_always_agree(steps):
    """Whatever happens, both tables hold the nodes that a plain dictionary would."""
    context, model = ExperimentContext(policy=RegistrationPolicy.OVERWRITE), {}
    made = []
    with context.activate():
        for action, label in steps:
            if action == "register":
                model[label] = Node(label)
                made.append(model[label])
            elif label in model:
                context.remove(label)
                del model[label]
            else:
                with pytest.raises(MMLError):
                    context.remove(label)
            assert set(context.nodes()) == set(model.values())
            for node in made:
                assert context.find(node.uuid) is (node if model.get(node.label) is node else None)
