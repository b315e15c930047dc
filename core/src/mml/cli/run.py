"""``mml run`` and ``mml validate``: documents from files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import typer

from mml.cli.errors import FAILED, SUCCESS
from mml.cli.output import print_json, print_text
from mml.documents import ExperimentDocument, load_document
from mml.experiment import Experiment
from mml.experiment.progress import RunReport


def run_file(
    file: Path,
    *,
    overrides: Iterable[str],
    seed: int | None,
    save: Path | None,
    as_json: bool,
    allow_imports: bool,
) -> int:
    """Run a document; return the exit status."""
    document = _loaded(file, overrides=overrides, seed=seed, allow_imports=allow_imports)
    experiment = document.build()
    return finished(experiment, save=save, as_json=as_json)


def validate_file(file: Path, *, overrides: Iterable[str], allow_imports: bool) -> int:
    """Check a document; return the exit status."""
    document = _loaded(file, overrides=overrides, seed=None, allow_imports=allow_imports)
    document.check()
    spec = document.spec
    counts = (f"{len(spec.data)} data", f"{len(spec.graph.nodes)} nodes", f"{len(spec.plan)} steps")
    print_text(f"{file}: the experiment {spec.label!r} is valid ({', '.join(counts)}).")
    return SUCCESS


def finished(experiment: Experiment, *, save: Path | None, as_json: bool) -> int:
    """Run an experiment, save it if asked to, print its report; return the exit status.

    What was run is saved before anything is printed, and also where Ctrl-C ended it early. A place that
    cannot be written to is refused before anything runs; what fails later takes no report with it.
    """
    if save is not None:
        _check_place(save)
    experiment.run()
    report, saved = RunReport.of(experiment), None
    try:
        saved = None if save is None else experiment.save(save)
    finally:
        if as_json:
            print_json({**report.to_dict(), "saved": None if saved is None else str(saved)})
        else:
            print_text(str(report))
            if saved is not None:
                print_text(f"Saved as {saved}.")
    return SUCCESS if report.status == "completed" else FAILED


def _check_place(path: Path) -> None:
    folder = path.absolute().parent
    if path.is_dir():
        raise typer.BadParameter(f"{str(path)!r} is a folder.", param_hint="'--save'")
    if not folder.is_dir():
        raise typer.BadParameter(f"There is no folder {str(folder)!r}.", param_hint="'--save'")
    if not os.access(folder, os.W_OK):
        raise typer.BadParameter(f"The folder {str(folder)!r} cannot be written to.", param_hint="'--save'")


def _loaded(
    file: Path, *, overrides: Iterable[str], seed: int | None, allow_imports: bool
) -> ExperimentDocument:
    if allow_imports:
        # Where a user's own module most likely lies; without it `mml`, being a script elsewhere, finds none.
        sys.path.insert(0, str(file.resolve().parent))
    changed = [*overrides, *([] if seed is None else [f"seed={seed}"])]
    return load_document(file, overrides=changed, allow_imports=allow_imports)
