"""Points that a hand put on nodules: a name and a place in RAS millimetres, and the files that hold them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A named position.

    Attributes
    ----------
    label : str
    ras : tuple of float
        R, A and S in mm.
    """

    label: str
    ras: tuple[float, float, float]
