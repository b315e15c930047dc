"""What a backend declares that it can do.

Core asks for nothing that is not declared here, and tells the user so by name. There is no other way in
which one backend differs from another in core's eyes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The declared abilities of one backend.

    Parameters
    ----------
    gradients : bool
        Models learn by gradient descent in a TrainPhase.
    fit : bool
        Models are fitted in one pass over all rows in a FitPhase.
    partial_fit : bool
        Models that have `partial_fit` learn batch by batch in a TrainPhase.
    deterministic : bool
        Equal seeds give equal bits on one machine, so that exact resume can be promised.
    devices : tuple of str
        Kinds of device, e.g. ``("cpu",)``; first the one that is meant where none is named.
    dlpack : bool
        Arrays cross to other backends through DLPack without a copy.
    compiled : bool
        A program is compiled for fixed shapes: short batches are padded instead of cut.
    precisions : tuple of str
        In which precisions a segment can be trained: ``"float32"``, which stands for the models' own dtypes,
        and ``"bf16"``, where matrix products run in bfloat16 and parameters stay what they are.
    compiler : bool
        Segments can be handed to the framework's optimising compiler (`Segment.jit_compile`).
    mappings : bool
        Models can take several arrays as one mapping (`Call.keys`), as references with ``combine="dict"`` ask
        for.
    """

    gradients: bool = False
    fit: bool = False
    partial_fit: bool = False
    deterministic: bool = True
    devices: tuple[str, ...] = ("cpu",)
    dlpack: bool = False
    compiled: bool = False
    precisions: tuple[str, ...] = ("float32",)
    compiler: bool = False
    mappings: bool = False
