"""What this plugin declares to the conformance suite: everything, in float64 too."""

from __future__ import annotations

from mml.backends import BaseModel
from mml_conformance import CAPABILITIES, Declaration


def _widen(model: BaseModel) -> None:
    model.native.double()


DECLARATION = Declaration(dict.fromkeys(CAPABILITIES, "full"), widen=_widen)
