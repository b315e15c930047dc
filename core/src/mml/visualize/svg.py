"""A drawing as SVG: one self-contained text without scripts, fonts or addresses.

Kinds differ in shape, states in the border and in words, so that nothing is told by colour alone.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterator
from html import escape

from mml.visualize.drawing import Arrow, Box, Drawing
from mml.visualize.layout import Point, Size, arranged

_MARGIN, _LINE, _PAD = 20.0, 17.0, 12.0
_TITLE_PX, _TEXT_PX, _SMALL_PX = 13.0, 11.5, 11.0
# The mean width of a character of a sans-serif font, generously, as a share of its size.
_CHARACTER = 0.57
_MOST_CHARACTERS = 34
_FILL = {
    "data": "#e3edf9",
    "model": "#ffffff",
    "merge": "#efe6f7",
    "sampler": "#e6f3e9",
    "loss": "#fbe9e7",
}
_INK, _SOFT, _STOP, _PAPER = "#1f2933", "#52606d", "#b42318", "#fbfcfd"
_NAMES = {
    "data": "FeatureSet",
    "model": "model",
    "merge": "merge",
    "sampler": "rows and sampler",
    "loss": "loss",
}


def svg_text(drawing: Drawing) -> str:
    """Return the picture as the text of an SVG file."""
    return _Canvas(drawing).text()


class _Canvas:
    """One picture being drawn."""

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing
        # Several pictures may stand on one page.
        self.name = "g" + hashlib.sha256(repr(drawing).encode()).hexdigest()[:8]
        self.sizes = {box.key: _size(box) for box in drawing.boxes}
        self.layout = arranged(
            self.sizes,
            [(arrow.source, arrow.target) for arrow in drawing.arrows],
            label_widths=[_width(_shortened(arrow.label), _SMALL_PX) for arrow in drawing.arrows],
        )

    def text(self) -> str:
        legend = list(self._legend())
        notes = [line for note in self.drawing.notes for line in textwrap.wrap(note, 110)]
        width = max(
            self.layout.size[0],
            sum(one[0] for one in legend),
            *(_width(one, _SMALL_PX) for one in notes),
            _width(self.drawing.title, _TITLE_PX + 2),
        )
        top, height = 34.0, self.layout.size[1]
        lines = [
            *self._arrows(top),
            *(self._box(box, top) for box in self.drawing.boxes),
            *self._legend_row(legend, top + height + 34),
            *_notes(notes, top + height + 64),
        ]
        full = (width + 2 * _MARGIN, top + height + 60 + _LINE * len(notes) + _MARGIN)
        return "\n".join([*self._head(full), *lines, "</g>", "</svg>"]) + "\n"

    def _head(self, size: Size) -> Iterator[str]:
        title = escape(self.drawing.title)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" '
            f'width="{size[0]:.0f}" height="{size[1]:.0f}" viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" '
            'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
        )
        yield f"<title>{title}</title>"
        yield (
            f'<defs><marker id="{self.name}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="{_SOFT}"/></marker></defs>'
        )
        yield f'<rect width="{size[0]:.0f}" height="{size[1]:.0f}" rx="6" fill="{_PAPER}"/>'
        yield f'<g transform="translate({_MARGIN:.0f},{_MARGIN:.0f})">'
        yield (
            f'<text x="0" y="{_TITLE_PX - 2}" font-size="{_TITLE_PX + 2}" font-weight="600" '
            f'fill="{_INK}">{title}</text>'
        )

    # --- boxes -----------------------------------------------------------------------------------------

    def _box(self, box: Box, top: float) -> str:
        left, upper = self.layout.places[box.key]
        width, height = self.sizes[box.key]
        upper += top
        shown = [box.title, *box.lines]
        full = escape("\n".join(shown))
        base = upper + (height - _LINE * len(shown)) / 2 + _LINE - 4
        if box.kind == "data":
            base += 4
        words = []
        for number, line in enumerate(shown):
            style = (
                f'font-size="{_TITLE_PX}" font-weight="600" fill="{_INK}"'
                if number == 0
                else f'font-size="{_TEXT_PX}" fill="{_SOFT}"'
            )
            words.append(
                f'<text x="{left + width / 2:.1f}" y="{base + number * _LINE:.1f}" text-anchor="middle" '
                f"{style}>{escape(_shortened(line))}</text>"
            )
        opacity = ' opacity="0.5"' if box.idle else ""
        shape = _shape(box.kind, left, upper, width=width, height=height, style=_style(box))
        return f"<g{opacity}><title>{full}</title>{shape}{''.join(words)}</g>"

    # --- arrows ----------------------------------------------------------------------------------------

    def _arrows(self, top: float) -> Iterator[str]:
        for arrow, way in zip(self.drawing.arrows, self.layout.ways, strict=True):
            moved = [(x, y + top) for x, y in way]
            yield self._line(moved, arrow)
            # The last curve lies in the gap before the target.
            (x0, y0), (x1, y1) = moved[-2], moved[-1]
            middle = ((x0 + x1) / 2, (y0 + y1) / 2)
            if arrow.crossing != "plain":
                yield _bars(middle)
            if arrow.label:
                base = self._label_base(arrow, (y0, y1), top)
                yield (
                    f'<text x="{x1 - 10:.1f}" y="{base:.1f}" text-anchor="end" '
                    f'font-size="{_SMALL_PX}" fill="{_SOFT}" stroke="{_PAPER}" stroke-width="4" '
                    f'paint-order="stroke">{escape(_shortened(arrow.label))}</text>'
                )

    def _label_base(self, arrow: Arrow, heights: tuple[float, float], top: float) -> float:
        """Return the height of a label: at the flat end, on the side where no arrow runs."""
        start, end = heights
        others = [
            way[-1][1] + top - end
            for other, way in zip(self.drawing.arrows, self.layout.ways, strict=True)
            if other.target == arrow.target
        ]
        comes_down = start < end - 2
        if comes_down and not any(0 < distance < 24 for distance in others):
            return end + 15
        if not comes_down and not any(-24 < distance < 0 for distance in others):
            return end - 6
        return min(start, end) - 6 if comes_down else max(start, end) + 15

    def _line(self, way: list[Point], arrow: Arrow) -> str:
        dash = ' stroke-dasharray="6 4"' if arrow.crossing != "plain" else ""
        return (
            f'<path d="{_curve(way)}" fill="none" stroke="{_SOFT}" stroke-width="1.4"{dash} '
            f'marker-end="url(#{self.name})"/>'
        )

    # --- legend ----------------------------------------------------------------------------------------

    def _legend(self) -> Iterator[tuple[float, str, str]]:
        """Yield width, sign and words of what the picture uses."""
        for kind in self.drawing.kinds:
            yield _entry(kind, _NAMES[kind])
        if any(box.learning for box in self.drawing.boxes):
            yield _entry("learning", "learns")
        if any(box.frozen for box in self.drawing.boxes):
            yield _entry("frozen", "frozen")
        crossings = {arrow.crossing for arrow in self.drawing.arrows}
        if crossings - {"plain"}:
            yield _entry("stop", "gradients stop")

    def _legend_row(self, entries: list[tuple[float, str, str]], y: float) -> Iterator[str]:
        x = 0.0
        for width, sign, words in entries:
            yield _sign(sign, x, y)
            yield (
                f'<text x="{x + 34:.1f}" y="{y + 4:.1f}" font-size="{_SMALL_PX}" fill="{_SOFT}">'
                f"{escape(words)}</text>"
            )
            x += width


def _entry(sign: str, words: str) -> tuple[float, str, str]:
    return 34 + _width(words, _SMALL_PX) + 18, sign, words


def _sign(sign: str, x: float, y: float) -> str:
    if sign == "stop":
        line = f'<path d="M{x},{y} h26" stroke="{_SOFT}" stroke-width="1.4" stroke-dasharray="6 4"/>'
        return line + _bars((x + 13, y))
    box = {
        "learning": Box("", "model", "", learning=True),
        "frozen": Box("", "model", "", frozen=True),
    }.get(sign)
    kind = sign if box is None else "model"
    made = Box("", kind, "") if box is None else box  # type: ignore[arg-type]  # the signs are kinds, else
    return _shape(made.kind, x, y - 7, width=26, height=14, style=_style(made))


def _notes(lines: list[str], y: float) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield (
            f'<text x="0" y="{y + number * _LINE:.1f}" font-size="{_SMALL_PX}" fill="{_STOP}">'
            f"{escape(line)}</text>"
        )


def _size(box: Box) -> Size:
    shown = [_shortened(one) for one in (box.title, *box.lines)]
    widths = [_width(shown[0], _TITLE_PX) * 1.06, *(_width(one, _TEXT_PX) for one in shown[1:])]
    slant = {"merge": 26.0, "loss": 26.0, "sampler": 20.0}.get(box.kind, 0.0)
    lid = 8.0 if box.kind == "data" else 0.0
    return max(*widths, 60.0) + 2 * _PAD + slant, _LINE * len(shown) + 2 * _PAD - 4 + lid


def _width(text: str, pixels: float) -> float:
    return len(text) * pixels * _CHARACTER


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _style(box: Box) -> str:
    width = 2.6 if box.learning else 1.3
    dash = ' stroke-dasharray="5 4"' if box.frozen else ""
    fill = "#eef1f4" if box.frozen else _FILL[box.kind]
    return f'fill="{fill}" stroke="{_INK}" stroke-width="{width}"{dash}'


def _shape(kind: str, left: float, upper: float, *, width: float, height: float, style: str) -> str:
    right, lower, middle = left + width, upper + height, upper + height / 2
    cut = min(13.0, height / 2)
    if kind == "merge":
        points = [
            (left + cut, upper),
            (right - cut, upper),
            (right, middle),
            (right - cut, lower),
            (left + cut, lower),
            (left, middle),
        ]
        return _polygon(points, style)
    if kind == "loss":
        points = [(left + cut, upper), (right, upper), (right - cut, lower), (left, lower)]
        return _polygon(points, style)
    if kind == "data":
        lid = min(6.0, height / 4)
        arc = f"A{width / 2:.1f},{lid:.1f} 0 0"
        return (
            f'<path d="M{left:.1f},{upper + lid:.1f} {arc} 1 {right:.1f},{upper + lid:.1f} '
            f"V{lower - lid:.1f} {arc} 1 {left:.1f},{lower - lid:.1f} Z "
            f'M{left:.1f},{upper + lid:.1f} {arc} 0 {right:.1f},{upper + lid:.1f}" {style}/>'
        )
    radius = height / 2 if kind == "sampler" else min(6.0, height / 3)
    return (
        f'<rect x="{left:.1f}" y="{upper:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{radius:.1f}" {style}/>'
    )


def _polygon(points: list[Point], style: str) -> str:
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" {style}/>'


def _curve(way: list[Point]) -> str:
    parts = [f"M{way[0][0]:.1f},{way[0][1]:.1f}"]
    for number in range(0, len(way) - 1, 2):
        (x0, y0), (x1, y1) = way[number], way[number + 1]
        middle = (x0 + x1) / 2
        parts.append(f"C{middle:.1f},{y0:.1f} {middle:.1f},{y1:.1f} {x1:.1f},{y1:.1f}")
        if number + 2 < len(way):
            parts.append(f"L{way[number + 2][0]:.1f},{way[number + 2][1]:.1f}")
    return " ".join(parts)


def _bars(middle: Point) -> str:
    """Two upright bars across an arrow: nothing comes back here."""
    x, y = middle
    return (
        f'<path d="M{x - 2.5:.1f},{y - 6:.1f} v12 M{x + 2.5:.1f},{y - 6:.1f} v12" stroke="{_STOP}" '
        'stroke-width="2"/>'
    )
