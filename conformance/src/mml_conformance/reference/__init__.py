"""The reference backend: NumPy arrays and gradients derived by hand."""

from mml_conformance.reference.backend import ReferenceBackend
from mml_conformance.reference.models import Mlp, ReferenceModel

__all__ = ["Mlp", "ReferenceBackend", "ReferenceModel"]
