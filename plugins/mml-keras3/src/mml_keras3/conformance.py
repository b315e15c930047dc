"""What this plugin declares to the conformance suite: everything; in float64 too, where the engine has it."""

from __future__ import annotations

from mml_conformance import CAPABILITIES, Declaration
from mml_keras3.engines import engine

DECLARATION = Declaration(
    {**dict.fromkeys(CAPABILITIES, "full"), "float64": "full" if engine().has_float64 else "unsupported"},
    float64_settings={"dtype": "float64"},
)
