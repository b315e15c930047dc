"""`GraphPicture`: what `graph.visualize()` returns, as Mermaid text and as a picture in notebooks."""

from __future__ import annotations

from html import escape
from os import PathLike
from pathlib import Path

from mml.errors import ConfigError
from mml.visualize.drawing import Drawing
from mml.visualize.mermaid import mermaid_text
from mml.visualize.svg import svg_text


class GraphPicture:
    """A picture of a graph. ``str()`` is Mermaid text; a notebook shows the SVG, which loads nothing.

    Parameters
    ----------
    drawing : Drawing
        What it shows, as plain data.
    """

    def __init__(self, drawing: Drawing) -> None:
        self.drawing = drawing

    @property
    def mermaid(self) -> str:
        """The picture as the text of a Mermaid flowchart."""
        return mermaid_text(self.drawing)

    @property
    def svg(self) -> str:
        """The picture as the text of an SVG file."""
        return svg_text(self.drawing)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the picture: ``.svg`` as SVG, ``.mmd`` as Mermaid.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        ConfigError
            If the name ends otherwise.
        """
        target = Path(path)
        made = {".svg": svg_text, ".mmd": mermaid_text}.get(target.suffix.lower())
        if made is None:
            raise ConfigError(
                "The name of the file tells what is written.",
                expected="a name that ends in .svg or .mmd",
                found=str(target),
            )
        target.write_text(made(self.drawing), encoding="utf-8")
        return target

    def __str__(self) -> str:
        return self.mermaid

    def __repr__(self) -> str:
        return f"GraphPicture({self.drawing.title!r}, {len(self.drawing.boxes)} boxes)"

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return (
            f'<div style="overflow-x: auto">{self.svg}</div><details><summary>Mermaid</summary>'
            f"<pre>{escape(self.mermaid)}</pre></details>"
        )
