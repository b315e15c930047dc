"""The backend that runs scikit-learn's estimators: arrays are NumPy's, learning is `fit` or `partial_fit`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from mml.backends import (
    BaseModel,
    Capabilities,
    HostBackend,
    ModelSource,
    Program,
    Segment,
)
from mml.errors import ModelError
from mml_sklearn.arguments import make
from mml_sklearn.models import ScikitWrapper
from mml_sklearn.program import SklearnProgram
from mml_sklearn.random_state import global_generator
from mml_sklearn.unmade import USUAL_ARGUMENT, Unmade, takes


class SklearnBackend(HostBackend):
    """Runs estimators; arrays are NumPy arrays."""

    name: ClassVar[str] = "sklearn"
    capabilities: ClassVar[Capabilities] = Capabilities(
        fit=True, partial_fit=True, deterministic=True, dlpack=True
    )

    def wrap(self, source: ModelSource) -> BaseModel:
        """Wrap an estimator, or make one from a class or factory.

        Two arguments are the node's and not the estimator's: ``output``, the method that gives the output,
        and the output shape (``source.output_argument``), unless the estimator takes it too. One that takes
        the input shape (``source.input_argument``) is made when that is known.
        """
        kwargs = dict(source.kwargs)
        output = kwargs.pop("output", None)
        declared = kwargs.get(source.output_argument)
        if source.is_instance or not takes(source.target, source.output_argument):
            kwargs.pop(source.output_argument, None)
        return ScikitWrapper(
            source.target if source.is_instance else _made(source, kwargs),
            output=output,
            declared=None if declared is None else _shape(declared),
            written=_written(source, kwargs),
            label=source.label,
        )

    def compile(self, segment: Segment) -> Program:
        """Turn a segment into a program that fits, trains batch by batch, or runs."""
        return SklearnProgram(self, segment)

    @contextmanager
    def scope(self, *, deterministic: bool = False) -> Iterator[None]:  # noqa: ARG002 -- estimators always are
        """Hold NumPy's global generator, the one thing that scikit-learn keeps for the whole process."""
        with global_generator():
            yield


def _made(source: ModelSource, kwargs: dict[str, Any]) -> Any:
    if not callable(source.target):
        raise ModelError(
            "There is nothing to make an estimator from.",
            where={"node": source.label},
            expected="a class or a factory",
            found=repr(source.target),
        )
    if source.input_argument not in kwargs and takes(source.target, source.input_argument):
        return Unmade(source.target, kwargs, source.input_argument, source.label)
    return make(source.target, kwargs, node=source.label)


def _written(source: ModelSource, kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Return how a factory is written down; None where the estimator itself tells its configuration."""
    if source.is_instance or isinstance(source.target, type) or source.name is None:
        return None
    return {"model": source.name, "kwargs": kwargs, **_named(source)}


def _named(source: ModelSource) -> dict[str, str]:
    """Return the argument that receives the input's shape, where it has another name than most."""
    argument = source.input_argument
    return {} if argument == USUAL_ARGUMENT else {"input_argument": argument}


def _shape(declared: Any) -> tuple[int, ...]:
    return (declared,) if isinstance(declared, int) else tuple(declared)
