"""The protocol of an engine: arrays in and out, one call of a model, and a runner for a segment's steps.

Core and the rest of the plugin own everything else: which calls run, which losses count, who learns, what a
step's numbers are, and how blocks are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from mml.backends import Block, BlockResult, Controls

if TYPE_CHECKING:
    from mml_keras3.plan import StepPlan


class Runner(Protocol):
    """Runs the steps of one segment."""

    def stage(self, block: Block) -> Any:
        """Bring a block to the device; the host's buffers may be overwritten afterwards."""
        ...

    def run(self, staged: Any, start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute a range of steps of a staged block."""
        ...


class Engine(Protocol):
    """One of the frameworks that Keras runs on.

    Attributes
    ----------
    name : str
    devices : tuple of str
    has_compiler : bool
        Whether a segment may ask for the engine's optimising compiler.
    has_float64 : bool
        Whether Keras computes in float64 on it, where a model asks for that.
    draws_globally : bool
        Whether models can draw from Keras' global seed generator inside a program.
    ops : ArrayOps
    """

    name: ClassVar[str]
    devices: tuple[str, ...]
    has_compiler: ClassVar[bool]
    has_float64: bool
    draws_globally: ClassVar[bool]
    ops: Any

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> Any:
        """Return a native array of equal bits that owns its memory; the dtype is one that it has."""
        ...

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return an owned NumPy array of equal bits."""
        ...

    def is_native(self, array: Any) -> bool:
        """Whether it is one of the engine's arrays."""
        ...

    def numpy_dtype(self, array: Any) -> np.dtype[Any]:
        """Return NumPy's dtype of a native array."""
        ...

    def has_dtype(self, dtype: np.dtype[Any]) -> bool:
        """Whether arrays outside of programs can have this dtype."""
        ...

    def program_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype that values of this one have inside a program; narrower where it has no such."""
        ...

    def narrowed_in(self, run: Callable[[Any], Any], shape: tuple[int, ...]) -> str | None:
        """Return what a model in float64 computes in fewer bits on inputs of a shape, None where nothing."""
        ...

    def device_name(self, device: str) -> str | None:
        """Return a device's name in full, None where it is not there."""
        ...

    def value_of(self, variable: Any) -> Any:
        """Return the current value of a Keras variable as a native array, without a copy if possible."""
        ...

    def set_value(self, variable: Any, value: Any) -> None:
        """Make a native array the value of a Keras variable."""
        ...

    def place(self, variables: Sequence[Any], device: str | None) -> None:
        """Move the values of variables to a device."""
        ...

    def forward(self, model: Any, variables: Sequence[Any]) -> Callable[[Any], Any]:
        """Return a function that runs a model in inference mode on a native array, changing nothing."""
        ...

    def runner(self, plan: StepPlan) -> Runner:
        """Return what runs the steps of a segment."""
        ...

    @contextmanager
    def generators_kept(self) -> Iterator[None]:
        """Restore the engine's own process-wide generators at the end."""
        ...

    def seed_generators(self, seed: int) -> None:
        """Seed the engine's own process-wide generators, where it draws from them."""
        ...

    @contextmanager
    def determinism(self, *, asked: bool) -> Iterator[None]:
        """Use kernels that give equal bits in every run, where asked to."""
        ...
