"""The solid part of a part-solid nodule, and what is measured on it."""

from __future__ import annotations

from dataclasses import dataclass

from .outline import Outline
from .volume import Volume


@dataclass(frozen=True)
class SolidPart:
    """What is measured on a nodule's solid part.

    Attributes
    ----------
    diameter_mm : float
        Mean of long and short axis.
    long_axis_mm, short_axis_mm : float
    volume_mm3 : float
    """

    diameter_mm: float
    long_axis_mm: float
    short_axis_mm: float
    volume_mm3: float


def solid_part(volume: Volume, outline: Outline) -> SolidPart | None:
    """Measure the solid part of the nodule with this outline; ``None``: nothing in it is solid."""
    return None
