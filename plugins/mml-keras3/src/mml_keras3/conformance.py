"""What this plugin declares to the conformance suite: everything; in float64 too, where the engine has it."""

from __future__ import annotations

import numpy as np

from mml_conformance import CAPABILITIES, Declaration
from mml_keras3.engines import engine

_HAS_FLOAT64 = engine().program_dtype(np.dtype(np.float64)) == np.float64

DECLARATION = Declaration(
    {**dict.fromkeys(CAPABILITIES, "full"), "float64": "full" if _HAS_FLOAT64 else "unsupported"},
    float64_settings={"dtype": "float64"},
)
