"""The backend contract, the NumPy backend, and conversion between backends."""

from mml.backends.access import convert, get_backend
from mml.backends.base_model import BaseModel, InputShape, VariableSpec
from mml.backends.capabilities import Capabilities
from mml.backends.contract import ComputeBackend, ModelSource, StepGradients
from mml.backends.host_backend import HostBackend
from mml.backends.losses import CallableLoss, CanonicalLoss, loss_on_rows, require_equal_shapes
from mml.backends.names import Backend
from mml.backends.ops import ArrayOps, NumpyOps
from mml.backends.owned_arrays import owned_array
from mml.backends.program import Block, BlockResult, Controls, Program
from mml.backends.segment import Call, Segment, SegmentInput, SegmentLoss, SegmentOptimizer

__all__ = [
    "ArrayOps",
    "Backend",
    "BaseModel",
    "Block",
    "BlockResult",
    "Call",
    "CallableLoss",
    "CanonicalLoss",
    "Capabilities",
    "ComputeBackend",
    "Controls",
    "HostBackend",
    "InputShape",
    "ModelSource",
    "NumpyOps",
    "Program",
    "Segment",
    "SegmentInput",
    "SegmentLoss",
    "SegmentOptimizer",
    "StepGradients",
    "VariableSpec",
    "convert",
    "get_backend",
    "loss_on_rows",
    "owned_array",
    "require_equal_shapes",
]
