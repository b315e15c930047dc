"""The reference's declaration: it does everything that the suite asks for."""

from __future__ import annotations

from mml_conformance.declaration import CAPABILITIES, Declaration

DECLARATION = Declaration(dict.fromkeys(CAPABILITIES, "full"), float64_settings={"dtype": "float64"})
