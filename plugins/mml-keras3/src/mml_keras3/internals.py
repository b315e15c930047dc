"""What this plugin uses of Keras beyond its public names, in one place, to be checked with each new version.

Beside these, it reads the lists in which a layer keeps its parts: `_layers`, `_trainable_variables`,
`_non_trainable_variables`, `_seed_generators` and `_losses`.
"""

from __future__ import annotations

from mml_keras3.framework import keras

_src = keras.src

compute_output_spec = _src.backend.compute_output_spec
"""Run a function of arrays on shapes alone; what is unbuilt gets built."""

tanh = _src.backend.nn.tanh
"""The hyperbolic tangent in the dtype of its argument; `keras.ops.tanh` narrows on some engines."""

global_state = _src.backend.common.global_state
"""What Keras keeps for a thread, its global seed generator among it."""

GLOBAL_SEED_GENERATOR: str = _src.random.seed_generator.GLOBAL_SEED_GENERATOR

RandomInitializer = _src.initializers.random_initializers.RandomInitializer

BaseOptimizer = _src.optimizers.base_optimizer.BaseOptimizer

to_snake_case = _src.utils.naming.to_snake_case
"""How Keras makes the name of a layer from that of its class."""
