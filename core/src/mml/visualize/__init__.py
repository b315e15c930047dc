"""Pictures of graphs, drawn from what their public API tells: Mermaid text, and SVG that loads nothing."""

from mml.visualize.drawing import Arrow, Box, Drawing, drawing_of
from mml.visualize.picture import GraphPicture

__all__ = ["Arrow", "Box", "Drawing", "GraphPicture", "drawing_of"]
