"""A drawing as Mermaid text: a flowchart that Markdown pages, forges and editors show."""

from __future__ import annotations

from collections.abc import Iterator

from mml.visualize.drawing import Arrow, Box, Drawing

_SHAPES = {
    "data": ('[("', '")]'),
    "model": ('("', '")'),
    "merge": ('{{"', '"}}'),
    "sampler": ('(["', '"])'),
    "loss": ('[/"', '"/]'),
}
_ARROWS = {"plain": "-->", "stop": "-.->", "convert": "-.->"}
_STYLES = (
    "classDef data stroke-width:1px",
    "classDef frozen stroke-dasharray:6 4",
    "classDef learning stroke-width:3px",
    "classDef idle opacity:0.5",
)


def mermaid_text(drawing: Drawing) -> str:
    """Return a left-to-right flowchart; title and what cannot be done stand in comments."""
    return "\n".join(_lines(drawing)) + "\n"


def _lines(drawing: Drawing) -> Iterator[str]:
    yield "flowchart LR"
    for note in (drawing.title, *drawing.notes):
        # Braces begin a directive in a comment.
        yield f"    %% {note.replace('{', '(').replace('}', ')')}"
    names = {box.key: f"n{number}" for number, box in enumerate(drawing.boxes)}
    for box in drawing.boxes:
        before, after = _SHAPES[box.kind]
        lines = [escaped(one) for one in (box.title, *box.lines)]
        yield f"    {names[box.key]}{before}{'<br/>'.join(lines)}{after}"
    for arrow in drawing.arrows:
        yield f"    {names[arrow.source]} {_ARROWS[arrow.crossing]}{_label(arrow)} {names[arrow.target]}"
    yield from _classes(drawing, names)


def _label(arrow: Arrow) -> str:
    stop = {"plain": "", "stop": "gradients stop", "convert": "gradients stop"}[arrow.crossing]
    text = "; ".join(one for one in (arrow.label, stop) if one)
    return f'|"{escaped(text)}"|' if text else ""


def _classes(drawing: Drawing, names: dict[str, str]) -> Iterator[str]:
    styles = {style.split()[1]: style for style in _STYLES}
    for name, style in styles.items():
        members = [names[box.key] for box in drawing.boxes if _is(box, name)]
        if members:
            yield f"    {style}"
            yield f"    class {','.join(members)} {name}"


def _is(box: Box, name: str) -> bool:
    return box.kind == name if name == "data" else bool(getattr(box, name))


def escaped(text: str) -> str:
    """Return text for a quoted label: what Mermaid or HTML would read otherwise becomes an entity."""
    entities = {"#": "#35;", '"': "#quot;", "&": "#amp;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\\": "#92;"}
    return "".join(entities.get(character, character) for character in text)
