"""How far a run is: what all displays know, kept up to date by their calls. It draws nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

_WATCHED = ("val_", "eval_")


@dataclass
class PhaseState:
    """How far the running phase is.

    Parameters
    ----------
    path : str
        Labels of its groups and its own, with slashes.
    n_steps, n_epochs : int
        How many there are if nobody stops it; 0 epochs for a phase without.
    started : float
        On the monotonic clock.
    steps, epoch : int
        How many steps are done, and in which epoch, from 0.
    results : PhaseResults or None
        Set once an epoch has ended.
    """

    path: str
    n_steps: int
    n_epochs: int
    started: float
    steps: int = 0
    epoch: int = 0
    results: Any = None

    def metrics(self) -> dict[str, float]:
        """Return the latest totals, none before the first epoch has ended."""
        return {} if self.results is None else latest_metrics(self.results)

    def elapsed(self) -> float:
        """Return the seconds since the phase began."""
        return time.monotonic() - self.started

    def rate(self) -> float:
        """Return steps a second so far, 0 before the first one."""
        return self.steps / max(self.elapsed(), 1e-9)

    def remaining(self) -> float | None:
        """Return the seconds that the rest takes at this rate; None before the first step."""
        return (self.n_steps - self.steps) / self.rate() if self.steps else None

    def share(self) -> float:
        """Return the share of the steps that are done."""
        return min(self.steps / self.n_steps, 1.0) if self.n_steps else 0.0


class RunState:
    """How far a run is.

    Attributes
    ----------
    label : str
    n_phases : int
    done : int
        How many phases have ended.
    phase : PhaseState or None
        The running phase.
    """

    def __init__(self, label: str, *, n_phases: int) -> None:
        self.label = label
        self.n_phases = n_phases
        self.done = 0
        self.phase: PhaseState | None = None

    @property
    def place(self) -> str:
        """Which phase of how many, as ``[2/3]``."""
        return f"[{min(self.done + 1, self.n_phases)}/{self.n_phases}]"

    def begin(self, path: tuple[str, ...], *, phase: Any, n_steps: int) -> PhaseState:
        """Begin a phase and return its state."""
        n_epochs = getattr(phase, "n_epochs", 0)
        self.phase = PhaseState("/".join(path), n_steps, n_epochs, time.monotonic())
        return self.phase

    def end(self) -> None:
        """End the running phase."""
        self.done += 1
        self.phase = None


def latest_metrics(results: Any) -> dict[str, float]:
    """Return the latest totals: losses and evaluations, without their parts and learning rates."""
    store = results.metric_store
    return {name: store.latest(name) for name in store.names() if "/" not in name}


def headline(metrics: dict[str, float], *, limit: int = 3) -> str:
    """Render a few metrics in one line: the training loss, then what evaluations logged."""
    ordered = sorted(metrics, key=lambda name: name.startswith(_WATCHED))
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in ordered[:limit])


def outcome(results: Any) -> str:
    """Render in one line how a phase ended: epochs, time, metrics."""
    epochs = len(results.epoch_indices) if type(results).__name__ == "TrainResults" else 0
    parts = [
        f"{epochs} epoch{'s' * (epochs > 1)}" if epochs else "",
        "" if results.duration_s is None else f"{results.duration_s:.1f} s",
        headline(latest_metrics(results)),
    ]
    return "  ".join(part for part in parts if part)


def clock(seconds: float | None) -> str:
    """Render seconds as ``m:ss`` or ``h:mm:ss``."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
