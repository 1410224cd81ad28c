"""A follow-up as one page: each nodule before and now, side by side, with what became of it."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .. import __version__
from ..grades import DISCLAIMER
from ..imaging.colours import OUTLINE_RGB
from ..imaging.hounsfield import LUNG_WINDOW_HU
from ..imaging.outline import INSIDE
from ..imaging.resampling import sample
from ..imaging.volume import Volume
from ..results.assessment import Assessment
from ..results.sheet import INK, LINE, MARGIN, MUTED, PALE, Sheet
from .comparison import FollowedNodule, FollowUp

#: Width of the page and side of a picture, inches; width of what a picture shows (mm) or factor of the long axis.
PAGE, SIDE, VIEW_MM, AROUND = 11.0, 2.6, 50.0, 2.0
PIXELS = 300
TOP, ROW, TEXT_ROW = 1.25, SIDE + 0.45, 0.19
#: What each kind's heading is drawn in.
COLOURS = {"growing": "#b3261e", "new": "#b86e00", "stable": "#0b63a5", "shrinking": "#1d7a46", "resolved": "#1d7a46"}


def write_page(path: Path | str, prior: Volume, current: Volume, followed: FollowUp) -> None:
    """Write the page as PNG; parameters as of ``page``."""
    FigureCanvasAgg(page(prior, current, followed)).print_png(str(path))


def page(prior: Volume, current: Volume, followed: FollowUp) -> Figure:
    """The page as a figure that belongs to no window.

    Parameters
    ----------
    prior, current : Volume
        The CTs, HU.
    followed : FollowUp
    """
    notes = [line for text in followed.warnings for line in textwrap.wrap(f"• {text}", 130)]
    top = TOP + TEXT_ROW * len(notes)
    height = top + ROW * max(len(followed.nodules), 1) + 0.7
    sheet = Sheet.blank(PAGE, height)
    sheet.text(MARGIN, 0.55, "Follow-up of lung nodules", 18, weight="bold")
    sheet.text(MARGIN, 0.82, _between(prior, current, followed), 10, MUTED)
    for number, line in enumerate(notes):
        sheet.text(MARGIN, 1.08 + TEXT_ROW * number, line, 9)
    for number, one in enumerate(followed.nodules):
        y = top + ROW * number
        _picture(sheet, MARGIN, y, prior, one, "prior")
        _picture(sheet, MARGIN + SIDE + 0.15, y, current, one, "current")
        _words(sheet, MARGIN + 2 * SIDE + 0.45, y, one)
    y = height - 0.45
    sheet.line((MARGIN, PAGE - MARGIN), (y - 0.2,) * 2, LINE)
    sheet.text(MARGIN, y + 0.05, DISCLAIMER, 9.5, weight="bold")
    sheet.text(PAGE - MARGIN, y + 0.05, f"NoduleRisk {__version__}", 9, MUTED, ha="right")
    return sheet.figure


def _between(prior: Volume, current: Volume, followed: FollowUp) -> str:
    days = "unknown days" if followed.days is None else f"{followed.days:.0f} days"
    named = (
        f"{volume.name or 'CT'}{f' of {day.isoformat()}' if day else ''}"
        for volume, day in ((prior, followed.prior_date), (current, followed.current_date))
    )
    return f"{'   to   '.join(named)}   ·   {days} between them"


def _picture(sheet: Sheet, x: float, y: float, volume: Volume, one: FollowedNodule, which: str) -> None:
    """The axial slice through a nodule's place, with its outline."""
    place = np.array(one.place_ras[which])
    width_mm = max([VIEW_MM, *(AROUND * _long_mm(each) for each in (one.prior, one.current) if each)])
    across = (np.arange(PIXELS) / (PIXELS - 1) - 0.5) * width_mm
    places = np.empty((PIXELS, PIXELS, 3))
    # As radiologists look at it: the patient's right on the left, the front on top.
    places[..., 0], places[..., 1], places[..., 2] = place[0] - across, place[1] - across[:, None], place[2]
    hu = np.where(volume.contains(places), sample(volume, places), LUNG_WINDOW_HU[0])
    axes = sheet.image(x, y + 0.18, SIDE, SIDE)
    axes.imshow(hu, cmap="gray", vmin=LUNG_WINDOW_HU[0], vmax=LUNG_WINDOW_HU[1], interpolation="bilinear")
    shown: Assessment | None = getattr(one, which)
    if shown is not None and shown.nodule is not None:
        outline = sample(shown.nodule.outline.probability, places, outside=0.0)
        if (outline > INSIDE).any():
            axes.contour(outline, levels=[INSIDE], colors=[OUTLINE_RGB], linewidths=1.2)
    else:
        axes.plot(*[(PIXELS - 1) / 2] * 2, "+", color=OUTLINE_RGB, markersize=14, markeredgewidth=1.2)
    found = " (found by the networks)" if one.located == which else ""
    sheet.text(x, y + 0.12, f"{'Before' if which == 'prior' else 'Now'}{found}", 9, MUTED)
    sheet.text(x + SIDE, y + 0.12, f"{width_mm:.0f} mm wide", 8, MUTED, ha="right")


def _long_mm(assessment: Assessment) -> float:
    return 0.0 if assessment.nodule is None else assessment.nodule.outline.long_axis_mm


def _words(sheet: Sheet, x: float, y: float, one: FollowedNodule) -> None:
    width = PAGE - MARGIN - x
    sheet.card(x, y + 0.18, width, SIDE, PALE, LINE)
    kind = one.growth.kind if one.growth else "not shown"
    sheet.text(x + 0.15, y + 0.46, textwrap.shorten(one.label, 34, placeholder="…"), 13, weight="bold")
    sheet.text(x + 0.15, y + 0.74, kind.capitalize(), 12, COLOURS.get(kind, INK), weight="bold")
    lines = textwrap.wrap(one.sentence, 56)
    if one.doubts:
        lines += ["", *textwrap.wrap(f"Doubtful: {'; '.join(one.doubts)}", 56)]
    for number, line in enumerate(lines[:10]):
        sheet.text(x + 0.15, y + 1.02 + TEXT_ROW * number, line, 9)
