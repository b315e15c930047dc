"""The command line: ``mml`` and ``python -m mml``."""

from mml.cli.main import main

__all__ = ["main"]
