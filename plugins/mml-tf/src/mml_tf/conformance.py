"""What this plugin declares to the conformance suite: everything, in float64 too."""

from __future__ import annotations

import tensorflow as tf

from mml.backends import BaseModel
from mml_conformance import CAPABILITIES, Declaration


def _widen(model: BaseModel) -> None:
    for part in (model.native, *model.native.submodules):
        for name, value in list(vars(part).items()):
            if isinstance(value, tf.Variable):
                wide = tf.Variable(tf.cast(value, tf.float64), trainable=value.trainable)
                setattr(part, name, wide)


DECLARATION = Declaration(dict.fromkeys(CAPABILITIES, "full"), widen=_widen)
