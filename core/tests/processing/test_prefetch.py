"""Prefetching by itself: what is made, where errors come out, and that no thread outlives its use."""

from __future__ import annotations

import os
import signal
import threading

import pytest

import mml
from mml.errors import ConfigError
from mml.processing.prefetch import Prefetch, Worth

_LONG_S = 30.0


def alive():
    return [thread.name for thread in threading.enumerate() if thread.name == "mml-prefetch"]


class Slow:
    """Makes something when it is told to, and tells when it begins."""

    def __init__(self):
        self.begun, self.release = threading.Event(), threading.Event()
        self.made = []

    def __call__(self, item):
        self.begun.set()
        assert self.release.wait(_LONG_S)
        self.made.append(item)
        return item


def test_a_thing_is_made_while_its_user_goes_on():
    slow = Slow()
    with Prefetch(slow) as prefetch:
        prefetch.begin("thing")
        assert slow.begun.wait(_LONG_S)
        assert prefetch.pending
        assert not slow.made
        slow.release.set()
        assert prefetch.take() == "thing"
        assert not prefetch.pending
        assert not alive()


def test_things_come_in_the_order_in_which_they_were_begun():
    taken = []
    with Prefetch(lambda item: item * 2) as prefetch:
        for item in range(20):
            prefetch.begin(item)
            taken.append(prefetch.take())
    assert taken == list(range(0, 40, 2))


def test_it_is_made_on_another_thread_with_the_context_of_its_user():
    def look(_):
        return threading.current_thread(), mml.ExperimentContext.active()

    with mml.ExperimentContext().activate() as context, Prefetch(look) as prefetch:
        prefetch.begin(None)
        thread, active = prefetch.take()
    assert thread is not threading.current_thread()
    assert active is context


@pytest.mark.parametrize("kind", [ValueError, SystemExit, MemoryError, mml.errors.DataError])
def test_an_error_is_raised_where_the_thing_is_taken(kind):
    raised = kind("on the thread")

    def fail(_):
        raise raised

    with Prefetch(fail) as prefetch:
        prefetch.begin(None)
        with pytest.raises(kind) as found:
            prefetch.take()
        assert found.value is raised
        assert not prefetch.pending
        assert not alive()


def test_an_error_that_nobody_asks_for_is_dropped():
    with Prefetch(lambda _: 1 / 0) as prefetch:
        prefetch.begin(None)
    assert not alive()
    prefetch.close()
    assert not prefetch.pending


def test_beginning_anew_drops_what_was_begun():
    made = []
    with Prefetch(lambda item: made.append(item) or item) as prefetch:
        prefetch.begin("old")
        prefetch.begin("new")
        assert prefetch.take() == "new"
    assert made == ["old", "new"]


def test_leaving_waits_for_the_thread():
    slow = Slow()
    helper = threading.Thread(target=lambda: (slow.begun.wait(_LONG_S), slow.release.set()))
    with Prefetch(slow) as prefetch:
        prefetch.begin("thing")
        helper.start()
    assert slow.made == ["thing"]
    assert not alive()
    helper.join()


def test_an_exception_of_the_user_leaves_no_thread():
    slow = Slow()

    def work():
        with Prefetch(slow) as prefetch:
            prefetch.begin("thing")
            assert slow.begun.wait(_LONG_S)
            slow.release.set()
            raise KeyError("of the user")

    with pytest.raises(KeyError, match="of the user"):
        work()
    assert not alive()


def test_an_interrupt_while_waiting_leaves_no_thread():
    slow = Slow()

    def press():
        slow.begun.wait(_LONG_S)
        os.kill(os.getpid(), signal.SIGINT)
        slow.release.set()

    helper = threading.Thread(target=press)

    def work():
        with Prefetch(slow) as prefetch:
            prefetch.begin("thing")
            helper.start()
            prefetch.take()
            # The signal may come when the waiting is already over.
            threading.Event().wait(_LONG_S)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert not alive()
        assert slow.made == ["thing"]
    finally:
        signal.signal(signal.SIGINT, before)
        helper.join()


def test_where_no_thread_can_be_started_the_user_makes_it(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Prefetch(lambda item: (item, threading.current_thread())) as prefetch:
        prefetch.begin("thing")
        assert prefetch.take() == ("thing", threading.current_thread())


class TestWorth:
    def test_never_and_always(self):
        assert not Worth("0").after(1e9)
        assert not Worth(" Off ").after(1e9)
        assert Worth("1").after(0.0)
        assert Worth("yes").after(0.0)

    def test_by_default_only_what_takes_long(self):
        assert not Worth(None).after(1e-5)
        assert Worth("").after(0.5)

    def test_reads_the_environment(self, monkeypatch):
        monkeypatch.setenv("MML_PREFETCH", "0")
        assert not Worth.from_environment().after(1e9)
        monkeypatch.delenv("MML_PREFETCH")
        assert Worth.from_environment().after(1e9)

    def test_refuses_what_it_does_not_know(self):
        with pytest.raises(ConfigError, match="MML_PREFETCH") as found:
            Worth("sometimes")
        assert "sometimes" in str(found.value)
