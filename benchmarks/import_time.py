"""How long `import mml` takes beyond NumPy and PyArrow, and what it loads: in fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from statistics import median

from benchmarks.measure import Contender, Report, Settings, measure

BUDGET_MS = 150
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "sklearn", "scipy", "pandas", "polars", "matplotlib")
_BASE = "import numpy, pyarrow"
_TIMED = "import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
_LOADED = "import json, sys, mml; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    # An installed package has its bytecode beside it; one in a source tree gets it from the first run.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True
    )


def _importing(statement: str) -> Callable[[], float]:
    return lambda: float(_python("-c", _TIMED.format(statement=statement)).stdout)


def loaded_frameworks() -> list[str]:
    """Return the frameworks and optional libraries that `import mml` loads: there should be none."""
    modules = json.loads(_python("-c", _LOADED).stdout)
    return [name for name in FRAMEWORKS if name in modules]


def slowest_imports(count: int = 5) -> list[str]:
    """Return what `python -X importtime` says of the packages that MML adds, the slowest first."""
    lines = _python("-X", "importtime", "-c", f"{_BASE}; import mml").stderr.splitlines()
    packages: dict[str, int] = {}
    for line in lines[_position(lines, "pyarrow") + 1 :]:
        parts = line.removeprefix("import time:").split("|")
        package = parts[2].strip().partition(".")[0]
        packages[package] = packages.get(package, 0) + int(parts[0])
    ranked = sorted(packages.items(), key=lambda item: -item[1])[:count]
    return [f"{name} {microseconds / 1000:.0f} ms" for name, microseconds in ranked]


def _position(lines: list[str], module: str) -> int:
    return next(index for index, line in enumerate(lines) if line.rpartition("|")[2].strip() == module)


def run(settings: Settings) -> Report:
    """Measure both imports and the difference, and look at what was loaded.

    Returns
    -------
    Report
        Milliseconds an import.
    """
    base, both = "numpy and pyarrow", "numpy, pyarrow and mml"
    contenders = [
        Contender(base, _importing(_BASE)),
        Contender(both, _importing(f"{_BASE}; import mml")),
    ]
    times = measure(contenders, rounds=settings.rounds)
    report = Report(
        title="import mml",
        unit="ms",
        scale=1e3,
        times=times,
        reference=base,
        packages=("mml", "numpy", "pyarrow"),
    )
    added = median(after - before for after, before in zip(times[both], times[base], strict=True)) * 1e3
    kept = "kept" if added <= BUDGET_MS else "missed"
    report.notes.append(f"mml adds {added:.0f} ms; budget {BUDGET_MS} ms: {kept}")
    report.notes.append(f"frameworks loaded: {', '.join(loaded_frameworks()) or 'none'}")
    report.notes.append(f"slowest of what mml adds, by itself: {', '.join(slowest_imports())}")
    return report
