"""Fake distributions on disk: real entry points, real modules, nothing installed."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator

import pytest

from mml.plugins import PluginManager

HEAD = """
from mml.plugins import Claim, Component, PluginInfo, hookimpl
"""


@pytest.fixture
def site(tmp_path, monkeypatch) -> Iterator[Callable[..., str]]:
    """Return a function that writes one distribution into a folder on ``sys.path``.

    ``site("alpha", plugin=SOURCE, modules={"name": SOURCE})`` makes the distribution ``mml-alpha`` with an
    entry point ``alpha`` that names the module ``mml_alpha_plugin``.
    """
    monkeypatch.delenv("MML_PLUGINS_BLOCK", raising=False)
    monkeypatch.delenv("MML_PLUGINS_STRICT", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def write(name, *, plugin=None, modules=None, distribution=None, version="1.0", entry=None, point=None):
        distribution = distribution or f"mml-{name}"
        module = f"{distribution.replace('-', '_')}_plugin"
        sources = {} if plugin is None else {module: HEAD + textwrap.dedent(plugin)}
        sources |= {key: textwrap.dedent(value) for key, value in (modules or {}).items()}
        for key, source in sources.items():
            (tmp_path / f"{key}.py").write_text(source, encoding="utf-8")
            written.append(key)
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            point or f"[mml.plugins]\n{name} = {entry or module}\n", encoding="utf-8"
        )
        importlib.invalidate_caches()
        return module

    yield write
    for key in written:
        sys.modules.pop(key, None)


@pytest.fixture
def discover(tmp_path) -> Callable[[], PluginManager]:
    """Return a function that makes a manager which sees the fake distributions and no installed ones."""
    return lambda: PluginManager(path=[str(tmp_path)])


HEALTHY = """
@hookimpl
def mml_plugin():
    return PluginInfo("{name}", api_version=(1, 1){extra})

@hookimpl
def mml_components():
    return [Component("losses", "{name}", "square", "{name}_parts:square", "The square.")]
"""

PARTS = """
def square(x):
    return x * x
"""


@pytest.fixture
def healthy(site) -> Callable[..., str]:
    """Return a function that writes a plugin in good health with one loss, ``<name>/square``."""

    def write(name="good", *, extra="", **options):
        return site(
            name,
            plugin=HEALTHY.format(name=name, extra=extra),
            modules={f"{name}_parts": PARTS},
            **options,
        )

    return write
