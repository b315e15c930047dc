"""What differs between the engines that Keras runs on: one module each, behind one protocol.

`engine.py` is the protocol. `compiled.py` and `steps.py` run a segment as a pure function of arrays, which
`jax.py` and `tensorflow.py` compile; `torch.py` and `eager.py` step through it. Nothing outside this folder
names an engine.
"""

from mml_keras3.engines.engine import Engine, Runner
from mml_keras3.engines.selected import engine

__all__ = ["Engine", "Runner", "engine"]
