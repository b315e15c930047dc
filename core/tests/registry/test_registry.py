"""Registries: what a name means, who may have it, and what the error of an unknown one says."""

from __future__ import annotations

import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mml.errors import MMLError, RegistrationError, UnknownComponentError
from mml.registry import KINDS, Component, Registry

PLUGINS = ("mml", "alpha", "beta", "user")
NAMES = ("sgd", "adam", "adamw")
BACKENDS = (None, "alpha", "beta", "gamma")

components = st.lists(
    st.builds(
        lambda plugin, name, backend: Component("optimizers", plugin, name, f"{plugin}:{name}", "", backend),
        st.sampled_from(PLUGINS),
        st.sampled_from(NAMES),
        st.sampled_from(BACKENDS),
    ),
    unique_by=lambda one: one.qualified,
    max_size=8,
)


def meaning(parts, name, backend):
    """The rule for short names, written down a second time: the qualified name, or None for an error."""
    named = [one for one in parts if one.name == name]
    for group in (
        [one for one in named if one.plugin == backend],
        [one for one in named if backend and one.backend == backend],
    ):
        if group:
            return group[0].qualified if len(group) == 1 else None
    if len(named) == 1:
        return named[0].qualified
    return "mml/" + name if "mml/" + name in [one.qualified for one in named] else None


def of(qualified, backend=None):
    plugin, _, name = qualified.partition("/")
    return Component("optimizers", plugin, name, f"{plugin}:{name}", "", backend)


@example(
    parts=[of("alpha/sgd", "gamma"), of("beta/sgd", "gamma"), of("mml/sgd")], name="sgd", backend="gamma"
)
@example(parts=[of("alpha/sgd"), of("user/sgd", "alpha"), of("mml/sgd")], name="sgd", backend="alpha")
@given(parts=components, name=st.sampled_from(NAMES), backend=st.sampled_from(BACKENDS))
def test_a_short_name_means_the_backends_then_the_only_then_cores(parts, name, backend):
    registry = Registry("optimizers")
    for part in parts:
        registry.add(part)
    expected = meaning(parts, name, backend)

    if expected is not None:
        assert registry.resolve(name, backend=backend).qualified == expected
    else:
        with pytest.raises(UnknownComponentError) as caught:
            registry.resolve(name, backend=backend)
        rivals = [one for one in parts if one.name == name]
        rivals = [one for one in rivals if backend and one.backend == backend] or rivals
        assert all(one.qualified in str(caught.value) for one in rivals)


@given(parts=components, data=st.data())
def test_resolution_does_not_depend_on_the_order_of_registration(parts, data):
    shuffled = data.draw(st.permutations(parts))
    one, two = Registry("optimizers"), Registry("optimizers")
    for registry, order in ((one, parts), (two, shuffled)):
        for part in order:
            registry.add(part)

    assert one.names() == two.names() == tuple(sorted(part.qualified for part in parts))
    for name in NAMES:
        for backend in BACKENDS:
            assert outcome(one, name, backend) == outcome(two, name, backend)


def outcome(registry, name, backend):
    try:
        return registry.resolve(name, backend=backend)
    except MMLError as error:
        return str(error)


@given(parts=components)
def test_a_qualified_name_is_exact_whatever_the_backend(parts):
    registry = Registry("optimizers")
    for part in parts:
        registry.add(part)

    for part in parts:
        for backend in BACKENDS:
            assert registry.resolve(part.qualified, backend=backend) == part
        assert part.qualified in registry
        assert part.name in registry
    assert list(registry) == sorted(parts, key=lambda one: one.qualified)
    assert len(registry) == len(parts)


@given(name=st.one_of(st.text(max_size=12), st.integers(), st.none(), st.binary(max_size=3)))
def test_whatever_is_asked_for_is_found_or_a_clear_error(name):
    registry = Registry("losses")
    registry.add(Component("losses", "mml", "mse", "builtins:abs"))

    assert (name in registry) is (name in ("mse", "mml/mse"))
    if name not in registry:
        with pytest.raises(MMLError, match="loss"):
            registry.resolve(name).load()


def test_the_decorator_registers_and_hands_back_unchanged():
    losses = Registry("losses")

    def mine(x):
        """Mine alone.

        More.
        """
        return x

    decorated = losses.register("mine", backend="alpha")(mine)

    assert decorated is mine
    part = losses.resolve("user/mine")
    assert (part.help, part.backend, part.target) == ("Mine alone.", "alpha", mine)
    assert losses.load("mine") is mine
    assert losses.load("mine", backend="alpha") is mine


def test_help_is_a_classs_own_docstring_never_an_inherited_one():
    class Documented:
        """The base."""

    class Plain(Documented):
        pass

    scalers = Registry("scalers")
    scalers.register("plain")(Plain)
    scalers.register("told", help="As told.")(Plain)

    assert (scalers.resolve("plain").help, scalers.resolve("told").help) == ("", "As told.")


def test_a_taken_name_is_an_error_unless_overwritten():
    losses = Registry("losses")
    losses.register("mine")(lambda x: x)

    with pytest.raises(RegistrationError, match=r"(?s)user/mine.*overwrite=True"):
        losses.register("mine")(lambda x: -x)
    losses.register("mine", overwrite=True)(abs)
    assert losses.load("mine") is abs


def test_running_a_definition_again_replaces_it_as_a_notebook_cell_does():
    losses, source = Registry("losses"), "def mine(x): return {}"
    versions = []
    for body in ("x", "-x"):
        scope = {"__name__": "__main__"}
        exec(source.format(body), scope)
        versions.append(losses.register("mine")(scope["mine"]))

    assert losses.load("mine") is versions[1]


def test_two_local_definitions_of_one_name_are_not_the_same_definition():
    losses = Registry("losses")

    def make(sign):
        def local(x):
            return sign * x

        return local

    losses.register("local")(make(1))
    with pytest.raises(RegistrationError):
        losses.register("local")(make(-1))


def test_adding_the_same_component_twice_changes_nothing():
    losses = Registry("losses")
    for _ in range(2):
        losses.add(Component("losses", "alpha", "mse", "a:b"))

    assert losses.names() == ("alpha/mse",)


def test_a_component_of_another_kind_is_refused():
    with pytest.raises(RegistrationError, match=r"(?s)scaler 'alpha/x'.*losses"):
        Registry("losses").add(Component("scalers", "alpha", "x", "a:b"))


def test_removal_by_qualified_or_user_name():
    losses = Registry("losses")
    losses.register("mine")(abs)
    losses.add(Component("losses", "alpha", "mse", "a:b"))

    losses.remove("mine")
    losses.remove("alpha/mse")

    assert len(losses) == 0
    with pytest.raises(UnknownComponentError):
        losses.remove("mine")


def test_a_disabled_name_lists_its_claimants_until_the_user_chooses():
    losses = Registry("losses")
    losses.disable("alpha/mse", claimants=("a:b of mml-one 1", "c:d of mml-two 2"))

    for spelling in ("alpha/mse", "mse"):
        with pytest.raises(UnknownComponentError, match=r"(?s)mml-one 1.*mml-two 2"):
            losses.resolve(spelling)
    assert "alpha/mse" not in losses
    losses.add(Component("losses", "alpha", "mse", "builtins:abs"))
    assert losses.load("alpha/mse") is abs


def test_a_disabled_name_still_counts_when_a_short_name_is_asked_for():
    losses = Registry("losses")
    losses.disable("alpha/mse", claimants=("x", "y"))
    losses.add(Component("losses", "beta", "mse", "builtins:abs"))

    with pytest.raises(UnknownComponentError, match=r"(?s)beta/mse.*alpha/mse"):
        losses.resolve("mse")
    with pytest.raises(UnknownComponentError, match="disabled"):
        losses.resolve("mse", backend="alpha")
    assert losses.load("mse", backend="beta") is abs


def test_near_misses_are_named_with_the_kinds_own_word():
    for kind, word in KINDS.items():
        registry = Registry(kind)
        registry.add(Component(kind, "alpha", "something", "a:b"))

        with pytest.raises(UnknownComponentError, match=f"(?s)There is no {word} 'somethin'.*'something'"):
            registry.resolve("somethin")
        with pytest.raises(UnknownComponentError, match="'alpha/something'"):
            registry.resolve("alpha/somethin")


def test_a_users_name_that_is_unknown_says_to_import_its_module():
    with pytest.raises(UnknownComponentError, match="Import the module that registers it"):
        Registry("losses").resolve("user/mine")


def test_python_paths_can_be_refused():
    losses = Registry("losses")

    assert losses.load("os.path.join").__name__ == "join"
    with pytest.raises(UnknownComponentError, match=r"os\.system"):
        losses.load("os.system", allow_import=False)


def test_registering_from_many_threads_loses_nothing():
    losses, start = Registry("losses"), threading.Barrier(8)

    def work(number):
        start.wait()
        for index in range(50):
            losses.register(f"loss_{number}_{index}")(abs)
            assert losses.load(f"loss_{number}_{index}") is abs
            assert all(one.kind == "losses" for one in losses)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(losses) == 400


def test_where_there_is_nothing_at_all_plugins_are_what_is_missing():
    with pytest.raises(UnknownComponentError) as caught:
        Registry("models").resolve("PCA")
    assert "No installed plugin brings models" in caught.value.hint
