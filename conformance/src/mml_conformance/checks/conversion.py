"""CONV: arrays enter and leave with their dtype, shape and bits, and nobody shares memory by accident."""

from __future__ import annotations

from functools import partial

import numpy as np

from mml_conformance.expect import expect, expect_refusal, expect_same_bits
from mml_conformance.registry import check
from mml_conformance.subject import Subject

_DTYPES = ("bool", "int32", "int64", "float32", "float64")


def _there_and_back(subject: Subject, array: np.ndarray) -> np.ndarray:
    return subject.backend.to_numpy(subject.backend.to_array(array))


def _expect_kept(subject: Subject, array: np.ndarray, given: str) -> None:
    expect_same_bits({"array": _there_and_back(subject, array)}, {"array": array}, given=given)


@check("CONV-dtypes", "An array comes back with its dtype and values, for every shared dtype.")
def dtypes(subject: Subject) -> None:
    """Send small numbers of each dtype."""
    for dtype in _DTYPES:
        _expect_kept(subject, np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype), dtype)


@check("CONV-bits", "Bits survive: wide integers, signed zero, NaN, numbers that only float64 holds.")
def bits(subject: Subject) -> None:
    """Send numbers that a narrower dtype would lose."""
    _expect_kept(subject, np.array([2**60 + 1, -(2**60) - 1]), "int64 beyond 2**53")
    _expect_kept(subject, np.array([-0.0, 0.0, np.nan, np.inf, 1 + 2**-40]), "float64")
    _expect_kept(subject, np.array([-0.0, np.nan, 1e-40, 1 + 2**-23], dtype=np.float32), "float32")


@check("CONV-shapes", "0-d and empty arrays keep their shape.")
def shapes(subject: Subject) -> None:
    """Send arrays without axes and without elements."""
    for shape in ((), (0,), (0, 3), (3, 0)):
        _expect_kept(subject, np.zeros(shape, np.float32), f"shape {shape}")


@check("CONV-layouts", "Values do not depend on the layout in memory.")
def layouts(subject: Subject) -> None:
    """Send views with every kind of stride."""
    base = np.arange(30, dtype=np.float32).reshape(5, 6)
    views = {
        "fortran": np.asfortranarray(base),
        "stepped": base[::2, ::3],
        "negative": base[::-1, ::-2],
        "transposed": base.T,
        "broadcast": np.broadcast_to(base[:1], (4, 6)),
    }
    for name, view in views.items():
        _expect_kept(subject, view, name)


@check("CONV-owned", "What comes back is owned: changing either side leaves the other as it was.")
def owned(subject: Subject) -> None:
    """Write into the source and into what came back, and read through read-only sources."""
    source = np.arange(6, dtype=np.float32)
    native = subject.backend.to_array(source)
    source[...] = -1
    expect_same_bits({"array": subject.backend.to_numpy(native)}, {"array": np.arange(6, dtype=np.float32)})
    out = subject.backend.to_numpy(native)
    expect(out.flags.writeable, expected="an array that can be written", seen="a read-only one")
    out[...] = -2
    expect_same_bits({"array": subject.backend.to_numpy(native)}, {"array": np.arange(6, dtype=np.float32)})


@check("CONV-refused", "What no framework shares is refused, naming the dtype.")
def refused(subject: Subject) -> None:
    """Send objects, dates, long doubles, and foreign byte order."""
    # A dtype may be named in either of NumPy's ways.
    bad = (
        np.array([object()]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.zeros(2, dtype=np.dtype(np.float32).newbyteorder()),
    )
    for array in bad:
        names = (str(array.dtype), repr(array.dtype))
        expect_refusal(partial(subject.backend.to_array, array), names, given=str(array.dtype))


@check("CONV-device", "An unknown device is refused by name.")
def device(subject: Subject) -> None:
    """Ask for a device that is nowhere."""
    expect_refusal(
        lambda: subject.backend.to_array(np.zeros(1, np.float32), device="abacus"),
        "abacus",
        given="device 'abacus'",
    )
