"""JAX: a step as a pure function, differentiated once, and compiled with a loop over the steps of a block.

Programs compute in the widths that JAX is set to: 32 bits, unless `JAX_ENABLE_X64` says otherwise. Arrays
outside of programs keep every width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import jaxpr_as_fun

from mml_keras3.engines.jaxpr import has_convolution, is_always_zero, narrows
from mml_keras3.framework import keras
from mml_keras3.ops import KerasOps

if TYPE_CHECKING:
    from mml_keras3.engines.engine import Runner
    from mml_keras3.plan import StepPlan


class JaxEngine:
    """Keras on JAX."""

    name: ClassVar[str] = "jax"
    has_compiler: ClassVar[bool] = True
    draws_globally: ClassVar[bool] = False
    ops = KerasOps()

    def __init__(self) -> None:
        self.has_float64 = self.program_dtype(np.dtype(np.float64)) == np.float64
        self.devices = tuple(dict.fromkeys(["cpu", *(_kind(one) for one in jax.devices())]))

    # --- arrays ----------------------------------------------------------------------------------------

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> Any:
        """Return an array of any width; the host array belongs to it from now on."""
        with jax.enable_x64(True):
            return jax.device_put(array, self._device(device)).block_until_ready()

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return an owned copy."""
        return np.array(array)

    def is_native(self, array: Any) -> bool:
        """Whether it is an array of JAX."""
        return isinstance(array, jax.Array)

    def numpy_dtype(self, array: Any) -> np.dtype[Any]:
        """Return the dtype, which is NumPy's or an extension of it."""
        return np.dtype(array.dtype)

    def has_dtype(self, dtype: np.dtype[Any]) -> bool:
        """Whether NumPy's dtype is one of JAX's."""
        return dtype.char not in "gG"

    def program_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype, in 32 bits unless JAX is set to 64."""
        return np.dtype(jax.dtypes.canonicalize_dtype(dtype))

    def narrowed_in(self, run: Callable[[Any], Any], shape: tuple[int, ...]) -> str | None:
        """Look for a cast from 64 bits to fewer in the traced model."""
        traced = jax.make_jaxpr(run)(jax.ShapeDtypeStruct(shape, np.float64))
        return "a part of the model" if narrows(traced.jaxpr) else None

    def cast(self, value: Any, like: Any) -> Any:
        """Return a value in the dtype of another."""
        return jnp.asarray(value, dtype=like.dtype)

    # --- variables -------------------------------------------------------------------------------------

    def value_of(self, variable: Any) -> Any:
        """Return the array that a variable refers to."""
        return variable.value

    def set_value(self, variable: Any, value: Any) -> None:
        """Let a variable refer to an array."""
        variable.assign(value)

    def place(self, variables: Sequence[Any], device: str | None) -> None:
        """Move values to a device."""
        if device is not None:
            for one in variables:
                one.assign(jax.device_put(one.value, self._device(device)))

    def device_name(self, device: str) -> str | None:
        """Return e.g. ``"cuda:0"`` for ``"cuda"``, None where there is no such device."""
        kind, _, number = device.partition(":")
        known = [one for one in _devices() if _kind(one) == kind]
        if not known or not (number or "0").isdigit() or int(number or 0) >= len(known):
            return None
        return "cpu" if device == "cpu" else f"{kind}:{int(number or 0)}"

    def _device(self, device: str | None) -> Any:
        if device is None:
            return None
        kind, _, number = device.partition(":")
        return [one for one in _devices() if _kind(one) == kind][int(number or 0)]

    # --- running ---------------------------------------------------------------------------------------

    def forward(self, model: Any, variables: Sequence[Any]) -> Callable[[Any], Any]:
        """Return the compiled model."""

        @jax.jit
        def run(values: list[Any], inputs: Any) -> Any:
            with keras.StatelessScope(list(zip(variables, values, strict=True))):
                return model(inputs, training=False)

        return lambda inputs: run([one.value for one in variables], inputs)

    def run_model(self, model: Any) -> Callable[[Any, bool], Any]:
        """Return what runs a model where its variables' values are told by a scope."""
        return lambda inputs, training: model(inputs, training=training)

    def runner(self, plan: StepPlan) -> Runner:
        """Return what compiles the steps."""
        from mml_keras3.engines.compiled import CompiledRunner

        return CompiledRunner(plan, self)

    def differentiate(
        self, function: Callable[..., Any], parameters: Sequence[Any], rest: Any, *, learns: bool, eager: bool
    ) -> _Differentiated | _EagerlyDifferentiated:
        """Trace the function and its gradient once; steps evaluate what was traced."""
        traced = _Differentiated(function, list(parameters), rest, learns=learns)
        return _EagerlyDifferentiated(function, traced, learns=learns) if eager else traced

    def at(self, array: Any, number: Any) -> Any:
        """Return one row."""
        if isinstance(number, int):
            return array[number]
        return lax.dynamic_index_in_dim(array, number, keepdims=False)

    def cond(self, condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """Choose what runs."""
        return lax.cond(condition, then, otherwise)

    def executable(
        self,
        step: Callable[..., Any],
        differentiated: Any,
        *,
        device: str | None,  # noqa: ARG002 -- steps run where their arrays are
        compiler: bool,  # noqa: ARG002 -- JAX always compiles
    ) -> Callable[..., Any]:
        """Compile a loop over steps, or one step that Python calls again and again."""
        if isinstance(differentiated, _EagerlyDifferentiated):
            return partial(_stepwise, step)
        # In a loop on the CPU, a convolution takes some twenty times as long.
        if differentiated.has_convolution and jax.default_backend() == "cpu":
            return partial(_stepwise, jax.jit(step))
        block = jax.jit(partial(_loop, step))

        def run(start: int, stop: int, held: Any, fixed: Any) -> Any:
            held, losses, outputs = block(np.int32(start), np.int32(stop), held, fixed)
            steps = [[_picked(one, np.int32(number)) for one in outputs] for number in range(start, stop)]
            return held, [(losses, start, stop)], steps if outputs else [[] for _ in range(start, stop)]

        return run

    def stage(self, array: np.ndarray, device: str | None) -> Any:
        """Put a host array that nobody writes to any more on the device; on the CPU without a copy."""
        return jax.device_put(array, self._device(device))

    def joined(self, parts: Sequence[tuple[Any, int, int]]) -> Any:
        """Join rows of several arrays; one executable for each combination of lengths."""
        rows = [
            array if to - first == len(array) else _cut(array, first, to - first)
            for array, first, to in parts
        ]
        return rows[0] if len(rows) == 1 else _concatenated(rows)

    # --- process-wide state ----------------------------------------------------------------------------

    @contextmanager
    def generators_kept(self) -> Iterator[None]:
        """JAX has no generators of its own."""
        yield

    def seed_generators(self, seed: int) -> None:
        """JAX has no generators of its own."""

    @contextmanager
    def determinism(self, *, asked: bool) -> Iterator[None]:  # noqa: ARG002 -- it always is, on the CPU
        """Programs of JAX give equal bits in every run on one machine."""
        yield


class _Differentiated:
    """A traced function and, where something learns, its gradient."""

    def __init__(
        self, function: Callable[..., Any], parameters: list[Any], rest: Any, *, learns: bool
    ) -> None:
        def both(parameters: list[Any], rest: Any) -> Any:
            if not learns:
                return [], function(parameters, rest)[1]
            (_, more), gradients = jax.value_and_grad(function, has_aux=True)(parameters, rest)
            return gradients, more

        closed, shapes = jax.make_jaxpr(both, return_shape=True)(parameters, rest)
        self._evaluate = jaxpr_as_fun(closed)
        self._structure = jax.tree_util.tree_structure(shapes)
        self._number = len(parameters)
        self.reached = [learns and not is_always_zero(closed.jaxpr, place) for place in range(self._number)]
        self.has_convolution = has_convolution(closed.jaxpr)

    def run(self, parameters: Sequence[Any], rest: Any) -> tuple[list[Any], Any]:
        """Evaluate what was traced."""
        flat = jax.tree_util.tree_leaves((list(parameters), rest))
        gradients, more = jax.tree_util.tree_unflatten(self._structure, self._evaluate(*flat))
        return self._masked(gradients), more

    def once(self, parameters: Sequence[Any], rest: Any) -> tuple[list[Any], Any]:
        """Compile and run what was traced."""
        flat = jax.tree_util.tree_leaves((list(parameters), rest))
        found = jax.jit(self._evaluate)(*flat)
        gradients, more = jax.tree_util.tree_unflatten(self._structure, found)
        return self._masked(gradients), more

    def _masked(self, gradients: list[Any]) -> list[Any]:
        if not gradients:
            return [None] * self._number
        return [one if reached else None for one, reached in zip(gradients, self.reached, strict=True)]


class _EagerlyDifferentiated:
    """A function that is run and differentiated anew at every step, for Python that looks at its values."""

    has_convolution = False

    def __init__(self, function: Callable[..., Any], traced: _Differentiated, *, learns: bool) -> None:
        self._function = function
        self._traced = traced
        self._learns = learns
        self.reached = traced.reached

    def run(self, parameters: Sequence[Any], rest: Any) -> tuple[list[Any], Any]:
        """Run the function, and its gradient if something learns."""
        if not self._learns:
            return self._traced._masked([]), self._function(list(parameters), rest)[1]
        differentiate = jax.value_and_grad(self._function, has_aux=True)
        (_, more), gradients = differentiate(list(parameters), rest)
        return self._traced._masked(gradients), more


def _loop(step: Callable[..., Any], start: Any, stop: Any, held: Any, fixed: Any) -> Any:
    steps = fixed.states.shape[0]
    _, losses, outputs = jax.eval_shape(step, start, held, fixed)
    records = [jnp.zeros((steps, *one.shape), one.dtype) for one in (losses, *outputs)]

    def body(number: Any, carry: Any) -> Any:
        held, records = carry
        held, losses, outputs = step(number, held, fixed)
        written = [
            lax.dynamic_update_index_in_dim(record, one, number, 0)
            for record, one in zip(records, (losses, *outputs), strict=True)
        ]
        return held, written

    held, (losses, *outputs) = lax.fori_loop(start, stop, body, (held, records))
    return held, losses, outputs


def _stepwise(step: Callable[..., Any], start: int, stop: int, held: Any, fixed: Any) -> Any:
    losses, outputs = [], []
    for number in range(start, stop):
        held, found, made = step(np.int32(number), held, fixed)
        losses.append((found[None], 0, 1))
        outputs.append(made)
    return held, losses, outputs


@jax.jit
def _picked(array: Any, number: Any) -> Any:
    return lax.dynamic_index_in_dim(array, number, keepdims=False)


@partial(jax.jit, static_argnames="length")
def _cut(array: Any, first: Any, length: int) -> Any:
    return lax.dynamic_slice_in_dim(array, first, length)


@jax.jit
def _concatenated(parts: Sequence[Any]) -> Any:
    return jnp.concatenate(parts)


@lru_cache(maxsize=1)
def _devices() -> tuple[Any, ...]:
    found = list(jax.devices())
    if all(one.platform != "cpu" for one in found):
        found.extend(jax.devices("cpu"))
    return tuple(found)


def _kind(device: Any) -> str:
    return "cuda" if device.platform == "gpu" else str(device.platform)


def make_engine() -> JaxEngine:
    """Return the engine."""
    return JaxEngine()
