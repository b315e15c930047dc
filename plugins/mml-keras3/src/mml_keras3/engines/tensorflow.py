"""TensorFlow: a step as a pure function, differentiated once, and traced with a loop over a block's steps.

Variables are read into tensors when a range starts and assigned when it is over; inside, everything is
carried by value, so that tracing touches nothing of the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from mml.errors import BackendError
from mml_keras3.engines.graphs import Traced, has_convolution
from mml_keras3.framework import keras
from mml_keras3.ops import KerasOps

if TYPE_CHECKING:
    from mml_keras3.engines.engine import Runner
    from mml_keras3.plan import StepPlan


class TensorflowEngine:
    """Keras on TensorFlow."""

    name: ClassVar[str] = "tensorflow"
    has_compiler: ClassVar[bool] = True
    has_float64: bool = True
    draws_globally: ClassVar[bool] = True
    ops = KerasOps()

    def __init__(self) -> None:
        self.devices = ("cpu", "cuda") if tf.config.list_physical_devices("GPU") else ("cpu",)

    # --- arrays ----------------------------------------------------------------------------------------

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> Any:
        """Return a tensor of equal bits that owns its memory."""
        with self._on(device):
            return tf.constant(array)

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return an owned copy."""
        return np.array(array.numpy())

    def is_native(self, array: Any) -> bool:
        """Whether it is a dense tensor with a value."""
        return isinstance(array, tf.Tensor) and hasattr(array, "numpy")

    def numpy_dtype(self, array: Any) -> np.dtype[Any]:
        """Return the dtype, which is NumPy's or an extension of it."""
        return np.dtype(array.dtype.as_numpy_dtype)

    def has_dtype(self, dtype: np.dtype[Any]) -> bool:
        """Whether NumPy's dtype is one of TensorFlow's."""
        return dtype.char not in "gG"

    def program_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype itself."""
        return dtype

    def narrowed_in(self, run: Callable[[Any], Any], shape: tuple[int, ...]) -> str | None:  # noqa: ARG002
        """Keras computes in 64 bits on TensorFlow where it is told to."""
        return None

    def cast(self, value: Any, like: Any) -> Any:
        """Return a value in the dtype of another."""
        return tf.cast(value, like.dtype)

    # --- variables -------------------------------------------------------------------------------------

    def value_of(self, variable: Any) -> Any:
        """Return a variable's value, which later assignments leave alone."""
        return variable.value.read_value()

    def set_value(self, variable: Any, value: Any) -> None:
        """Assign a variable."""
        variable.value.assign(value)

    def place(self, variables: Sequence[Any], device: str | None) -> None:
        """Variables stay where they were made; values are carried to where the steps run."""

    def device_name(self, device: str) -> str | None:
        """Return e.g. ``"cuda:0"`` for ``"cuda"``, None where there is no such device."""
        if device == "cpu":
            return device
        kind, _, number = device.partition(":")
        known = tf.config.list_logical_devices("GPU") if kind == "cuda" else []
        if not (number or "0").isdigit() or int(number or 0) >= len(known):
            return None
        return f"cuda:{int(number or 0)}"

    def _on(self, device: str | None) -> AbstractContextManager[Any]:
        if device is None:
            return nullcontext()
        kind, _, number = device.partition(":")
        found: AbstractContextManager[Any] = tf.device(f"/{'GPU' if kind == 'cuda' else 'CPU'}:{number or 0}")
        return found

    # --- running ---------------------------------------------------------------------------------------

    def forward(self, model: Any, variables: Sequence[Any]) -> Callable[[Any], Any]:  # noqa: ARG002
        """Return the model itself; what it would assign is dropped."""

        def run(inputs: Any) -> Any:
            with keras.StatelessScope():
                return model(inputs, training=False)

        return run

    def run_model(self, model: Any) -> Callable[[Any, bool], Any]:
        """Return what runs a model where its variables' values are told by a scope."""
        return lambda inputs, training: model(inputs, training=training)

    def runner(self, plan: StepPlan) -> Runner:
        """Return what traces the steps."""
        from mml_keras3.engines.compiled import CompiledRunner

        return CompiledRunner(plan, self)

    def differentiate(
        self, function: Callable[..., Any], parameters: Sequence[Any], rest: Any, *, learns: bool, eager: bool
    ) -> _Differentiated | _EagerlyDifferentiated:
        """Trace the function and its gradient once; steps call what was traced."""
        traced = _Differentiated(function, list(parameters), rest, learns=learns)
        return _EagerlyDifferentiated(function, traced, learns=learns) if eager else traced

    def at(self, array: Any, number: Any) -> Any:
        """Return one row."""
        return array[number]

    def cond(self, condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """Choose what runs."""
        return tf.cond(condition, then, otherwise)

    def executable(
        self, step: Callable[..., Any], differentiated: Any, *, device: str | None, compiler: bool
    ) -> Callable[..., Any]:
        """Trace a loop over steps, or one step that Python calls again and again."""
        if isinstance(differentiated, _EagerlyDifferentiated):
            return partial(_stepwise, step)
        # In a loop, XLA's convolutions for the CPU take some twenty times as long.
        if compiler and differentiated.has_convolution:
            return partial(_stepwise, Traced(step, compiler=True))
        block = Traced(partial(_loop, step), compiler=compiler)

        def run(start: int, stop: int, held: Any, fixed: Any) -> Any:
            with self._on(device):
                held, losses, outputs = block(tf.constant(start), tf.constant(stop), held, fixed)
                steps = [[one[number] for one in outputs] for number in range(start, stop)]
            return held, [(losses, start, stop)], steps

        return run

    def stage(self, array: np.ndarray, device: str | None) -> Any:
        """Put a host array that nobody writes to any more on the device."""
        with self._on(device):
            return tf.convert_to_tensor(array)

    def joined(self, parts: Sequence[tuple[Any, int, int]]) -> Any:
        """Join rows of several tensors."""
        rows = [tensor[first:to] for tensor, first, to in parts]
        return rows[0] if len(rows) == 1 else tf.concat(rows, axis=0)

    # --- process-wide state ----------------------------------------------------------------------------

    @contextmanager
    def generators_kept(self) -> Iterator[None]:
        """Keras draws from seed generators only, which are variables."""
        yield

    def seed_generators(self, seed: int) -> None:
        """Keras draws from seed generators only, which are variables."""

    @contextmanager
    def determinism(self, *, asked: bool) -> Iterator[None]:
        """Refuse to promise equal bits on a GPU unless the user switched TensorFlow to it."""
        if asked and "cuda" in self.devices and not is_op_determinism_enabled():
            raise BackendError(
                "TensorFlow gives equal bits on a GPU only where the whole process asks for it.",
                hint="Call tf.config.experimental.enable_op_determinism() before anything else.",
            )
        yield


class _Differentiated:
    """A traced function and, where something learns, its gradient."""

    def __init__(
        self, function: Callable[..., Any], parameters: list[Any], rest: Any, *, learns: bool
    ) -> None:
        self._number = len(parameters)
        self.reached = [False] * len(parameters)

        def both(parameters: list[Any], rest: Any) -> Any:
            if not learns:
                return [], function(parameters, rest)[1]
            gradients, more = _with_gradients(function, parameters, rest)
            self.reached = [one is not None for one in gradients]
            return [one for one in gradients if one is not None], more

        self._traced = Traced(both, compiler=False)
        self._traced.trace(parameters, rest)
        self.has_convolution = has_convolution(self._traced.graph)

    def run(self, parameters: Sequence[Any], rest: Any) -> tuple[list[Any], Any]:
        """Call what was traced."""
        found, more = self._traced(list(parameters), rest)
        gradients = iter(found)
        return [next(gradients) if reached else None for reached in self.reached], more

    once = run


class _EagerlyDifferentiated:
    """A function that is run and differentiated anew at every step, for Python that looks at its values."""

    has_convolution = False

    def __init__(self, function: Callable[..., Any], traced: _Differentiated, *, learns: bool) -> None:
        self._function = function
        self._learns = learns
        self.reached = traced.reached

    def run(self, parameters: Sequence[Any], rest: Any) -> tuple[list[Any], Any]:
        """Run the function, and its gradient if something learns."""
        if not self._learns:
            return [None] * len(parameters), self._function(list(parameters), rest)[1]
        return _with_gradients(self._function, list(parameters), rest)


def _with_gradients(function: Callable[..., Any], parameters: list[Any], rest: Any) -> tuple[list[Any], Any]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(parameters)
        total, more = function(parameters, rest)
    found = tape.gradient(total, parameters)
    return [None if one is None else tf.convert_to_tensor(one) for one in found], more


def _loop(step: Callable[..., Any], start: Any, stop: Any, held: Any, fixed: Any) -> Any:
    steps = int(fixed.states.shape[0])
    # What a step records is known from the first one; a graph of its own is thrown away again.
    _, losses, outputs = step(start, held, fixed)
    records = [tf.TensorArray(one.dtype, size=steps, element_shape=one.shape) for one in (losses, *outputs)]
    carried = tf.nest.flatten(held)

    def body(number: Any, carried: list[Any], records: list[Any]) -> Any:
        moved, losses, outputs = step(number, tf.nest.pack_sequence_as(held, carried), fixed)
        written = [record.write(number, one) for record, one in zip(records, (losses, *outputs), strict=True)]
        return number + 1, tf.nest.flatten(moved), written

    _, carried, records = tf.while_loop(
        lambda number, *_: number < stop, body, (start, carried, records), parallel_iterations=1
    )
    losses, *outputs = [record.stack() for record in records]
    return tf.nest.pack_sequence_as(held, carried), losses, outputs


def _stepwise(step: Callable[..., Any], start: int, stop: int, held: Any, fixed: Any) -> Any:
    losses, outputs = [], []
    for number in range(start, stop):
        held, found, made = step(tf.constant(number), held, fixed)
        losses.append((found[None], 0, 1))
        outputs.append(made)
    return held, losses, outputs


def make_engine() -> TensorflowEngine:
    """Return the engine."""
    return TensorflowEngine()
