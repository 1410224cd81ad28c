"""A sheet of paper to draw on: text, boxes, lines and pictures in inches, by matplotlib and without a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

DPI = 120
#: A nodule's page in inches: width, margin, and the two columns' widths and the right one's left edge.
PAGE, MARGIN, LEFT_WIDTH, RIGHT, RIGHT_WIDTH = 16.0, 0.45, 9.9, 10.85, 4.7
INK, MUTED, LINE, PALE = "#17212b", "#5b6b7b", "#d3dbe3", "#f3f6f9"


@dataclass(frozen=True, eq=False)
class Sheet:
    """A figure that is drawn on in inches from its upper left corner: x to the right, y down."""

    figure: Figure
    paper: Any
    width: float
    height: float

    @classmethod
    def blank(cls, width: float, height: float) -> Sheet:
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        paper = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        paper.axis("off")
        return cls(figure, paper, width, height)

    def text(self, x: float, y: float, words: str, points: float = 9.5, color: str = INK, **more: Any) -> None:
        # What people call a file or a point is no formula, whatever dollars it has.
        more = {"ha": "left", "va": "baseline", **more}
        self.paper.text(x, y, words, fontsize=points, color=color, parse_math=False, **more)

    def title(self, x: float, y: float, words: str, explained: str) -> None:
        """A heading, and on the same line what explains it."""
        heading = self.paper.text(x, y, words, fontsize=10.5, color=INK, weight="bold", va="baseline")
        self.paper.annotate(
            explained,
            (1, y),
            xycoords=(heading, "data"),
            xytext=(7, 0),
            textcoords="offset points",
            fontsize=8.5,
            color=MUTED,
            va="baseline",
        )

    def box(self, x: float, y: float, width: float, height: float, color: str, **more: Any) -> None:
        self.paper.add_patch(Rectangle((x, y), width, height, **{"facecolor": color, "linewidth": 0, **more}))

    def card(self, x: float, y: float, width: float, height: float, color: str, edge: str) -> None:
        """A box with round corners."""
        style = "round,pad=0,rounding_size=0.07"
        self.paper.add_patch(
            FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=color, edgecolor=edge, linewidth=0.8)
        )

    def line(self, x: Sequence[float], y: Sequence[float], color: Any, width: float = 0.8, **more: Any) -> None:
        self.paper.plot(x, y, color=color, linewidth=width, **{"solid_capstyle": "butt", **more})

    def image(self, x: float, y: float, width: float, height: float) -> Any:
        """Axes without ticks for a picture of that place and size."""
        axes = self.figure.add_axes(
            (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        )
        axes.set(xticks=[], yticks=[], facecolor="black")
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes
