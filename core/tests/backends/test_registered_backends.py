"""What a plugin registers as a backend is checked when it is first asked for."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from mml.backends import NumpyOps, get_backend
from mml.backends.numpy_backend import NumpyBackend
from mml.errors import BackendError
from mml.plugins import registry


@contextmanager
def registered(name, target):
    registry("backends").register(name)(target)
    try:
        yield
    finally:
        registry("backends").remove(name)


class Fine(NumpyBackend):
    name = "fine"


class Broken(NumpyBackend):
    name = "broken"

    def __init__(self):
        raise OSError("no driver")


class NoBackend:
    ops = NumpyOps()


def test_one_instance_serves_the_process_and_a_new_class_under_the_name_replaces_it():
    with registered("fine", Fine):
        first = get_backend("fine")
        assert type(first) is Fine
        assert get_backend("fine") is first

    class Finer(Fine):
        pass

    with registered("fine", Finer):
        assert type(get_backend("fine")) is Finer


def test_a_backend_that_does_not_start_is_named_with_the_cause():
    with (
        registered("broken", Broken),
        pytest.raises(BackendError, match="'broken' failed to start: no driver") as caught,
    ):
        get_backend("broken")
    assert isinstance(caught.value.__cause__, OSError)


def test_what_is_no_backend_is_refused():
    with registered("none", NoBackend), pytest.raises(BackendError, match="no ComputeBackend"):
        get_backend("none")
