"""The key images of a nodule as PNG: axial and coronal in the lung window, axial in the soft-tissue window."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from ..imaging.hounsfield import LUNG_WINDOW_HU
from ..imaging.resampling import sample
from ..imaging.volume import Volume
from ..results.page_slices import (
    AROUND,
    VIEW_MM,
    draw_ct,
    draw_letters,
    draw_outline,
    draw_scale_bar,
    view_places,
)
from ..results.sheet import Sheet
from .examination import Finding

#: Mediastinal window, HU: level 40, width 400.
SOFT_HU = (-160.0, 240.0)
#: Side of a picture, inches at ``sheet.DPI``.
SIDE = 2.6
#: By the name that ``words.PICTURES`` captions: plane, window, whether the outline is drawn.
PICTURES = {
    "axial lung": ("axial", LUNG_WINDOW_HU, False),
    "axial outline": ("axial", LUNG_WINDOW_HU, True),
    "axial soft": ("axial", SOFT_HU, False),
    "coronal lung": ("coronal", LUNG_WINDOW_HU, False),
}


def width_mm(finding: Finding) -> float:
    """How much of the patient a picture shows, from side to side."""
    nodule = finding.assessment.nodule
    return VIEW_MM if nodule is None else max(VIEW_MM, AROUND * nodule.outline.long_axis_mm)


def pictures(volume: Volume, finding: Finding) -> dict[str, bytes]:
    """PNG files by the names of ``PICTURES``."""
    wide_mm, nodule, found = width_mm(finding), finding.assessment.nodule, {}
    for name, (plane, window_hu, outlined) in PICTURES.items():
        places = view_places(finding.centre_ras, plane, wide_mm)
        hu = np.where(volume.contains(places), sample(volume, places), LUNG_WINDOW_HU[0])
        sheet = Sheet.blank(SIDE, SIDE)
        axes = draw_ct(sheet, 0, 0, SIDE, hu, window_hu)
        draw_letters(axes, plane)
        draw_scale_bar(axes, wide_mm)
        if outlined and nodule is not None:
            draw_outline(axes, sample(nodule.outline.probability, places, outside=0.0), 1.3)
        file = io.BytesIO()
        FigureCanvasAgg(sheet.figure).print_png(file)
        found[name] = file.getvalue()
    return found
