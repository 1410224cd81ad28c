"""Growth between two examinations: how much larger, and in how many days the volume doubles."""

from __future__ import annotations

import math


def doubling_time_days(before: float, after: float, days: float, dimensions: int = 3) -> float | None:
    """Days in which the volume doubles, if it goes on growing exponentially; ``None`` if it did not grow.

    Parameters
    ----------
    before, after : float
        Volumes (mm3), or diameters (mm) with ``dimensions=1``.
    days : float
        Between the two.
    dimensions : 3 or 1
        3 for volumes; of diameters a volume's growth is the third power.

    Examples
    --------
    >>> round(doubling_time_days(6, 8, 90, dimensions=1))
    72
    """
    growth = math.log(after / before) * 3 / dimensions
    return math.log(2) * days / growth if growth > 0 else None


def change_percent(before: float, after: float) -> float:
    """How much larger (above 0) or smaller a volume became, in percent."""
    return 100 * (after / before - 1)
