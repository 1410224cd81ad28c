"""The README's pictures: the pipeline, the model, heatmaps of three synthetic nodules, a mosaic and its attention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.explain.heatmaps import slice_weights
from NoduleRiskLib.explain.slice_attribution import SLICE_METHODS
from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.colours import OUTLINE_RGB
from NoduleRiskLib.imaging.hounsfield import LUNG_WINDOW_HU
from NoduleRiskLib.imaging.mosaic import mosaic
from NoduleRiskLib.imaging.outline import INSIDE
from NoduleRiskLib.imaging.shape_features import SHAPE_FEATURES
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.model_package import ModelPackage
from NoduleRiskLib.networks.nodule_vit import collate
from NoduleRiskLib.phantom import chest_ct
from NoduleRiskLib.results.assessment import Assessment

#: Nodules of the synthetic CT, and the grades whose maps are drawn.
NODULES, SHOWN = ("spiculated", "calcified", "ground glass"), ("spiculation", "calcification", "texture", "malignancy")
INK, PALE, EDGE, ACCENT = "#17212b", "#eef3f8", "#8fa3b5", "#cfe3f5"


def draw(folder: Path, package: ModelPackage) -> list[Path]:
    """Write ``flow.png``, ``model.png``, ``maps.png`` and ``attention.png``; returns their paths."""
    volume, nodules = chest_ct.chest_ct()
    assessor = Assessor(package, "cpu")
    chosen = [one.point for name in NODULES for one in nodules if one.point.label == name]
    assessments = list(assessor.assess(volume, chosen))
    figures = {"flow": flow(), "model": model(package), "maps": maps(assessments)}
    figures["attention"] = attention(package, assessments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        FigureCanvasAgg(figure).print_png(str(folder / f"{name}.png"))
    return [folder / f"{name}.png" for name in figures]


def flow() -> Figure:
    """From a point to an assessment, step by step."""
    steps = (
        ("CT and point", "HU, RAS mm"),
        ("segment", "a U-Net reads slices\noutwards from the point"),
        ("false positives", "a 3-D CNN warns of\nvessels and chest wall"),
        ("cut", "the nodule's own slices,\n0.7 mm per pixel"),
        ("grade", "five NoduleViTs,\naveraged"),
        ("explain", "weights of slices,\nmaps of pixels"),
        ("assessment", "nine grades with intervals,\noutline, heatmaps in RAS"),
    )
    figure, axes = _canvas(14.7, 1.1)
    for i, (title, text) in enumerate(steps):
        _box(axes, 0.1 + 2.1 * i, 0.1, 1.8, 0.9, title, text, ACCENT if 0 < i < len(steps) - 1 else PALE)
        if i:
            _arrow(axes, 2.1 * i - 0.2, 0.55, 2.1 * i + 0.1, 0.55)
    return figure


def model(package: ModelPackage) -> Figure:
    """One slice, one token; nine heads share what the transformer makes of them, and the outline's shape."""
    config = package.config
    inputs = f"{len(config.windows)} HU windows\n" + ("and the outline" if config.outline else "")
    pixels = config.layout.pixels
    # Below all that goes through the slices stands what does not.
    up = 0.85 if config.shape_features else 0.0
    figure, axes = _canvas(11.7, 4.35 + up)
    for i, label in enumerate(("slice 1", "slice 2", "slice N")):
        y = 2.65 - 1.25 * i + up
        _box(axes, 0.1, y, 1.5, 0.95, label, f"{pixels} × {pixels} pixels\n{inputs}", PALE)
        _box(axes, 2.1, y, 1.5, 0.95, "slice encoder", "3 convolution stages,\n4 attention maps; shared", ACCENT)
        _box(axes, 4.1, y + 0.15, 1.3, 0.65, "token", "+ its position, mm", PALE)
        _arrow(axes, 1.6, y + 0.47, 2.1, y + 0.47)
        _arrow(axes, 3.6, y + 0.47, 4.1, y + 0.47)
        _arrow(axes, 5.4, y + 0.47, 5.9, y + 0.47)
    axes.text(0.85, 1.25 + up, "⋮", ha="center", va="center", color=INK)
    _box(axes, 4.1, 3.95 + up, 1.3, 0.3, "class token", "", PALE)
    _arrow(axes, 5.4, 4.1 + up, 5.9, 4.1 + up)
    _box(
        axes,
        5.9,
        0.15 + up,
        1.9,
        4.1,
        "transformer",
        f"{config.depth} blocks, {config.dim} wide,\n{config.heads} heads;\nabsent slices masked",
        ACCENT,
    )
    middle = 2.2 + up
    _arrow(axes, 7.8, middle, 8.15, middle)
    if config.shape_features:
        _box(
            axes,
            2.1,
            0.15,
            5.7,
            0.55,
            "outline",
            f"{len(SHAPE_FEATURES)} shape features: {', '.join(SHAPE_FEATURES)}",
            PALE,
        )
        _arrow(axes, 7.8, 0.42, 8.15, middle - 0.12)
        axes.text(8.25, middle, "+", ha="center", va="center", color=INK, weight="bold")
    for i, grade in enumerate(GRADES):
        y = 3.92 - 0.47 * i + up
        _arrow(axes, 8.35, middle, 8.9, y + 0.15)
        _box(axes, 8.9, y, 2.6, 0.32, f"head: {grade.name}", "", PALE)
    return figure


def maps(assessments: Sequence[Assessment]) -> Figure:
    """Each nodule's widest slice, plain and with the heatmaps of some grades."""
    figure = Figure(figsize=(2.1 * (1 + len(SHOWN)), 2.25 * len(assessments)), dpi=100, layout="constrained")
    axes = figure.subplots(len(assessments), 1 + len(SHOWN), squeeze=False)
    for row, one in zip(axes, assessments, strict=True):
        nodule = one.nodule
        assert nodule is not None
        stack = nodule.stack
        k = int(np.argmax((stack.outline > INSIDE).sum((1, 2))))
        for axis, name in zip(row, ("", *SHOWN), strict=True):
            axis.imshow(stack.pixels[k], cmap="gray", vmin=LUNG_WINDOW_HU[0], vmax=LUNG_WINDOW_HU[1])
            axis.contour(stack.outline[k], levels=[INSIDE], colors=[OUTLINE_RGB], linewidths=0.8)
            if name:
                # As strong as the panel shows it.
                faint = 1 if heatmap_faithfulness.trusted(one.model_id, name) else heatmap_faithfulness.FAINT
                _heat(axis, nodule.heatmaps[name].in_slice[k], 0.75 * faint)
            axis.set(xticks=[], yticks=[])
            axis.set_title(name or one.point.label, fontsize=8)
    return figure


def attention(package: ModelPackage, assessment: Assessment) -> Figure:
    """After the paper's figure 4: the mosaic, and the weight of each of its slices by some methods."""
    assert assessment.nodule is not None
    stack = assessment.nodule.stack
    graders = package.networks().graders
    batch = collate([stack])
    names = ("class attention", "rollout", "gradient-weighted attention", "alone")
    shown = np.flatnonzero(stack.valid)
    columns = stack.layout.columns
    rows = slice(int(shown[0]) // columns * stack.layout.pixels, (int(shown[-1]) // columns + 1) * stack.layout.pixels)
    g = [grade.name for grade in GRADES].index("malignancy")
    figure = Figure(figsize=(13.5, 1.7), dpi=90, layout="constrained")
    axes = figure.subplots(1, 1 + len(names))
    image = mosaic(stack)[rows]
    for axis, name in zip(axes, ("the mosaic", *names), strict=True):
        axis.imshow(image, cmap="gray", vmin=LUNG_WINDOW_HU[0], vmax=LUNG_WINDOW_HU[1])
        if name in SLICE_METHODS:
            weights = np.zeros(len(stack.valid), np.float32)
            weights[shown] = slice_weights(graders, batch, name)[g].numpy()
            colours = colormaps["inferno"](0.15 + 0.8 * mosaic(stack, weights / weights.max(), empty=0)[rows])
            colours[..., 3] = np.where(image > -1024, 0.55, 0)
            axis.imshow(colours)
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{name},\nmalignancy" if name in names[2:] else f"{name}\n", fontsize=9)
    return figure


def _heat(axis: Any, heat: Array, opacity: float) -> None:
    colours = colormaps["inferno"](0.15 + 0.8 * heat)
    colours[..., 3] = opacity * np.clip(heat, 0, 1) ** 0.8
    axis.imshow(colours)


def _canvas(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=80, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def _box(axes: Any, x: float, y: float, width: float, height: float, title: str, text: str, color: str) -> None:
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=color, edgecolor=EDGE))
    middle = x + width / 2
    if not text:
        axes.text(middle, y + height / 2, title, ha="center", va="center", fontsize=9, color=INK)
        return
    axes.text(middle, y + height - 0.08, title, ha="center", va="top", fontsize=10, weight="bold", color=INK)
    axes.text(middle, y + height - 0.32, text, ha="center", va="top", fontsize=7.5, color=INK)


def _arrow(axes: Any, x: float, y: float, to_x: float, to_y: float) -> None:
    axes.annotate("", (to_x, to_y), (x, y), arrowprops={"arrowstyle": "-|>", "color": EDGE})
