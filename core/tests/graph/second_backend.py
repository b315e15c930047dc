"""A second backend with gradients, foreign to the reference; its losses stay on a pretended device."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

import mml
from mml.backends import BlockResult
from mml.backends.default_program import DefaultProgram
from mml.plugins import registry
from mml.registry import Component
from mml_conformance.reference import ReferenceBackend
from mml_conformance.reference.models import Mlp, ReferenceModel


class OnDevice:
    """Losses that nobody has read yet."""

    def __init__(self, values):
        self.values = values


class DeviceProgram(DefaultProgram):
    """The default program, whose losses come back on the device."""

    def run(self, staged, start, stop, controls):
        result = super().run(staged, start, stop, controls)
        return BlockResult(losses=OnDevice(result.losses), outputs=result.outputs)


class SecondModel(ReferenceModel):
    backend = "second"


class SecondBackend(ReferenceBackend):
    """As the reference, under another name; it counts transfers and compilations."""

    name = "second"
    program_type = DeviceProgram
    model_type = SecondModel

    def __init__(self):
        super().__init__()
        self.transfers = 0
        self.compiled = 0

    def compile(self, segment):
        self.compiled += 1
        return super().compile(segment)

    def to_numpy(self, array):
        if isinstance(array, OnDevice):
            self.transfers += 1
            return np.array(array.values)
        return super().to_numpy(array)


class SecondMlp(Mlp):
    """The same network under the second backend's claim."""


@contextmanager
def second_backend():
    """Register the backend with its model and losses, and take them back at the end."""
    losses = [one for one in registry("losses") if one.plugin == "reference"]
    added = [
        ("backends", Component("backends", "second", "second", SecondBackend)),
        ("models", Component("models", "second", "mlp", SecondMlp, backend="second")),
        *(
            ("losses", Component("losses", "second", one.name, one.load(), backend="second"))
            for one in losses
        ),
    ]
    for kind, component in added:
        registry(kind).add(component)
    try:
        backend = mml.backends.get_backend("second")
        backend.transfers = backend.compiled = 0
        yield backend
    finally:
        for kind, component in added:
            registry(kind).remove(component.qualified)
