"""Whether the outline of a nodule may be relied on, or should be edited first."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..errors import InputWarning
from .input_checks import SEVERAL_PARTS, UNSURE_OUTLINE
from .outline import Outline
from .points import Point
from .volume import Array, Volume

#: An outline whose diameter differs by more than this factor from the one that the graders read off the slices is
#: unsure (issue 16: 25 %).
SAME_SIZE = 1.25


def check_sureness(point: Point, outline: Outline, guessed_mm: float) -> tuple[InputWarning, ...]:
    """Whether the outline is unsure; one that the user drew never is.

    Parameters
    ----------
    point : Point
    outline : Outline
    guessed_mm : float
        The diameter that the graders expect readers to measure, mm. It is shown nowhere: sizes are the outline's.
    """
    if outline.drawn_by == "user":
        return ()
    if outline.unsure:
        why = f"The outline under {point.label} is unsure: edit it"
    elif guessed_mm > SAME_SIZE * outline.diameter_mm:
        why = f"The nodule under {point.label} looks larger than its outline: edit the outline"
    elif outline.diameter_mm > SAME_SIZE * guessed_mm:
        why = f"The nodule under {point.label} looks smaller than its outline: edit the outline"
    else:
        return ()
    return (InputWarning(f"{why} before you rely on sizes and grades.", "nodule", UNSURE_OUTLINE),)


def check_parts(point: Point, drawn: Volume) -> tuple[InputWarning, ...]:
    """Whether what the user drew as one nodule lies apart in parts that change its size: several nodules, or gaps.

    Parameters
    ----------
    point : Point
    drawn : Volume
        1 inside, on the user's own grid.
    """
    # Parts that meet at a corner hang together.
    parts, count = ndimage.label(drawn.array, np.ones((3, 3, 3)))
    if count < 2:
        return ()
    kji = np.argwhere(drawn.array)
    largest = kji[parts[tuple(kji.T)] == np.bincount(parts[parts > 0]).argmax()]
    grown = _diagonal_mm(kji, drawn) / _diagonal_mm(largest, drawn)
    if max(grown, len(kji) / len(largest)) <= SAME_SIZE:
        return ()
    text = (
        f"The outline of {point.label} lies in {count} parts, which are measured and graded as one: make a segment of "
        "each nodule (Segment Editor, Islands), fill gaps, or erase what is none."
    )
    return (InputWarning(text, "nodule", SEVERAL_PARTS),)


def _diagonal_mm(kji: Array, drawn: Volume) -> float:
    """From corner to corner of the box around some voxels, mm."""
    return float(np.linalg.norm((np.ptp(kji, axis=0)[::-1] + 1) * drawn.spacing_mm))
