"""Writing results to the standard output: text, JSON, and tables that fit the terminal."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def print_text(text: str) -> None:
    """Write lines."""
    sys.stdout.write(f"{text}\n")


def print_json(value: Any) -> None:
    """Write a value as JSON; numbers that JSON does not have become null."""
    sys.stdout.write(f"{json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)}\n")


def console() -> Console:
    """Return rich's console on the standard output as it is now."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, soft_wrap=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
