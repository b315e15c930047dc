"""Progress displays: what a run tells them becomes lines and bars, and never touches the run."""

import io
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from mml.experiment.progress import NotebookProgress, PlainProgress, ProgressDisplay, TerminalProgress
from mml.experiment.results import EvalResults, TrainResults


class Phase:
    n_epochs = 4


def results(kind=TrainResults, *, label="train", status="completed", **metrics):
    made = kind(label)
    made.started_at = datetime(2024, 1, 1, tzinfo=UTC)
    made.ended_at = made.started_at + timedelta(seconds=2)
    made.status = status
    for name, value in metrics.items():
        made.metric_store.log(name.replace("__", "/"), value, epoch=0)
    return made


def play(display, *, status="completed"):
    """A run of two phases: training in a group, then a test."""
    display.run_started("toy", n_phases=2)
    display.phase_started(("warm-up", "train"), phase=Phase(), n_steps=40)
    logged = results(train_loss=0.5, train_loss__a=0.1, val_loss=0.25)
    for epoch in range(4):
        display.advanced(10, epoch=epoch)
        display.epoch_ended(epoch, logged)
    logged.status = status
    display.phase_ended(logged)
    display.phase_started(("test",), phase=object(), n_steps=1)
    display.advanced(1, epoch=0)
    display.phase_ended(results(EvalResults, label="test", eval_accuracy=0.75))
    display.run_ended("completed")


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that stands until it is moved: ``clock(seconds)``."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def move(seconds):
        now[0] += seconds

    return move


def test_plain_lines_name_start_and_end_of_each_phase():
    stream = io.StringIO()
    play(PlainProgress(stream))
    assert stream.getvalue().splitlines() == [
        "[1/2] warm-up/train: started, 4 epochs, 40 steps",
        "[1/2] warm-up/train: completed  2.0 s  train_loss 0.5  val_loss 0.25",
        "[2/2] test: started, 1 step",
        "[2/2] test: completed  2.0 s  eval_accuracy 0.75",
    ]


def test_plain_lines_in_between_come_at_most_every_ten_seconds(clock):
    stream = io.StringIO()
    display = PlainProgress(stream)
    display.run_started("toy", n_phases=1)
    display.phase_started(("train",), phase=Phase(), n_steps=400)
    for _ in range(100):
        clock(0.5)
        display.advanced(1, epoch=1)
    lines = stream.getvalue().splitlines()[1:]
    assert len(lines) == 5
    assert lines[0] == "[1/1] train: 5%  epoch 2/4  2 steps/s  3:10 left"


def test_plain_lines_show_the_latest_metrics(clock):
    stream = io.StringIO()
    display = PlainProgress(stream)
    display.run_started("toy", n_phases=1)
    display.phase_started(("train",), phase=Phase(), n_steps=400)
    display.epoch_ended(0, results(train_loss=0.5, val_loss=0.25))
    clock(11)
    display.advanced(1, epoch=1)
    assert "train_loss 0.5  val_loss 0.25" in stream.getvalue()


def test_plain_lines_go_to_the_error_stream_and_a_closed_one_is_no_trouble(capsys, monkeypatch):
    play(PlainProgress())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "warm-up/train: started" in captured.err
    closed = io.StringIO()
    closed.close()
    play(PlainProgress(closed))
    monkeypatch.setattr(sys, "stderr", None)
    play(PlainProgress())


def terminal(width=80):
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=24, color_system=None)


def test_a_terminal_shows_a_bar_and_keeps_a_line_a_phase(clock):
    console = terminal()
    display = TerminalProgress(console)
    display.run_started("toy", n_phases=2)
    display.phase_started(("warm-up", "train"), phase=Phase(), n_steps=40)
    display.epoch_ended(0, results(train_loss=0.5, val_loss=0.25))
    clock(10)
    display.advanced(10, epoch=1)
    shown = console.file.getvalue()
    for part in ("[1/2]", "warm-up/train", "epoch 2/4", "1 steps/s", "0:30 left", "val_loss 0.25", "━"):
        assert part in shown
    display.phase_ended(results(status="stopped", train_loss=0.5))
    display.run_ended("completed")
    kept = console.file.getvalue()[len(shown) :]
    assert "■ warm-up/train  stopped" in kept
    assert "train_loss 0.5" in kept


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_the_terminal(clock, width):
    console = terminal(width)
    display = TerminalProgress(console)
    display.run_started("toy", n_phases=1)
    display.phase_started(("a-group-with-a-long-name",) * 3, phase=Phase(), n_steps=40)
    clock(1)
    display.advanced(1, epoch=0)
    display.phase_ended(results(train_loss=0.123456, val_loss=0.234567, val_accuracy=0.987654))
    display.run_ended("completed")
    import re

    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", console.file.getvalue()).replace("\r", "\n")
    assert plain.strip()
    assert max(map(len, plain.splitlines())) <= width


def test_a_terminal_is_drawn_at_most_ten_times_a_second(clock, monkeypatch):
    from mml.experiment.progress import terminal as module

    drawn = []
    monkeypatch.setattr(module, "running_line", lambda run, phase: drawn.append(phase.steps) or "x")
    display = TerminalProgress(terminal())
    display.run_started("toy", n_phases=1)
    display.phase_started(("train",), phase=Phase(), n_steps=4000)
    for _ in range(1000):
        clock(0.001)
        display.advanced(1, epoch=0)
    display.run_ended("completed")
    assert 9 <= len(drawn) <= 11


def test_no_thread_is_started_and_the_streams_are_put_back():
    before = threading.active_count(), sys.stdout, sys.stderr
    display = TerminalProgress(terminal())
    display.run_started("toy", n_phases=1)
    display.phase_started(("train",), phase=Phase(), n_steps=4)
    assert threading.active_count() == before[0]
    display.run_ended("failed")
    assert (threading.active_count(), sys.stdout, sys.stderr) == before


def test_what_a_user_prints_into_a_file_stays_there(capsys):
    display = TerminalProgress(terminal())
    display.run_started("toy", n_phases=1)
    sys.stdout.write("mine\n")
    display.run_ended("completed")
    assert capsys.readouterr().out == "mine\n"


def test_a_notebook_output_is_updated_in_place(clock):
    shown, replaced = [], []

    def show(bundle):
        shown.append(bundle)
        return replaced.append

    display = NotebookProgress(show)
    play(display)
    assert len(shown) == 1
    assert "warm-up/train" in shown[0]["text/plain"]
    assert "<pre" in shown[0]["text/html"]
    last = replaced[-1]["text/plain"]
    assert "✓ warm-up/train" in last
    assert "✓ test" in last
    assert "\x1b" not in last
    play(display)
    assert len(shown) == 2


@pytest.mark.parametrize("make", [lambda: PlainProgress(io.StringIO()), lambda: TerminalProgress(terminal())])
def test_a_phase_that_never_began_ends_and_calls_outside_a_run_do_nothing(make):
    display = make()
    display.advanced(1, epoch=0)
    display.phase_ended(results())
    display.run_ended("completed")
    display.run_started("toy", n_phases=1)
    failed = results(label="broken", status="failed")
    failed.exception = RuntimeError("x")
    display.phase_ended(failed)
    display.run_ended("failed")
    assert display.advanced(1, epoch=0) is None


@pytest.mark.parametrize("value", ["0", "off", "FALSE"])
def test_the_variable_turns_it_off(monkeypatch, value):
    monkeypatch.setenv("MML_PROGRESS", value)
    assert type(ProgressDisplay.automatic()) is ProgressDisplay


def test_the_surroundings_choose(monkeypatch):
    monkeypatch.delenv("MML_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(ProgressDisplay.automatic(), PlainProgress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(ProgressDisplay.automatic(), TerminalProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(ProgressDisplay.automatic(), PlainProgress)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("mml.context.policy._in_notebook", lambda: True)
    assert isinstance(ProgressDisplay.automatic(), NotebookProgress)


def test_one_epoch_is_no_plural():
    stream = io.StringIO()
    display = PlainProgress(stream)
    display.run_started("toy", n_phases=1)
    display.phase_started(("train",), phase=type("Short", (), {"n_epochs": 1})(), n_steps=1)
    assert stream.getvalue() == "[1/1] train: started, 1 epoch, 1 step\n"
