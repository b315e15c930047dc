"""What this plugin declares to the conformance suite: estimators have no gradients."""

from __future__ import annotations

from mml_conformance import Declaration

DECLARATION = Declaration(
    {
        "gradients": "unsupported",
        "float64": "unsupported",
        "dropout": "unsupported",
        "batch_norm": "unsupported",
        "eager": "unsupported",
    }
)
