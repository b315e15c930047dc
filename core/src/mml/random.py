"""Named random streams: every draw of an experiment comes from one seed and a path of names.

A stream depends on its names alone, never on what else draws, so adding a node or a phase does not change
what another one sees. Frameworks get plain integers from here; this module imports none of them.
"""

from __future__ import annotations

import hashlib

import numpy as np

_SEED_BITS = 63


def seed_sequence(seed: int, *path: str | int) -> np.random.SeedSequence:
    """Return the NumPy seed sequence of one named stream.

    Parameters
    ----------
    seed : int
        The experiment's seed, any non-negative integer.
    *path : str or int
        The names that lead to the stream, e.g. ``("phase", "train", "epoch", 3)``.

    Returns
    -------
    numpy.random.SeedSequence
        Equal for equal arguments, on every platform and under every hash seed.
    """
    name = "\x1f".join(map(_named, path))
    digest = hashlib.sha256(name.encode()).digest()
    words = np.frombuffer(digest, dtype="<u4")
    return np.random.SeedSequence(entropy=seed, spawn_key=tuple(int(word) for word in words))


def _named(part: str | int) -> str:
    # An integer of NumPy, or a string of its, is the one of Python that it equals.
    if isinstance(part, np.integer | np.str_):
        part = part.item()
    return f"{type(part).__name__}:{part}"


def derive_seed(seed: int, *path: str | int) -> int:
    """Return a 63-bit integer seed of the named stream, for generators that take a plain integer.

    Examples
    --------
    >>> derive_seed(0, "graph", "head") == derive_seed(0, "graph", "head")
    True
    >>> derive_seed(0, "graph", "head") == derive_seed(0, "graph", "tail")
    False
    """
    low, high = seed_sequence(seed, *path).generate_state(2, dtype=np.uint32)
    return ((int(high) << 32) | int(low)) & ((1 << _SEED_BITS) - 1)


def derive_seeds(seed: int, *path: str | int, start: int, count: int) -> np.ndarray:
    """Return the seeds of steps ``start`` to ``start + count - 1`` of a stream, int64 of shape ``(count,)``.

    The seed of a step is a pure function of (seed, path, step): SplitMix64 over the stream's own seed, so
    that a block of steps costs one vectorised expression and any step can be resumed from its number.

    References
    ----------
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    base = np.uint64(derive_seed(seed, *path))
    steps = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    mixed = base + steps * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(1)).astype(np.int64)


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """Return a fresh NumPy generator (PCG64) at the start of the named stream."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, *path)))
