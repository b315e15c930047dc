"""Functions and classes at the top level of a module, which a configuration can name."""

from __future__ import annotations

from mml_conformance.reference import Mlp


def twice(array):
    return array * 2


def absolute(outputs, targets, scale=1.0):
    return scale * abs(outputs - targets).mean(axis=1)


def network(input_shape, output_shape=(1,), seed=0):
    return Mlp(input_shape=input_shape, output_shape=output_shape, hidden=[2], seed=seed)
