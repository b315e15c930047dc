"""Where boxes stand: in layers from left to right, so that few arrows cross and none runs through a box.

The usual steps for layered drawings: layers by the longest way from a source, places for arrows that pass a
layer, an order by the mean place of the neighbours, and heights as near to the neighbours as spacing allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
Size = tuple[float, float]

_ROW_GAP, _PASSING_HEIGHT = 22.0, 8.0
_SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """Places of boxes and ways of arrows.

    Parameters
    ----------
    places : dict of str to (float, float)
        Left upper corners.
    ways : list of list of (float, float)
        For each arrow, in order: from the right of its source to the left of its target, two points for each
        layer that it passes.
    size : (float, float)
        Width and height of everything.
    """

    places: dict[str, Point]
    ways: list[list[Point]]
    size: Size


def arranged(
    sizes: Mapping[str, Size], arrows: Sequence[tuple[str, str]], *, label_widths: Sequence[float]
) -> Layout:
    """Place boxes of these sizes.

    Parameters
    ----------
    sizes : mapping of str to (float, float)
        Width and height by key.
    arrows : sequence of (str, str)
        Keys of source and target; without a cycle.
    label_widths : sequence of float
        What stands on each arrow takes so much room between two layers.
    """
    return _Arrangement(sizes, arrows, label_widths).layout()


class _Arrangement:
    def __init__(
        self, sizes: Mapping[str, Size], arrows: Sequence[tuple[str, str]], label_widths: Sequence[float]
    ) -> None:
        self.sizes = dict(sizes)
        self.arrows = list(arrows)
        self.label_widths = list(label_widths)
        self.layer = self._layers()
        # The boxes and passing points that each arrow goes through.
        self.chains = [self._chain(number) for number in range(len(self.arrows))]
        self.rows = self._ordered()
        self.neighbours = self._neighbours()

    def layout(self) -> Layout:
        centres = self._heights()
        top = min(centres[key] - self.sizes[key][1] / 2 for key in self.sizes)
        lefts, widths = self._columns()
        places = {
            key: (
                lefts[self.layer[key]] + (widths[self.layer[key]] - self.sizes[key][0]) / 2,
                centres[key] - top - self.sizes[key][1] / 2,
            )
            for key in self.sizes
        }
        ends = self._ends(centres)
        ways = []
        for number, chain in enumerate(self.chains):
            start, end = (centre - top for centre in ends[number])
            source, target = chain[0], chain[-1]
            way: list[Point] = [(places[source][0] + self.sizes[source][0], start)]
            for key in chain[1:-1]:
                left, width = lefts[self.layer[key]], widths[self.layer[key]]
                way += [(left, centres[key] - top), (left + width, centres[key] - top)]
            ways.append([*way, (places[target][0], end)])
        boxes = {key: place for key, place in places.items() if key not in self._passing}
        bottom = max(centres[key] - top + self.sizes[key][1] / 2 for key in self.sizes)
        return Layout(boxes, ways, (lefts[-1] + widths[-1], bottom))

    # --- layers ----------------------------------------------------------------------------------------

    def _layers(self) -> dict[str, int]:
        layer = dict.fromkeys(self.sizes, 0)
        for _ in self.sizes:
            for source, target in self.arrows:
                layer[target] = max(layer[target], layer[source] + 1)
        sources = set(self.sizes) - {target for _, target in self.arrows}
        for key in sources:
            # Beside its first reader, so that arrows are short.
            read = [layer[target] for source, target in self.arrows if source == key]
            layer[key] = max(min(read, default=1) - 1, 0)
        return layer

    def _chain(self, number: int) -> list[str]:
        source, target = self.arrows[number]
        passed = [f"\0{number} {layer}" for layer in range(self.layer[source] + 1, self.layer[target])]
        for layer, key in enumerate(passed, start=self.layer[source] + 1):
            self.layer[key] = layer
            self.sizes[key] = (0.0, _PASSING_HEIGHT)
        return [source, *passed, target]

    @property
    def _passing(self) -> set[str]:
        return {key for chain in self.chains for key in chain[1:-1]}

    def _neighbours(self) -> dict[str, tuple[list[str], list[str]]]:
        found: dict[str, tuple[list[str], list[str]]] = {key: ([], []) for key in self.sizes}
        for chain in self.chains:
            for left, right in pairwise(chain):
                found[left][1].append(right)
                found[right][0].append(left)
        return found

    # --- order -----------------------------------------------------------------------------------------

    def _ordered(self) -> list[list[str]]:
        rows: list[list[str]] = [[] for _ in range(max(self.layer.values()) + 1)]
        for key in self.sizes:
            rows[self.layer[key]].append(key)
        neighbours, best = self._neighbours(), [list(row) for row in rows]
        fewest = self._crossings(best)
        for sweep in range(_SWEEPS):
            side = sweep % 2
            for number in range(len(rows)) if side == 0 else reversed(range(len(rows))):
                other = number - 1 if side == 0 else number + 1
                if 0 <= other < len(rows):
                    rows[number] = _by_mean_place(rows[number], rows[other], neighbours, side)
            crossings = self._crossings(rows)
            if crossings < fewest:
                best, fewest = [list(row) for row in rows], crossings
        return best

    def _crossings(self, rows: Sequence[Sequence[str]]) -> int:
        place = {key: number for row in rows for number, key in enumerate(row)}
        pairs: list[tuple[int, int, int]] = [
            (self.layer[left], place[left], place[right])
            for chain in self.chains
            for left, right in pairwise(chain)
        ]
        return sum(
            one[0] == other[0] and (one[1] - other[1]) * (one[2] - other[2]) < 0
            for number, one in enumerate(pairs)
            for other in pairs[:number]
        )

    # --- heights and columns ---------------------------------------------------------------------------

    def _heights(self) -> dict[str, float]:
        centres: dict[str, float] = {}
        for row in self.rows:
            centres |= self._spaced(row, [0.0] * len(row))
        for sweep in range(_SWEEPS):
            for row in self.rows if sweep % 2 == 0 else reversed(self.rows):
                wanted = []
                for key in row:
                    around = [*self.neighbours[key][0], *self.neighbours[key][1]]
                    wanted.append(
                        sum(centres[one] for one in around) / len(around) if around else centres[key]
                    )
                centres |= self._spaced(row, wanted)
        return centres

    def _spaced(self, row: Sequence[str], wanted: Sequence[float]) -> dict[str, float]:
        """Return heights in order and apart, as near as possible to the wanted ones: isotonic regression."""
        offsets = [0.0]
        for above, below in pairwise(row):
            offsets.append(offsets[-1] + (self.sizes[above][1] + self.sizes[below][1]) / 2 + _ROW_GAP)
        pools: list[tuple[float, int]] = []
        for target, offset in zip(wanted, offsets, strict=False):
            pools.append((target - offset, 1))
            while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
                (low, few), (high, many) = pools[-2], pools[-1]
                pools[-2:] = [((low * few + high * many) / (few + many), few + many)]
        flat = [value for value, count in pools for _ in range(count)]
        return {key: base + offset for key, base, offset in zip(row, flat, offsets, strict=False)}

    def _columns(self) -> tuple[list[float], list[float]]:
        widths = [max(self.sizes[key][0] for key in row) for row in self.rows]
        gaps = [56.0] * len(self.rows)
        for chain, width in zip(self.chains, self.label_widths, strict=True):
            layer = self.layer[chain[-2]]
            gaps[layer] = max(gaps[layer], width + 40.0)
        lefts = [0.0]
        for width, gap in zip(widths, gaps, strict=True):
            lefts.append(lefts[-1] + width + gap)
        return lefts[:-1], widths

    def _ends(self, centres: Mapping[str, float]) -> list[tuple[float, float]]:
        """Return where each arrow leaves and arrives, spread over the sides of the boxes."""
        leaving = self._spread(centres, [(chain[0], chain[1]) for chain in self.chains])
        arriving = self._spread(centres, [(chain[-1], chain[-2]) for chain in self.chains])
        return list(zip(leaving, arriving, strict=True))

    def _spread(self, centres: Mapping[str, float], ends: Sequence[tuple[str, str]]) -> list[float]:
        """Return the heights at which arrows touch their boxes, in the order of where they lead."""
        heights = [centres[key] for key, _ in ends]
        for key in self.sizes:
            meeting = sorted(
                (number for number, (end, _) in enumerate(ends) if end == key),
                key=lambda number: centres[ends[number][1]],
            )
            step = min(14.0, (self.sizes[key][1] - 16) / max(len(meeting), 1))
            for place, number in enumerate(meeting):
                heights[number] += (place - (len(meeting) - 1) / 2) * step
        return heights


def _by_mean_place(
    row: Sequence[str],
    other: Sequence[str],
    neighbours: Mapping[str, tuple[list[str], list[str]]],
    side: int,
) -> list[str]:
    place = {key: number for number, key in enumerate(other)}

    def mean(key: str) -> float:
        around = [place[one] for one in neighbours[key][side] if one in place]
        return sum(around) / len(around) if around else float(row.index(key))

    return sorted(row, key=mean)
