"""The contract that a backend fills, in one place.

A backend wraps models, moves arrays in and out, and turns a segment of a graph into a program. A simple one
gives `gradients` and gets masks, losses, named optimizers, clipping, accumulation and blocks from the default
program; a fast one brings its own `compile`. Core never asks which backend it has, only what it declares.
"""

# ruff: noqa: ARG002 -- what a simple backend leaves out is refused by a default that looks at no argument
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from mml.backends.base_model import BaseModel
from mml.backends.capabilities import Capabilities
from mml.backends.ops import ArrayOps
from mml.backends.program import Program
from mml.backends.segment import Segment
from mml.errors import BackendError
from mml.plugins import registry
from mml.protocols import Config


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What the user gave to be a model: an object, or a class or factory with its arguments.

    Parameters
    ----------
    target : object
        An instance to wrap, or a class or factory to call.
    is_instance : bool
        True where `target` is a ready object, whose values are kept.
    name : str or None
        How the target is written in a configuration: a registered name or an import path; None where it
        cannot be written down.
    kwargs : mapping
        Keyword arguments for the class or factory.
    input_argument, output_argument : str
        Names of the arguments that receive the inferred shapes, where the target takes such arguments.
    label : str
        Label of the node, for messages.
    """

    target: Any
    is_instance: bool
    name: str | None
    kwargs: Mapping[str, Any]
    input_argument: str = "input_shape"
    output_argument: str = "output_shape"
    label: str = ""

    @classmethod
    def from_config(cls, config: Config, *, label: str = "") -> Self:
        """Read back what a model's `get_config` wrote."""
        return cls(
            target=registry("models").load(config["model"], backend=config["backend"]),
            is_instance=False,
            name=config["model"],
            kwargs=dict(config.get("kwargs", {})),
            input_argument=config.get("input_argument", "input_shape"),
            output_argument=config.get("output_argument", "output_shape"),
            label=label,
        )


@dataclass(slots=True)
class StepGradients:
    """What one step computes before the optimizer.

    Parameters
    ----------
    losses : list
        One scalar for each loss of the segment, before its weight; None where it had no live row.
    gradients : dict of str to native array
        By ``<node>/<parameter>``, of the weighted total; a parameter that no loss reaches is absent.
    outputs : dict of str to native array
        By call key, for the segment's `outputs`.
    """

    losses: list[Any]
    gradients: dict[str, Any]
    outputs: dict[str, Any]


class ComputeBackend(ABC):
    """A framework that models run on.

    One instance serves a process; `mml.backends.get_backend` makes it. Class attributes declare the name,
    the capabilities and the array operations.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    ops: ArrayOps

    @abstractmethod
    def wrap(self, source: ModelSource) -> BaseModel:
        """Wrap what the user gave; building comes later, through `BaseModel.build`.

        Raises
        ------
        ModelError
            If it is nothing that this backend runs.
        """

    @abstractmethod
    def to_array(self, array: np.ndarray, *, device: str | None = None) -> Any:
        """Return a native array with equal dtype, shape and bits that owns its memory."""

    def share(self, array: np.ndarray) -> Any:
        """Return a native array over an array's own memory where the framework can, else an owned one.

        Who receives it must not write into it: the memory may belong to data that nothing may change.

        Parameters
        ----------
        array : ndarray
            Kept alive by what is returned; it may be read-only.
        """
        return self.to_array(array)

    @abstractmethod
    def to_numpy(self, array: Any) -> np.ndarray:
        """Return a NumPy array with equal dtype, shape and bits that owns its memory."""

    @abstractmethod
    def is_native(self, array: Any) -> bool:
        """Whether the array is one of this backend's."""

    def compile(self, segment: Segment) -> Program:
        """Turn a segment into a program; by default, one that steps through `gradients`."""
        from mml.backends.default_program import DefaultProgram

        return DefaultProgram(self, segment)

    def gradients(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int, scales: list[float]
    ) -> StepGradients:
        """Run one step of a segment up to the gradients.

        Parameters
        ----------
        segment : Segment
        values : mapping of str to native array
            The inputs' live rows, by name; an input without live rows is absent.
        rows : ndarray of int64, shape (n_rows,)
            Live rows of this step.
        seed : int
            Seed of the step's random numbers.
        scales : list of float
            Factor of each loss in the total, its weight included.
        """
        raise BackendError(
            f"The backend {self.name!r} computes no gradients.",
            hint="Fit its nodes in a FitPhase, or use a model of a backend that declares gradients.",
        )

    def forward(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int
    ) -> StepGradients:
        """Run one step of a segment in inference mode: losses and outputs, no gradients."""
        raise BackendError(f"The backend {self.name!r} brings its own programs and no single step.")

    def variable(self, model: BaseModel, name: str) -> Any:
        """Return the current native array of one of a model's parameters, for the default program."""
        raise BackendError(f"The backend {self.name!r} brings its own programs and no single variable.")

    def assign(self, model: BaseModel, name: str, value: Any) -> None:
        """Put a native array in place of one of a model's parameters, for the default program."""
        raise BackendError(f"The backend {self.name!r} brings its own programs and no single variable.")

    def wrap_loss(self, loss: Any) -> Callable[..., Any]:
        """Give a framework's own loss object, or a user's callable, the form of a `LossFunction`.

        By default, a callable over native arrays that returns one value or one value a row.
        """
        from mml.backends.losses import CallableLoss

        return CallableLoss(loss, self.ops)

    def wrap_optimizer(self, optimizer: Any, kwargs: Mapping[str, Any]) -> Any:
        """Give a framework's own optimizer class the form that this backend's programs use."""
        raise BackendError(
            f"The backend {self.name!r} takes no optimizer given as {optimizer!r}.",
            hint="Give one of the registered names, such as 'adam'.",
        )

    @contextmanager
    def scope(self, *, deterministic: bool = False) -> Iterator[None]:
        """Hold the framework's process-wide state (generators, modes) while a program or hook runs.

        Everything that the framework keeps for the whole process is as before when the scope ends.
        """
        yield

    def device_name(self, device: str | None) -> str | None:
        """Check a device's name and return it in full; refuse one that is not there."""
        if device is None or device in self.capabilities.devices:
            return device
        raise BackendError(
            f"The backend {self.name!r} has no device {device!r}.",
            expected=f"one of {self.capabilities.devices}",
            hint="Leave the device out to use the default.",
        )
