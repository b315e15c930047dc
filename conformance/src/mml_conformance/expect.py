"""How a check says what it expected and what it saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mml.errors import MMLError

_MAX_SHOWN = 400


class RequirementError(AssertionError):
    """A requirement that does not hold.

    Parameters
    ----------
    expected, seen : str
    given : str
        The input.
    tolerance : str
        How near it had to be, and where that comes from.
    """

    def __init__(self, *, expected: str, seen: str, given: str = "", tolerance: str = "") -> None:
        self.expected = _bounded(expected)
        self.seen = _bounded(seen)
        self.given = _bounded(given)
        self.tolerance = tolerance
        super().__init__(f"expected {self.expected}, seen {self.seen}")


def expect(holds: bool, *, expected: str, seen: object, given: str = "") -> None:
    """Fail unless it holds."""
    if not holds:
        raise RequirementError(expected=expected, seen=str(seen), given=given)


def expect_close(seen: Any, expected: Any, *, within: float, because: str, given: str = "") -> None:
    """Fail unless ``|seen - expected| <= within · max(1, |expected|)`` everywhere.

    Parameters
    ----------
    seen, expected : array_like
    within : float
    because : str
        Where the tolerance comes from.
    """
    _expect_near(
        seen,
        expected,
        np.maximum(1.0, np.abs(np.asarray(expected, np.float64))) * within,
        because,
        given=given,
    )


def expect_relative(seen: Any, expected: Any, *, within: float, because: str, given: str = "") -> None:
    """Fail unless the largest difference is at most ``within`` times the largest expected size."""
    size = float(np.abs(np.asarray(expected, np.float64)).max(initial=0.0))
    _expect_near(seen, expected, np.asarray(size * within), because, given=given)


def _expect_near(seen: Any, expected: Any, allowed: np.ndarray, because: str, *, given: str) -> None:
    left, right = np.asarray(seen, np.float64), np.asarray(expected, np.float64)
    # The comparison is written so that a NaN on either side fails.
    if left.shape != right.shape or not (np.abs(left - right) <= allowed).all():
        raise RequirementError(
            expected=str(right.tolist()),
            seen=str(left.tolist()),
            given=given,
            tolerance=f"{float(np.max(allowed, initial=0.0)):.3g} ({because})",
        )


def expect_same_bits(
    seen: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], *, given: str = ""
) -> None:
    """Fail unless both have equal names, dtypes, shapes and bytes; name the first that differs."""
    if seen.keys() != expected.keys():
        raise RequirementError(expected=str(sorted(expected)), seen=str(sorted(seen)), given=given)
    for name, right in expected.items():
        left = np.asarray(seen[name])
        if (left.dtype, left.shape, left.tobytes()) != (right.dtype, right.shape, right.tobytes()):
            raise RequirementError(
                expected=f"{name}: {right.dtype} {right.tolist()}",
                seen=f"{name}: {left.dtype} {left.tolist()}",
                given=given,
                tolerance="equal to the bit",
            )


def expect_refusal(action: Callable[[], Any], *mentions: str | tuple[str, ...], given: str) -> None:
    """Fail unless the action raises an `MMLError` whose message mentions everything asked for.

    Parameters
    ----------
    action : callable
    *mentions : str or tuple of str
        Texts that must occur; of a tuple, one.
    given : str
    """
    wanted = [(one,) if isinstance(one, str) else one for one in mentions]
    told = ", ".join(" or ".join(one) for one in wanted)
    expected = f"an MMLError that mentions {told}" if wanted else "an MMLError"
    try:
        action()
    except MMLError as refusal:
        holds = all(any(text in str(refusal) for text in one) for one in wanted)
        expect(holds, expected=expected, seen=str(refusal), given=given)
        return
    except Exception as other:
        raise RequirementError(
            expected=expected, seen=f"{type(other).__name__}: {other}", given=given
        ) from other
    raise RequirementError(expected=expected, seen="no error", given=given)


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
