"""Whether the network's outline of a nodule may be relied on, or should be edited first."""

from __future__ import annotations

from ..errors import InputWarning
from .input_checks import UNSURE_OUTLINE
from .outline import Outline
from .points import Point

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
