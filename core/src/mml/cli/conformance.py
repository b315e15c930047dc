"""``mml conformance NAME``: the suite is a distribution of its own."""

from __future__ import annotations

from mml.errors import PluginError
from mml.plugins.install import pip_install

_SUITE = "mml_conformance"


def run_conformance(name: str, *, as_json: bool) -> int:
    """Run the suite against a backend and print its report; return the exit status.

    Raises
    ------
    PluginError
        If the suite is not installed.
    """
    import importlib

    try:
        suite = importlib.import_module(_SUITE)
    except ModuleNotFoundError as cause:
        if cause.name != _SUITE:
            raise
        raise PluginError(
            "The conformance suite is not installed.", hint=pip_install("mml-conformance")
        ) from cause
    status: int = suite.run(name, json=as_json)
    return status
