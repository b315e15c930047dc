"""Finding the reference plugin costs nothing: neither its backend nor the suite is imported."""

from __future__ import annotations

import subprocess
import sys


def test_listing_plugins_imports_neither_backend_nor_suite():
    code = (
        "import sys; from mml.plugins import get_manager\n"
        "print([one.name for one in get_manager().plugins])\n"
        "print(*(name for name in sys.modules if name.startswith('mml_conformance')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, loaded = ran.stdout.splitlines()
    assert "reference" in names
    expected = {"mml_conformance", "mml_conformance.reference", "mml_conformance.reference.plugin"}
    assert set(loaded.split()) == expected
