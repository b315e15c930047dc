"""An estimator that takes the shape of its input: a class or factory that is called once that is known."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mml.protocols import Config
from mml_sklearn.arguments import make, name_of, written

Shape = tuple[int, ...]

USUAL_ARGUMENT = "input_shape"


@dataclass(frozen=True)
class Unmade:
    """What `build` makes an estimator of.

    Parameters
    ----------
    target : class or factory
    kwargs : mapping
        Its other arguments.
    argument : str
        The one that receives the shape of one sample; where it is annotated ``int``, the number of features.
    node : str or None
        Label of the node, for messages.
    """

    target: Callable[..., Any]
    kwargs: Mapping[str, Any]
    argument: str
    node: str | None

    def made_for(self, input_shape: Shape) -> Any:
        """Call the class or factory."""
        annotation = inspect.signature(self.target).parameters[self.argument].annotation
        value = math.prod(input_shape) if annotation in (int, "int") else input_shape
        return make(self.target, {**self.kwargs, self.argument: value}, node=self.node)

    def get_config(self) -> Config:
        """Return the name of the class, its other arguments, and the one that receives the shape."""
        config: Config = {"model": name_of(self.target), "kwargs": written(self.kwargs, of=self.target)}
        if self.argument != USUAL_ARGUMENT:
            config["input_argument"] = self.argument
        return config

    def may_have(self, method: str) -> bool:
        """Whether what is made may have a method; a factory does not tell."""
        return not isinstance(self.target, type) or hasattr(self.target, method)


def takes(target: Any, argument: str) -> bool:
    """Whether a class or factory has an argument of this name."""
    try:
        return argument in inspect.signature(target).parameters
    except (TypeError, ValueError):
        # Some callables written in C do not tell.
        return False
