"""What `mml doctor` shows of PyTorch: threads, the build, accelerators, and why one cannot be used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from mml.plugins import Finding

_DRIVER = Path("/dev/nvidia0")


def findings() -> Iterator[Finding]:
    """Yield threads, what PyTorch was built for, and one row for each accelerator."""
    within, between = torch.get_num_threads(), torch.get_num_interop_threads()
    yield Finding("threads", f"{within} in an operation, {between} between them")
    yield Finding("built for", _build())
    yield from _accelerators()


def _build() -> str:
    if torch.version.cuda:
        return f"CUDA {torch.version.cuda}"
    hip = getattr(torch.version, "hip", None)
    return f"ROCm {hip}" if hip else "the CPU only"


def _accelerators() -> Iterator[Finding]:
    # PyTorch tells of a driver that does not fit by a warning, and then acts as if there were no device.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        yield from _unavailable([str(one.message) for one in caught])
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        capability = f"compute capability {properties.major}.{properties.minor}"
        yield Finding(
            f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {capability}"
        )


def _unavailable(said: list[str]) -> Iterator[Finding]:
    if said:
        problem = " ".join(said[0].split())
        yield Finding("cuda", "", problem, "Bring the driver and this build of PyTorch together.")
    elif _DRIVER.exists() and not torch.version.cuda:
        yield Finding("cuda", "a GPU is there, and this build of PyTorch does not use it")
    elif _DRIVER.exists():
        yield Finding(
            "cuda",
            "",
            "There is a GPU, and PyTorch finds none.",
            "Look at `nvidia-smi` and at CUDA_VISIBLE_DEVICES.",
        )
