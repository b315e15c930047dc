"""The entry point. Nothing of the command line is imported before it runs."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the command that the process's arguments name, and exit with its status."""
    from mml.cli.app import app

    app(prog_name="mml")
    raise SystemExit(0)
