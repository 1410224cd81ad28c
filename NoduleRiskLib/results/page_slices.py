"""The pictures of a nodule's page: orthogonal slices with outline and heatmap, and the mosaic."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.patheffects import withStroke

from ..explain import heatmap_faithfulness
from ..imaging.colours import OUTLINE_RGB
from ..imaging.hounsfield import LUNG_WINDOW_HU
from ..imaging.outline import INSIDE
from ..imaging.resampling import sample
from ..imaging.slice_stack import PLANES
from ..imaging.volume import Array, Volume
from .assessment import Assessment
from .sheet import INK, LEFT_WIDTH, MARGIN, MUTED, Sheet

#: Width of the orthogonal slices: as much, or the nodule's long axis times the factor.
VIEW_MM, AROUND = 60.0, 1.8
VIEW_PIXELS = 360
#: Gaps between slices and between tiles, inches.
GAP, TILE_GAP = 0.12, 0.08
DRAWN = {"network": "as the network drew it", "user": "as you drew it"}
HEAT = colormaps["inferno"]
#: White on black lung and on white chest wall alike.
ON_CT = {"color": "white", "path_effects": [withStroke(linewidth=2, foreground="#000000a0")]}


def draw_views(sheet: Sheet, top: float, volume: Volume, assessment: Assessment, name: str) -> float:
    """Axial, coronal and sagittal slices, plain above, with the heatmap below; returns where they end (inches)."""
    nodule = assessment.nodule
    centre = np.array(assessment.point.ras) if nodule is None else nodule.outline.centre_ras
    width_mm = VIEW_MM if nodule is None else max(VIEW_MM, AROUND * nodule.outline.long_axis_mm)
    side = (LEFT_WIDTH - 2 * GAP) / 3
    heat = nodule.heatmap_volumes(name) if nodule and name in nodule.heatmaps else {}
    opacity = 0.75 * (1 if heatmap_faithfulness.trusted(assessment.model_id, name) else heatmap_faithfulness.FAINT)
    for column, plane in enumerate(PLANES):
        x = MARGIN + column * (side + GAP)
        places = view_places(centre, plane, width_mm)
        hu = np.where(volume.contains(places), sample(volume, places), LUNG_WINDOW_HU[0])
        sheet.text(x, top + 0.12, f"{plane.capitalize()}", 10.5, weight="bold")
        sheet.text(x + side, top + 0.12, f"{width_mm:.0f} mm wide, lung window", 8.5, MUTED, ha="right")
        axes = draw_ct(sheet, x, top + 0.22, side, hu)
        draw_letters(axes, plane)
        if column == 0:
            draw_scale_bar(axes, width_mm)
        if nodule is None:
            axes.plot(*[(VIEW_PIXELS - 1) / 2] * 2, "+", color=OUTLINE_RGB, markersize=16, markeredgewidth=1.2)
            continue
        axes = draw_ct(sheet, x, top + 0.22 + side + 0.42, side, hu)
        if heat:
            _overlay(axes, np.max([sample(one, places, outside=0.0) for one in heat.values()], axis=0), opacity)
        draw_outline(axes, sample(nodule.outline.probability, places, outside=0.0), 1.3)
    if nodule is None:
        return top + 0.22 + side
    y = top + 0.22 + side + 0.32
    sheet.title(
        MARGIN,
        y,
        f"Heatmap of {name}" if heat else "Outline",
        "how much each place moves the grade" if heat else DRAWN[nodule.outline.drawn_by],
    )
    if heat:
        _heat_legend(sheet, y)
    sheet.line((MARGIN + LEFT_WIDTH - 0.86, MARGIN + LEFT_WIDTH - 0.60), (y - 0.04,) * 2, OUTLINE_RGB, 2)
    sheet.text(MARGIN + LEFT_WIDTH, y, "outline", 8.5, MUTED, ha="right")
    bottom = top + 0.22 + side + 0.42 + side
    if heat:
        for i, line in enumerate(textwrap.wrap(heatmap_faithfulness.told(assessment.model_id, name), 150)):
            bottom += 0.19 - 0.03 * i
            sheet.text(MARGIN, bottom, line, 8.5, MUTED)
    return bottom


def view_places(centre: Array, plane: str, width_mm: float) -> Array:
    """RAS positions (mm) of the pixels of a slice through ``centre``, shape (n, n, 3), as radiologists view it."""
    column, row, _ = (np.array(axis, dtype=np.float64) for axis in PLANES[plane])
    along_mm = (np.arange(VIEW_PIXELS) - (VIEW_PIXELS - 1) / 2) * width_mm / VIEW_PIXELS
    return np.asarray(centre + along_mm[:, None, None] * row + along_mm[None, :, None] * column)


def draw_ct(
    sheet: Sheet, x: float, y: float, side: float, hu: Array, window_hu: tuple[float, float] = LUNG_WINDOW_HU
) -> Any:
    """A square picture of HU (rows, columns) in a window; places and side in inches. Returns its axes."""
    axes = sheet.image(x, y, side, side)
    axes.imshow(hu, cmap="gray", vmin=window_hu[0], vmax=window_hu[1], interpolation="bilinear")
    axes.set(xlim=(-0.5, hu.shape[1] - 0.5), ylim=(hu.shape[0] - 0.5, -0.5), autoscale_on=False)
    return axes


def draw_letters(axes: Any, plane: str) -> None:
    """Patient directions at the four edges."""
    column, row, _ = PLANES[plane]
    for axis, ends in ((column, ((0.025, 0.5), (0.975, 0.5))), (row, ((0.5, 0.97), (0.5, 0.03)))):
        at = int(np.argmax(np.abs(axis)))
        letters = ("LPI"[at], "RAS"[at])
        for place, letter in zip(ends, letters if axis[at] > 0 else letters[::-1], strict=True):
            axes.text(*place, letter, transform=axes.transAxes, fontsize=9.5, ha="center", va="center", **ON_CT)


def draw_scale_bar(axes: Any, width_mm: float, length_mm: int = 10) -> None:
    """A bar of that length at the lower left corner."""
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


def draw_outline(axes: Any, outline: Array, width: float) -> None:
    """Where an outline's probability (rows, columns) crosses one half."""
    if outline.min() < INSIDE < outline.max():
        axes.contour(outline, levels=[INSIDE], colors=[OUTLINE_RGB], linewidths=width)


def _heat_legend(sheet: Sheet, y: float) -> None:
    right = MARGIN + LEFT_WIDTH - 1.15
    axes = sheet.image(right - 1.55, y - 0.095, 1.0, 0.11)
    axes.imshow(_heat(np.linspace(0, 1, 128))[None], aspect="auto")
    sheet.text(right - 1.6, y, "0", 8.5, MUTED, ha="right")
    sheet.text(right - 0.5, y, "most", 8.5, MUTED)


def draw_mosaic(sheet: Sheet, top: float, bottom: float, assessment: Assessment, name: str) -> None:
    """Every graded slice in the mosaic's order; the brighter and wider its frame, the larger its weight."""
    nodule = assessment.nodule
    if nodule is None:
        return
    stack = nodule.stack
    shown = np.flatnonzero(stack.valid)
    weights = nodule.heatmaps[name].slice_weights if name in nodule.heatmaps else None
    layout = stack.layout
    caption = f"the {len(shown)} slices" if len(shown) > 1 else "the one slice"
    caption += f" that the model read, {layout.pixels * layout.pixel_mm:.0f} mm wide; in white: mm from the centre"
    caption += "; below: slice weight" if weights is not None else ""
    sheet.title(MARGIN, top + 0.12, "Mosaic" if weights is None else "Mosaic and slice weights", caption)
    top += 0.24
    below = 0.07 if weights is None else 0.22
    columns, side = _tiling(len(shown), LEFT_WIDTH, bottom - top, below)
    largest = float(weights.max(initial=0.0)) if weights is not None else 0.0
    digits = 2 if largest >= 0.1 else 3
    small = min(8.5, max(5.0, 8.0 * side))
    ink = MUTED if assessment.doubts else INK
    for place, i in enumerate(shown):
        x = MARGIN + place % columns * (side + TILE_GAP)
        y = top + place // columns * (side + below)
        axes = draw_ct(sheet, x, y, side, stack.pixels[i])
        draw_outline(axes, stack.outline[i], 0.8)
        plane = "" if len(layout.planes) == 1 else f"{layout.planes[stack.plane[i]][0].upper()} "
        # Adding zero makes -0.0 a plain 0.0.
        offset = f"{plane}{round(stack.offset_mm[i], 1) + 0:+.1f}"
        axes.text(0.06, 0.94, offset, transform=axes.transAxes, fontsize=small, va="top", **ON_CT)
        if weights is not None:
            share = float(weights[i]) / largest if largest > 0 else 0.0
            for spine in axes.spines.values():
                spine.set(visible=True, color=_heat(share), linewidth=1 + 3 * share)
            sheet.text(x + side / 2, y + side + below - 0.06, f"{weights[i]:.{digits}f}", small, ink, ha="center")


def _tiling(count: int, width: float, height: float, below: float) -> tuple[int, float]:
    """Columns and side (inches) of the largest squares of which ``count`` fit, each with room ``below`` it."""
    sides = {
        columns: min((width + TILE_GAP) / columns - TILE_GAP, height / -(-count // columns) - below)
        for columns in range(1, count + 1)
    }
    columns = max(sides, key=lambda columns: sides[columns])
    return columns, min(sides[columns], 1.9)
