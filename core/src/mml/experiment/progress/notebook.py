"""`NotebookProgress`: the same lines as on a terminal, in one output that is updated in place."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mml.experiment.progress.drawing import finished_line, running_line
from mml.experiment.progress.run_state import PhaseState, RunState
from mml.experiment.progress.throttled import ThrottledProgress

_INTERVAL_S = 0.25
_WIDTH = 100
_PAGE = '<pre style="line-height:normal; white-space:pre; font-family:monospace">{code}</pre>'

Bundle = dict[str, str]


class NotebookProgress(ThrottledProgress):
    """Shows HTML drawn by rich; needs no widgets.

    Parameters
    ----------
    show : callable, optional
        ``show(bundle)`` puts a mapping from MIME type to text into a new output and returns a callable that
        replaces it; IPython's display where left out.
    """

    def __init__(self, show: Callable[[Bundle], Callable[[Bundle], Any]] | None = None) -> None:
        super().__init__(interval_s=_INTERVAL_S)
        self._show = show or _display
        self._replace: Callable[[Bundle], Any] | None = None
        self._finished: list[Any] = []

    def _open(self, run: RunState) -> None:  # noqa: ARG002 -- a phase will be drawn
        self._finished = []
        self._replace = None

    def _begin(self, run: RunState, phase: PhaseState) -> None:
        self._update(run, phase)

    def _update(self, run: RunState, phase: PhaseState) -> None:
        self._draw([*self._finished, running_line(run, phase)])

    def _end(self, run: RunState, path: str, results: Any) -> None:  # noqa: ARG002 -- its place is told by now
        self._finished.append(finished_line(path, results))
        self._draw(self._finished)

    def _close(self) -> None:
        self._replace = None

    def _draw(self, lines: list[Any]) -> None:
        bundle = _rendered(lines)
        if self._replace is None:
            self._replace = self._show(bundle)
        else:
            self._replace(bundle)


def _rendered(lines: list[Any]) -> Bundle:
    from io import StringIO

    from rich.console import Console

    console = Console(
        record=True,
        file=StringIO(),
        width=_WIDTH,
        force_terminal=True,
        force_jupyter=False,
        color_system="truecolor",
    )
    for line in lines:
        console.print(line)
    html = console.export_html(inline_styles=True, code_format=_PAGE, clear=False)
    return {"text/html": html, "text/plain": console.export_text()}


def _display(bundle: Bundle) -> Callable[[Bundle], Any]:
    # By name: only a notebook has it, and only there is this called.
    handle = importlib.import_module("IPython.display").display(bundle, raw=True, display_id=True)
    return lambda changed: handle.update(changed, raw=True)
