"""The markers that tie hook implementations to their specifications."""

from __future__ import annotations

import pluggy

PROJECT = "mml"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
