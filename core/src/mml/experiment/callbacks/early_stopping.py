"""`EarlyStopping`: stop when a metric stops improving, and go back to the best epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from mml.errors import PhaseError, did_you_mean
from mml.experiment.callbacks.callback import Callback
from mml.protocols import State


class EarlyStopping(Callback):
    """Watch a metric at the end of each epoch.

    Parameters
    ----------
    monitor : str
        Name of the metric, as the phase or an earlier callback logs it.
    patience : int
        How many logged values without improvement are endured.
    min_delta : float
        What counts as an improvement.
    mode : {"min", "max"}
    restore_best : bool
        Put the values of the best epoch back when the phase ends, however it ends.
    """

    def __init__(
        self,
        *,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "min",
        restore_best: bool = True,
    ) -> None:
        if not isinstance(monitor, str):
            raise PhaseError("`monitor` is the name of a metric.", found=repr(monitor))
        if mode not in ("min", "max"):
            raise PhaseError("Unknown mode.", expected="'min' or 'max'", found=repr(mode))
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise PhaseError("`patience` is a number of at least 1.", found=repr(patience))
        is_number = isinstance(min_delta, int | float | np.number) and not isinstance(min_delta, bool)
        if not is_number or not min_delta >= 0:
            raise PhaseError("`min_delta` is a number of at least 0.", found=repr(min_delta))
        if not isinstance(restore_best, bool):
            raise PhaseError("`restore_best` is True or False.", found=repr(restore_best))
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.mode = mode
        self.restore_best = restore_best
        self._expected = True
        self._forget()

    def _forget(self) -> None:
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self._waited = 0
        self._seen = 0
        self._best_state: State | None = None

    def check(self, phase: Any, available: tuple[str, ...], *, certain: bool) -> None:
        """Refuse a metric that nobody before this callback logs."""
        self._expected = self.monitor in available
        if certain and not self._expected:
            raise self._nobody_logs(phase, available)

    def _nobody_logs(self, phase: Any, available: Iterable[str]) -> PhaseError:
        return PhaseError(
            f"EarlyStopping watches {self.monitor!r}, which nobody logs before it.",
            where={"phase": phase.label, "callback": self.name},
            hint=f"{did_you_mean(self.monitor, available)} Put whoever logs it before EarlyStopping.",
        )

    def metrics_logged(self, phase: Any) -> tuple[str, ...]:  # noqa: ARG002 -- none in any phase
        """Return nothing: it only watches."""
        return ()

    def on_phase_start(self, **_: Any) -> None:
        """Start anew."""
        self._forget()

    def on_epoch_end(self, *, experiment: Any, phase: Any, results: Any, epoch: int) -> None:
        """Look at the metric; ask the phase to stop when patience runs out."""
        if self.monitor not in results.metric_store:
            if not self._expected:
                raise self._nobody_logs(phase, results.metric_store.names())
            return
        logged = results.metrics().where(name=self.monitor)
        if len(logged) == self._seen:
            return
        self._seen = len(logged)
        value = results.metric_store.latest(self.monitor)
        if self._improves(value):
            self.best_value, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                self._best_state = experiment.graph.get_trainable_state()
            return
        self._waited += 1
        if self._waited >= self.patience:
            phase.request_stop()

    def _improves(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best_value is None:
            return True
        gain = self.best_value - value if self.mode == "min" else value - self.best_value
        return gain > self.min_delta

    def on_phase_end(self, *, experiment: Any, phase: Any, results: Any) -> None:  # noqa: ARG002 -- the hook's form
        """Put the best epoch's values back; who is frozen by now stays so."""
        if self._best_state is not None:
            experiment.graph.set_trainable_state(self._best_state)
            self._best_state = None

    def get_settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "monitor": self.monitor,
            "patience": self.patience,
            "min_delta": self.min_delta,
            "mode": self.mode,
            "restore_best": self.restore_best,
        }

    def get_state(self) -> State:
        """Return the best value and epoch, the patience used up, and the best values."""
        return {
            "best_value": self.best_value,
            "best_epoch": self.best_epoch,
            "waited": self._waited,
            "seen": self._seen,
            "best_state": self._best_state,
        }

    def set_state(self, state: State) -> None:
        """Put back what it remembers."""
        self.best_value = state["best_value"]
        self.best_epoch = state["best_epoch"]
        self._waited = state["waited"]
        self._seen = state["seen"]
        self._best_state = state["best_state"]
