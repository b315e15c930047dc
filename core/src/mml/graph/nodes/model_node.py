"""`ModelNode`: one model of any backend as a node of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mml.backends import BaseModel, InputShape, get_backend
from mml.errors import MMLError, ModelError, ShapeError, listed
from mml.graph.model import Model, wrap_model
from mml.graph.nodes.graph_node import ComputeNode, Shape
from mml.graph.optimizers.optimizer import Optimizer, as_optimizer
from mml.graph.references import reference_from_config
from mml.protocols import Config, State


class ModelNode(ComputeNode):
    """A node that holds one model.

    Parameters
    ----------
    label : str
        Unique in its context.
    model : str, Model, BaseModel, class, factory or instance
        A declaration is initialised from the experiment's seed; an instance keeps the values it has.
    upstream : node, reference or FeatureSet
        What goes in.
    optimizer : Optimizer or str, optional
        Steps this node's parameters, also in a graph that has an optimizer of its own.
    device : str, optional
        Where the model runs; wins over the phase's device.

    Examples
    --------
    >>> node = ModelNode("head", Model("mlp", hidden=[8], output_shape=1), encoder)  # doctest: +SKIP
    """

    max_upstream: ClassVar[int | None] = 1
    changing: ClassVar[tuple[str, ...]] = (*ComputeNode.changing, "_model")

    def __init__(
        self,
        label: str,
        model: Any,
        upstream: Any,
        *,
        optimizer: Optimizer | str | None = None,
        device: str | None = None,
        uuid: str | None = None,
    ) -> None:
        super().__init__(label, [upstream], uuid=uuid)
        try:
            self._declared = wrap_model(model, label=label)
        except MMLError as error:
            raise error.located({"node": label}) from error.__cause__
        self._model: BaseModel | None = self._declared if isinstance(self._declared, BaseModel) else None
        try:
            self.optimizer = as_optimizer(optimizer)
        except MMLError as error:
            raise error.located({"node": label}) from error.__cause__
        self.device = device
        self.frozen_by: str | None = None
        self._register()

    @property
    def backend(self) -> str:
        """Name of the backend that runs the model."""
        try:
            return self._declared.backend
        except MMLError as error:
            raise error.located({"node": self.label}) from error.__cause__

    @property
    def model(self) -> BaseModel | None:
        """The wrapped model; None before it is first needed."""
        return self._model

    @property
    def is_built(self) -> bool:
        """Whether the model is ready for its input's shape."""
        return self._model is not None and self._model.is_built

    @property
    def input_shape(self) -> InputShape | None:
        """Shape of one input sample, or of each part of it where columns come by key."""
        return None if self._model is None else self._model.input_shape

    @property
    def output_shape(self) -> Shape | None:
        """Shape of one output sample, None where only fitting can tell."""
        return None if self._model is None else self._model.output_shape

    @property
    def is_frozen(self) -> bool:  # type: ignore[override]  # derived from who froze it
        """Whether the node keeps its values as they are."""
        return self.frozen_by is not None

    def freeze(self) -> None:
        """Keep the node's values, bit for bit, in every phase until `unfreeze`."""
        self._set_frozen("user")

    def unfreeze(self) -> None:
        """Let phases change the node again."""
        self._set_frozen(None)

    def freeze_after_fit(self) -> None:
        """Freeze as a FitPhase does: a later FitPhase may fit the node again."""
        self._set_frozen("fit")

    def restore_frozen(self, by: str | None) -> None:
        """Put back who froze the node, ``"user"``, ``"fit"`` or None, as `frozen_by` told it before."""
        self._set_frozen(by)

    def _set_frozen(self, by: str | None) -> None:
        self.frozen_by = by
        if self._model is not None:
            self._model.freeze() if by else self._model.unfreeze()

    def build(self, input_shapes: Sequence[InputShape], *, seed: int = 0) -> None:
        """Wrap the declared model if needed and build it for its input.

        Raises
        ------
        ShapeError, ModelError
            If the model does not take such an input; the message names the node.
        """
        try:
            shape = self._taken(input_shapes[0])
            model = self.wrap()
            if not model.is_built:
                declared = self._declared.output_shape if isinstance(self._declared, Model) else None
                model.build(shape, declared, seed=seed)
            elif model.input_shape != shape:
                raise ShapeError(
                    "The model was built for another input.",
                    expected=f"{model.input_shape} a sample",
                    found=f"{shape} a sample, from {self.upstream[0].label!r}",
                )
        except MMLError as error:
            raise error.located({"node": self.label, "upstream": self.upstream[0].label}) from error.__cause__

    def _taken(self, shape: InputShape) -> InputShape:
        """Return the shape that the model is built for; refuse columns by key where none are taken."""
        if not isinstance(shape, Mapping):
            return tuple(shape)
        if not get_backend(self.backend).capabilities.mappings:
            raise ModelError(
                f"Models of the backend {self.backend!r} take one array, and no columns by key.",
                found=f"combine='dict' with {listed(shape)}",
                hint="Use combine='concat' in the reference, or a node for each column and a merge.",
            )
        return dict(shape)

    @property
    def model_name(self) -> str:
        """What the model is called: a registered name, or that of its class or function."""
        if not isinstance(self._declared, Model):
            return type(self._declared).__name__
        model = self._declared.model
        return model if isinstance(model, str) else getattr(model, "__name__", type(model).__name__)

    @property
    def is_declared(self) -> bool:
        """Whether the graph makes the model, so that it can be made again; else it came ready-made."""
        return isinstance(self._declared, Model)

    def make_again(self) -> bool:
        """Let a declared model be made anew at the next `build`; return whether that is so."""
        if self.is_declared:
            self._model = None
        return self.is_declared

    def unbuild(self, *, seed: int) -> None:
        """Return to before `build`, so that the model may be built for another width."""
        if not self.make_again():
            self.reset(seed=seed)

    def reset(self, *, seed: int) -> None:
        """Return the model to its initial values."""
        if self._model is not None:
            self._model.reset(seed=seed)

    def forward(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """Run the model in inference mode on ``(rows, *input_shape)``, or on such arrays by key."""
        if self._model is None or not self._model.is_built:
            raise ModelError(
                "The node is not built yet.", where={"node": self.label}, hint="Call graph.build() first."
            )
        if isinstance(inputs, Mapping):
            return self._model.forward({key: np.asarray(one) for key, one in inputs.items()})
        return self._model.forward(np.asarray(inputs))

    def wrap(self) -> BaseModel:
        """Make the declared model, unbuilt, if that has not happened yet, and return it."""
        if self._model is None:
            assert isinstance(self._declared, Model)  # a wrapped model was taken over in __init__
            get_backend(self._declared.backend).device_name(self.device)
            self._model = self._declared.wrap(label=self.label)
            if self.frozen_by:
                self._model.freeze()
        return self._model

    def get_config(self) -> Config:
        """Return label, model, upstream, optimizer and device."""
        try:
            model = self._declared.get_config()
        except MMLError as error:
            raise error.located({"node": self.label}) from error.__cause__
        return {
            "node": "model",
            "label": self.label,
            "uuid": self.uuid,
            "model": model,
            "upstream": self.upstream[0].get_config(),
            "optimizer": None if self.optimizer is None else self.optimizer.get_config(),
            "device": self.device,
            "frozen": self.frozen_by,
        }

    @classmethod
    def from_config(cls, config: Config) -> ModelNode:
        """Build an equal node with untrained values."""
        optimizer = config.get("optimizer")
        node = cls(
            config["label"],
            Model.from_config(config["model"]),
            reference_from_config(config["upstream"]),
            optimizer=None if optimizer is None else Optimizer.from_config(optimizer),
            device=config.get("device"),
            uuid=config.get("uuid"),
        )
        node._set_frozen(config.get("frozen"))
        return node

    def get_state(self) -> State:
        """Return the model's values, None before it is built, and who froze it."""
        built = self._model is not None and self._model.is_built
        return {"model": self._model.get_state() if self._model and built else None, "frozen": self.frozen_by}

    def set_state(self, state: State) -> None:
        """Put the model's values back; the node must be built."""
        if self._model is not None and state["model"] is not None:
            try:
                self._model.set_state(state["model"])
            except MMLError as error:
                raise error.located({"node": self.label}) from error.__cause__
        self._set_frozen(state["frozen"])

    def __repr__(self) -> str:
        frozen = ", frozen" if self.is_frozen else ""
        return f"ModelNode({self.label!r}, {self.input_shape} -> {self.output_shape}{frozen})"
