"""First values of what a model left unbuilt: drawn from a seed, however the process got there.

Keras' initializers choose their seed when they are made, from Python's generator. A class or factory is
called under a seeded generator; a model that came made but unbuilt has its random values drawn again here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mml.random import derive_seed
from mml_keras3.engines import engine
from mml_keras3.internals import RandomInitializer
from mml_keras3.random_state import generator_states
from mml_keras3.structure import NamedVariable, layers_of


def draw(variables: Sequence[NamedVariable], seed: int) -> None:
    """Draw the values of variables anew whose layer holds an initializer without a seed of its own."""
    for one in variables:
        initializer = getattr(one.layer, f"{one.variable.name}_initializer", None)
        if isinstance(initializer, RandomInitializer) and initializer._init_seed is None:
            settings = {**initializer.get_config(), "seed": derive_seed(seed, one.name) % 2**31}
            drawn = type(initializer).from_config(settings)(one.variable.shape, dtype=one.variable.dtype)
            one.variable.assign(drawn)


def seed_unseeded_generators(model: Any, seed: int) -> None:
    """Give seed generators that were given no seed one that is equal in every process."""
    states = [generator.state for generator in _unseeded(model)]
    starts = generator_states(np.array([derive_seed(seed, "generators")], dtype=np.int64), len(states))[0]
    for state, start in zip(states, starts, strict=True):
        dtype = engine().numpy_dtype(engine().value_of(state))
        engine().set_value(state, engine().to_array(np.array([start[0], 0]).astype(dtype)))


def _unseeded(model: Any) -> Iterator[Any]:
    for layer in layers_of(model):
        yield from (one for one in layer._seed_generators if one._initial_seed is None)
