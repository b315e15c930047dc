"""`SegmentedScaler`: cuts the last axis of a sample into segments and scales each by a scaler of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np

from mml.configuration import checked_config
from mml.data.components import build_scaler, scaler_config, scaler_factory
from mml.data.protocols import ScalerLike, is_per_sample, is_thread_safe
from mml.data.scaler_calls import learns
from mml.errors import ConfigError, ScalerError, StateError
from mml.processing.scalers.elementwise import sample_shape
from mml.protocols import Config, State


class SegmentedScaler:
    """Scales each segment of a sample's last axis by its own fitted copy of a scaler.

    Parameters
    ----------
    boundaries : sequence of int
        Where one segment ends and the next begins, strictly increasing. 0 and the length of the axis may be
        left out: ``[10]``, ``[0, 10]`` and ``[0, 10, 25]`` mean the same for samples of 25.
    scaler : str, class, instance, Scaler or dict
        What to fit to each segment: a registered name, a class, a scaler whose settings are copied, or the
        config of one. It must keep a segment's shape. Per-sample scalers work on each segment by itself.

    Examples
    --------
    >>> values = np.array([[0.0, 1.0, 10.0, 20.0], [2.0, 3.0, 30.0, 40.0]])
    >>> SegmentedScaler([2], "per_sample_minmax").fit(values).transform(values).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]
    """

    def __init__(self, boundaries: Sequence[int], scaler: Any) -> None:
        self.boundaries = _checked_boundaries(boundaries)
        self._make = scaler_factory(build_scaler(scaler) if isinstance(scaler, dict) else scaler)
        self.inner = self._make()
        self._width: int | None = None
        self._segments: tuple[ScalerLike, ...] = ()

    @property
    def per_sample(self) -> bool:
        """Whether inversion needs the samples' own state, as for the scaler of the segments."""
        return is_per_sample(self.inner)

    @property
    def thread_safe(self) -> bool:
        """Whether the scaler of the segments may be called on any thread."""
        return is_thread_safe(self.inner)

    @property
    def learns(self) -> bool:
        """Whether the scalers of the segments learn from the rows that they are fitted on."""
        return any(map(learns, self._segments or (self.inner,)))

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Learn from blocks of rows that can be iterated more than once."""
        width = _width_of(blocks)
        segments = []
        for start, stop in self._cuts(width):
            one = self._make()
            parts = _Segment(blocks, start, stop)
            if hasattr(one, "fit_blocks"):
                one.fit_blocks(parts)
            else:
                one.fit(np.concatenate(list(parts)))
            segments.append(one)
        self._segments, self._width = tuple(segments), width
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return the values with each segment mapped, of the same shape."""
        return self._joined([one.transform(part) for one, part in self._pairs(values)], np.shape(values))

    def sample_state(self, values: np.ndarray) -> State:
        """Return what the segments' inversion needs of samples, from the values that went in."""
        pairs: Any = self._pairs(values)
        return {"segments": [one.sample_state(part) for one, part in pairs]}

    def inverse_transform(self, values: np.ndarray, state: State | None = None) -> np.ndarray:
        """Return the values ``(n, *shape)`` in raw units; per-sample scalers need their `sample_state`."""
        pairs: Any = self._pairs(values)
        if not self.per_sample:
            return self._joined([one.inverse_transform(part) for one, part in pairs], np.shape(values))
        if state is None:
            raise ScalerError(f"{self!r} works per sample; inversion needs the samples' state.")
        states = zip(pairs, state["segments"], strict=True)
        parts = [one.inverse_transform(part, own) for (one, part), own in states]
        return self._joined(parts, np.shape(values))

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {
            "scaler": "mml/segmented",
            "boundaries": list(self.boundaries),
            "inner": scaler_config(self.inner),
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler, not fitted."""
        known = checked_config(
            config, "a SegmentedScaler", required=("boundaries", "inner"), optional=("scaler",)
        )
        return cls(known["boundaries"], build_scaler(known["inner"]))

    def get_state(self) -> State:
        """Return what each segment's scaler learnt; empty before fitting."""
        if self._width is None:
            return {}
        return {"width": self._width, "segments": [one.get_state() for one in self._segments]}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        if not state:
            self._segments, self._width = (), None
            return
        try:
            width, states = int(state["width"]), list(state["segments"])
            n_segments = len(self._cuts(width))
        except (KeyError, TypeError, ValueError, ScalerError) as cause:
            raise StateError(f"This is no state of {self!r}.", found=repr(cause)) from cause
        if len(states) != n_segments or set(state) != {"width", "segments"}:
            raise StateError(f"This is no state of {self!r}.", found=f"{len(states)} segments")
        segments = tuple(self._make() for _ in states)
        for one, own in zip(segments, states, strict=True):
            one.set_state(own)
        self._segments, self._width = segments, width

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SegmentedScaler) or self.boundaries != other.boundaries:
            return False
        return type(self.inner) is type(other.inner) and self.inner.get_config() == other.inner.get_config()

    def __hash__(self) -> int:
        return hash((SegmentedScaler, self.boundaries))

    def __repr__(self) -> str:
        return f"SegmentedScaler({list(self.boundaries)}, {self.inner!r})"

    def _cuts(self, width: int) -> list[tuple[int, int]]:
        if self.boundaries[-1] > width:
            raise ScalerError(
                f"A boundary lies outside of the samples: {self.boundaries[-1]}.",
                expected=f"at most {width}, the length of their last axis",
            )
        return list(pairwise(sorted({0, *self.boundaries, width})))

    def _pairs(self, values: np.ndarray) -> Iterator[tuple[ScalerLike, np.ndarray]]:
        if self._width is None:
            raise ScalerError(f"{self!r} is not fitted.", hint="Call fit, or FeatureSet.fit_transform.")
        if np.ndim(values) < 2 or np.shape(values)[-1] != self._width:
            raise ScalerError(
                "These values are not shaped as those that the scaler was fitted on.",
                expected=f"a last axis of {self._width}",
                found=f"{np.shape(values)}",
            )
        cuts = self._cuts(self._width)
        return ((one, values[..., a:b]) for one, (a, b) in zip(self._segments, cuts, strict=True))

    def _joined(self, parts: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        joined = np.concatenate([np.asarray(part) for part in parts], axis=-1)
        if joined.shape != shape:
            raise ScalerError(
                f"{self.inner!r} changes the shape of a segment.",
                expected=f"{shape} in all",
                found=f"{joined.shape}",
            )
        return joined


class _Segment:
    """The blocks of one segment; can be iterated as often as the blocks of the whole."""

    def __init__(self, blocks: Iterable[np.ndarray], start: int, stop: int) -> None:
        self._blocks, self._start, self._stop = blocks, start, stop

    def __iter__(self) -> Iterator[np.ndarray]:
        return (block[..., self._start : self._stop] for block in self._blocks)


def _width_of(blocks: Iterable[np.ndarray]) -> int:
    shape = sample_shape(blocks)
    if not shape:
        raise ScalerError("Samples of one value have no axis to cut.", found="scalars")
    return shape[-1]


def _checked_boundaries(boundaries: Any) -> tuple[int, ...]:
    try:
        places = tuple(boundaries)
    except TypeError as cause:
        raise ConfigError("Boundaries are a list of whole numbers.", found=repr(boundaries)) from cause
    whole = all(isinstance(one, int | np.integer) and not isinstance(one, bool) for one in places)
    if not places or not whole or places[0] < 0 or any(a >= b for a, b in pairwise(places)):
        raise ConfigError(
            "Boundaries are whole numbers from 0 on, each greater than the one before.",
            found=repr(boundaries)[:80],
        )
    return tuple(int(one) for one in places)
