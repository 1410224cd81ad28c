"""One nodule as one page: slices with and without heatmap, the mosaic with its slice weights, grades, warnings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.patheffects import withStroke

from .. import __version__
from ..explain import heatmap_faithfulness
from ..grades import DISCLAIMER, Grade
from ..imaging.outline import INSIDE
from ..imaging.resampling import sample
from ..imaging.slice_stack import PLANES
from ..imaging.volume import Array, Volume
from .assessment import Assessment
from .tables import SUSPICION_MEANS, along, known, pattern, percent, size

#: Lung window, HU.
WINDOW_HU = (-1350.0, 150.0)
#: Width of the orthogonal slices: as much, or the nodule's long axis times the factor.
VIEW_MM, AROUND = 60.0, 1.8
VIEW_PIXELS = 360
DPI = 120
#: The page in inches: width, margin, the columns' left edges and widths, the gaps between slices and tiles.
PAGE, MARGIN, GAP, TILE_GAP = 16.0, 0.45, 0.12, 0.08
LEFT_WIDTH = 9.9
RIGHT, RIGHT_WIDTH = 10.85, 4.7
ROW = 0.585
INK, MUTED, LINE, PALE = "#17212b", "#5b6b7b", "#d3dbe3", "#f3f6f9"
ACCENT, INTERVAL, OUTLINE, ALERT, ALERT_PALE = "#0b63a5", "#a9cdea", "#2fe0d0", "#b86e00", "#fff5e0"
HEAT = colormaps["inferno"]
#: White on black lung and on white chest wall alike.
ON_CT = {"color": "white", "path_effects": [withStroke(linewidth=2, foreground="#000000a0")]}


def write_page(path: Path | str, volume: Volume, assessment: Assessment, name: str = "malignancy") -> None:
    """Write a nodule's page as PNG.

    Parameters
    ----------
    path : path
    volume : Volume
        The CT that was assessed, HU.
    assessment : Assessment
    name : str
        The grade whose heatmap and slice weights are shown, if there are heatmaps.
    """
    FigureCanvasAgg(page(volume, assessment, name)).print_png(str(path))


def page(volume: Volume, assessment: Assessment, name: str = "malignancy") -> Figure:
    """The same page as a figure that belongs to no window; parameters as in ``picture``."""
    warnings = [line for one in assessment.warnings for line in _bullet(one)]
    top = 1.15
    grades_end = top + 1.75 + (0.3 + ROW * 9 if assessment.outline else 0)
    height = max(11.9 if assessment.outline else 5.6, grades_end + 0.75 + 0.185 * len(warnings) + 0.75)
    sheet = _Sheet.blank(PAGE, height)
    _header(sheet, volume, assessment)
    bottom = _views(sheet, top, volume, assessment, name)
    _mosaic(sheet, bottom + 0.2, height - 0.85, assessment, name)
    _summary(sheet, top, assessment)
    _grades(sheet, top + 1.75, assessment)
    _warnings(sheet, grades_end + 0.2, warnings)
    _footer(sheet, assessment)
    return sheet.figure


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A figure that is drawn on in inches from its upper left corner."""

    figure: Figure
    paper: Any
    width: float
    height: float

    @classmethod
    def blank(cls, width: float, height: float) -> _Sheet:
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

    def line(self, x: Sequence[float], y: Sequence[float], color: str, width: float = 0.8, **more: Any) -> None:
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


def _header(sheet: _Sheet, volume: Volume, assessment: Assessment) -> None:
    place = "   ".join(f"{axis} {x:.1f}" for axis, x in zip("RAS", assessment.point_ras, strict=True))
    sheet.text(MARGIN, 0.62, _short(assessment.label, 52), 21, weight="bold")
    sheet.text(MARGIN, 0.88, f"{_short(volume.name, 60) or 'CT'}   ·   {place} mm", 10, MUTED)
    sheet.text(PAGE - MARGIN, 0.60, "NoduleRisk", 13, ACCENT, ha="right", weight="bold")
    sheet.text(PAGE - MARGIN, 0.86, "LIDC grades of one lung nodule", 10, MUTED, ha="right")
    sheet.line((MARGIN, PAGE - MARGIN), (1.02, 1.02), LINE)


def _views(sheet: _Sheet, top: float, volume: Volume, assessment: Assessment, name: str) -> float:
    """Axial, coronal and sagittal slices, plain above, explained below; returns where they end."""
    outline = assessment.outline
    centre = np.array(assessment.point_ras) if outline is None else outline.centre_ras
    width_mm = VIEW_MM if outline is None else max(VIEW_MM, AROUND * outline.long_axis_mm)
    side = (LEFT_WIDTH - 2 * GAP) / 3
    heat = assessment.heatmap_volumes(name) if name in assessment.heatmaps else {}
    opacity = 0.75 * (1 if heatmap_faithfulness.trusted(assessment.model_id, name) else heatmap_faithfulness.FAINT)
    for column, plane in enumerate(PLANES):
        x = MARGIN + column * (side + GAP)
        places = _places(centre, plane, width_mm)
        hu = np.where(volume.contains(places), sample(volume, places), WINDOW_HU[0])
        sheet.text(x, top + 0.12, f"{plane.capitalize()}", 10.5, weight="bold")
        sheet.text(x + side, top + 0.12, f"{width_mm:.0f} mm wide, lung window", 8.5, MUTED, ha="right")
        axes = _ct(sheet, x, top + 0.22, side, hu)
        _letters(axes, plane)
        if column == 0:
            _scale_bar(axes, width_mm)
        if outline is None:
            axes.plot(*[(VIEW_PIXELS - 1) / 2] * 2, "+", color=OUTLINE, markersize=16, markeredgewidth=1.2)
            continue
        axes = _ct(sheet, x, top + 0.22 + side + 0.42, side, hu)
        if heat:
            _overlay(axes, np.max([sample(one, places, outside=0.0) for one in heat.values()], axis=0), opacity)
        _contour(axes, sample(outline.probability, places, outside=0.0), 1.3)
    if outline is None:
        return top + 0.22 + side
    y = top + 0.22 + side + 0.32
    sheet.title(
        MARGIN,
        y,
        f"What moved {name}: in-slice maps" if heat else "Outline",
        "each pixel’s share in the way from plain lung" if heat else "as the locator drew it",
    )
    if heat:
        _heat_legend(sheet, y)
    sheet.line((MARGIN + LEFT_WIDTH - 0.86, MARGIN + LEFT_WIDTH - 0.60), (y - 0.04,) * 2, OUTLINE, 2)
    sheet.text(MARGIN + LEFT_WIDTH, y, "outline", 8.5, MUTED, ha="right")
    bottom = top + 0.22 + side + 0.42 + side
    if name in assessment.heatmaps:
        for i, line in enumerate(textwrap.wrap(heatmap_faithfulness.told(assessment.model_id, name), 150)):
            bottom += 0.19 - 0.03 * i
            sheet.text(MARGIN, bottom, line, 8.5, MUTED)
    return bottom


def _places(centre: Array, plane: str, width_mm: float) -> Array:
    """RAS positions (mm) of the pixels of a slice through ``centre``, shape (n, n, 3), as radiologists view it."""
    column, row, _ = (np.array(axis, dtype=np.float64) for axis in PLANES[plane])
    along_mm = (np.arange(VIEW_PIXELS) - (VIEW_PIXELS - 1) / 2) * width_mm / VIEW_PIXELS
    return np.asarray(centre + along_mm[:, None, None] * row + along_mm[None, :, None] * column)


def _ct(sheet: _Sheet, x: float, y: float, side: float, hu: Array) -> Any:
    axes = sheet.image(x, y, side, side)
    axes.imshow(hu, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], interpolation="bilinear")
    axes.set(xlim=(-0.5, hu.shape[1] - 0.5), ylim=(hu.shape[0] - 0.5, -0.5), autoscale_on=False)
    return axes


def _letters(axes: Any, plane: str) -> None:
    """Patient directions at the four edges."""
    column, row, _ = PLANES[plane]
    for axis, ends in ((column, ((0.025, 0.5), (0.975, 0.5))), (row, ((0.5, 0.97), (0.5, 0.03)))):
        at = int(np.argmax(np.abs(axis)))
        letters = ("LPI"[at], "RAS"[at])
        for place, letter in zip(ends, letters if axis[at] > 0 else letters[::-1], strict=True):
            axes.text(*place, letter, transform=axes.transAxes, fontsize=9.5, ha="center", va="center", **ON_CT)


def _scale_bar(axes: Any, width_mm: float, length_mm: int = 10) -> None:
    pixels, edge = length_mm / width_mm * VIEW_PIXELS, 0.05 * VIEW_PIXELS
    y = VIEW_PIXELS - edge
    for color, width in (("black", 4.5), ("white", 2.5)):
        axes.plot((edge, edge + pixels), (y, y), color=color, linewidth=width, solid_capstyle="butt")
    axes.text(edge + pixels / 2, y - 7, f"{length_mm} mm", fontsize=8.5, ha="center", va="bottom", **ON_CT)


def _heat(share: Array | float) -> Any:
    """Colour of 0 to 1, RGBA: neither end of the map, since black and white are the CT's."""
    return HEAT(0.15 + 0.8 * share)


def _overlay(axes: Any, heat: Array, opacity: float) -> None:
    colours = _heat(heat)
    colours[..., 3] = opacity * np.clip(heat, 0, 1) ** 0.8
    axes.imshow(colours, interpolation="bilinear")


def _contour(axes: Any, outline: Array, width: float) -> None:
    if outline.min() < INSIDE < outline.max():
        axes.contour(outline, levels=[INSIDE], colors=[OUTLINE], linewidths=width)


def _heat_legend(sheet: _Sheet, y: float) -> None:
    right = MARGIN + LEFT_WIDTH - 1.15
    axes = sheet.image(right - 1.55, y - 0.095, 1.0, 0.11)
    axes.imshow(_heat(np.linspace(0, 1, 128))[None], aspect="auto")
    sheet.text(right - 1.6, y, "0", 8.5, MUTED, ha="right")
    sheet.text(right - 0.5, y, "most", 8.5, MUTED)


def _mosaic(sheet: _Sheet, top: float, bottom: float, assessment: Assessment, name: str) -> None:
    """Every slice that was graded, in the mosaic's order, framed by its weight."""
    stack = assessment.stack
    if stack is None:
        return
    shown = np.flatnonzero(stack.valid)
    weights = assessment.heatmaps[name].slice_weights if name in assessment.heatmaps else None
    layout = stack.layout
    told = f"the {len(shown)} slices" if len(shown) > 1 else "the one slice"
    told += f" that the model read, {layout.pixels * layout.pixel_mm:.0f} mm wide; in white: mm from the centre"
    told += "; below: how much nearer it comes alone" if weights is not None else ""
    sheet.title(MARGIN, top + 0.12, "Mosaic" if weights is None else "Mosaic and slice weights", told)
    top += 0.24
    below = 0.07 if weights is None else 0.22
    columns, side = _tiling(len(shown), LEFT_WIDTH, bottom - top, below)
    largest = float(weights.max(initial=0.0)) if weights is not None else 0.0
    digits = 2 if largest >= 0.1 else 3
    small = min(8.5, max(5.0, 8.0 * side))
    for place, i in enumerate(shown):
        x = MARGIN + place % columns * (side + TILE_GAP)
        y = top + place // columns * (side + below)
        axes = _ct(sheet, x, y, side, stack.pixels[i])
        _contour(axes, stack.outline[i], 0.8)
        plane = "" if len(layout.planes) == 1 else f"{layout.planes[stack.plane[i]][0].upper()} "
        # Adding zero makes -0.0 a plain 0.0.
        offset = f"{plane}{round(stack.offset_mm[i], 1) + 0:+.1f}"
        axes.text(0.06, 0.94, offset, transform=axes.transAxes, fontsize=small, va="top", **ON_CT)
        if weights is not None:
            share = float(weights[i]) / largest if largest > 0 else 0.0
            for spine in axes.spines.values():
                spine.set(visible=True, color=_heat(share), linewidth=1 + 3 * share)
            sheet.text(x + side / 2, y + side + below - 0.06, f"{weights[i]:.{digits}f}", small, INK, ha="center")


def _tiling(count: int, width: float, height: float, below: float) -> tuple[int, float]:
    """Columns and side (inches) of the largest squares of which ``count`` fit, each with room ``below`` it."""
    sides = {
        columns: min((width + TILE_GAP) / columns - TILE_GAP, height / -(-count // columns) - below)
        for columns in range(1, count + 1)
    }
    columns = max(sides, key=lambda columns: sides[columns])
    return columns, min(sides[columns], 1.9)


def _summary(sheet: _Sheet, top: float, assessment: Assessment) -> None:
    sheet.card(RIGHT, top, RIGHT_WIDTH, 1.5, PALE, LINE)
    if assessment.suspicion_probability is None:
        sheet.text(RIGHT + 0.2, top + 0.6, "No nodule found", 17, weight="bold")
        sheet.text(RIGHT + 0.2, top + 0.92, "at the point (+), so no grades are given.", 10, MUTED)
        return
    sheet.text(RIGHT + 0.2, top + 0.67, percent(assessment.suspicion_probability), 27, ACCENT, weight="bold")
    sheet.text(RIGHT + 1.62, top + 0.42, "Suspicion probability", 11.5, weight="bold")
    for i, line in enumerate(textwrap.wrap(SUSPICION_MEANS, 46)):
        sheet.text(RIGHT + 1.62, top + 0.62 + 0.165 * i, line, 8.5, MUTED)
    sheet.line((RIGHT + 0.2, RIGHT + RIGHT_WIDTH - 0.2), (top + 0.95,) * 2, LINE)
    diameter, volume = size(assessment).split(", ")
    sheet.text(RIGHT + 0.2, top + 1.28, "Outline", 10, weight="bold")
    sheet.text(RIGHT + RIGHT_WIDTH - 0.2, top + 1.19, diameter, 9.5, ha="right")
    sheet.text(RIGHT + RIGHT_WIDTH - 0.2, top + 1.38, volume, 9.5, ha="right")


def _grades(sheet: _Sheet, top: float, assessment: Assessment) -> None:
    """Nine bars with words and intervals."""
    if not assessment.estimates:
        return
    right = RIGHT + RIGHT_WIDTH
    sheet.text(RIGHT, top + 0.1, "Grades", 10.5, weight="bold")
    sheet.text(right, top + 0.1, "value (80 % interval)  ·  % of LIDC nodules below", 8.5, MUTED, ha="right")
    for row, estimate in enumerate(assessment.estimates):
        y, grade = top + 0.3 + ROW * row, estimate.grade
        if grade.name == "calcification":
            seen = known(assessment.calcification)
            word = pattern(seen)
            _bar(
                sheet,
                y,
                grade.name,
                word,
                percent(seen.presence),
                "of readers",
                (0.0, seen.presence, seen.presence),
                [],
            )
            continue
        _bar(
            sheet,
            y,
            grade.name,
            estimate.word if grade.words else "",
            f"{estimate.value:.1f}{f' {grade.unit}' if grade.unit else ''} ({estimate.low:.1f} – {estimate.high:.1f})",
            f"{estimate.percentile:.0f} %",
            tuple(along(grade, value) for value in (estimate.low, estimate.value, estimate.high)),
            _marks(grade),
        )


def _marks(grade: Grade) -> list[tuple[float, str]]:
    """Where a scale has marks (0 to 1), and what stands under them."""
    return [(along(grade, value), f"{value:g}") for value in grade.marks]


def _bar(
    sheet: _Sheet,
    y: float,
    name: str,
    word: str,
    value: str,
    beside: str,
    place: tuple[float, ...],
    marks: list[tuple[float, str]],
) -> None:
    low, at, high = place
    width = RIGHT_WIDTH - 0.75
    sheet.text(RIGHT, y + 0.12, name.capitalize(), 10, weight="bold")
    sheet.text(RIGHT + 1.12, y + 0.12, word, 9.5, MUTED)
    sheet.text(RIGHT + RIGHT_WIDTH, y + 0.12, value, 9.5, ha="right")
    y += 0.255
    sheet.box(RIGHT, y - 0.035, width, 0.07, "#e7ecf1")
    sheet.box(RIGHT + width * low, y - 0.035, width * (high - low), 0.07, INTERVAL)
    for mark, label in marks:
        sheet.line((RIGHT + width * mark,) * 2, (y - 0.035, y + 0.06), "#9aa8b5", 0.7)
        sheet.text(RIGHT + width * mark, y + 0.155, label, 6.5, MUTED, ha="center")
    sheet.line((RIGHT + width * at,), (y,), ACCENT, marker="o", markersize=7, markeredgecolor="white")
    sheet.text(RIGHT + RIGHT_WIDTH, y + 0.04, beside, 8.5, MUTED, ha="right")


def _warnings(sheet: _Sheet, top: float, lines: list[str]) -> None:
    if not lines:
        return
    sheet.card(RIGHT, top, RIGHT_WIDTH, 0.42 + 0.185 * len(lines), ALERT_PALE, "#f0c878")
    sheet.text(RIGHT + 0.15, top + 0.24, "Please note", 10, ALERT, weight="bold")
    for i, line in enumerate(lines):
        sheet.text(RIGHT + 0.15, top + 0.46 + 0.185 * i, line, 9)


def _footer(sheet: _Sheet, assessment: Assessment) -> None:
    y = sheet.height - 0.5
    sheet.line((MARGIN, PAGE - MARGIN), (y - 0.2,) * 2, LINE)
    sheet.text(MARGIN, y + 0.05, DISCLAIMER, 10.5, weight="bold")
    sheet.text(
        PAGE - MARGIN, y + 0.05, f"NoduleRisk {__version__}   ·   model {assessment.model_id}", 9, MUTED, ha="right"
    )


def _bullet(sentence: str, width: int = 66) -> list[str]:
    return textwrap.wrap(sentence, width, initial_indent="•  ", subsequent_indent="    ")


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
