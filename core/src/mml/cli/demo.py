"""``mml demo``: the experiment of ``demo.yaml``, which is an experiment document like any other."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from mml.cli.errors import FAILED, SUCCESS
from mml.cli.output import print_text
from mml.cli.run import finished
from mml.documents import DocumentMistakesError, ExperimentDocument
from mml.errors import PluginError

DOCUMENT = resources.files("mml.cli") / "demo.yaml"
_EXTRA = re.compile(r"mml\[([\w-]+)\]")


def demo_document(*, seed: int | None = None) -> ExperimentDocument:
    """Return the demo's document.

    Raises
    ------
    PluginError
        If a plugin that it needs is not installed, with the command that installs all that are missing.
    """
    overrides = [] if seed is None else [f"seed={seed}"]
    try:
        return ExperimentDocument.from_text(DOCUMENT.read_bytes(), name=str(DOCUMENT), overrides=overrides)
    except DocumentMistakesError as error:
        hints = " ".join(one.hint or "" for one in error.mistakes if isinstance(one.cause, PluginError))
        extras = sorted(set(_EXTRA.findall(hints)))
        if not extras:
            raise
        raise PluginError(
            "The demo needs plugins that are not installed.",
            found=", ".join(f"no {one}" for one in extras),
            hint=f'pip install "mml[{",".join(extras)}]"',
        ) from error


def run_demo(*, seed: int | None, save: Path | None, as_json: bool) -> int:
    """Run the demo, save it, and say what to try next; return the exit status."""
    document = demo_document(seed=seed)
    chosen = document.spec.seed
    target = Path(f"{document.spec.label}-{chosen}.mml") if save is None else save
    status = finished(document.build(), save=target, as_json=as_json)
    if status == SUCCESS and not as_json:
        print_text(
            "\n".join(
                [
                    "",
                    "Try next:",
                    f"  mml show {target}",
                    f"  mml demo --seed {chosen + 1}",
                    f"  mml run {DOCUMENT} --set plan.train.epochs=5",
                    "  mml plugins",
                ]
            )
        )
    return status if status == SUCCESS else FAILED
