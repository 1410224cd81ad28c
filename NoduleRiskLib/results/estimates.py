"""From what the graders give to what is shown: the measured diameter, intervals, percentiles, suspicion probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..grades import GRADE_NAMES, GRADES, Grade
from .nodule import Estimate

if TYPE_CHECKING:
    from ..networks.manifest import Calibration


def estimates(calibration: Calibration, graded: Sequence[float], diameter_mm: float) -> tuple[Estimate, ...]:
    """The estimates that are shown, in the order of ``GRADES``.

    Parameters
    ----------
    calibration : Calibration
    graded : sequence of float
        What the graders give, grade units, in the order of ``GRADES``. Their diameter is not shown.
    diameter_mm : float
        Measured on the outline: the one diameter of the nodule, and what its intervals are chosen by.
    """
    values = {grade.name: grade.clip(value) for grade, value in zip(GRADES, graded, strict=True)}
    # What was measured is no guess on a scale: it may lie beyond its ends.
    values["diameter"] = diameter_mm
    return tuple(_estimate(calibration, grade, values[grade.name], diameter_mm) for grade in GRADES)


def suspicion_probability(calibration: Calibration, graded: Sequence[float]) -> float:
    """Chance (0 to 1) that at least half of LIDC's readers give malignancy 4 or 5; parameters as of ``estimates``."""
    intercept, slope = calibration.suspicion
    x = intercept + slope * graded[GRADE_NAMES.index("malignancy")]
    # Beyond that a double is 0 or 1 anyway, and exp would overflow.
    return 1 / (1 + math.exp(-min(max(x, -700.0), 700.0)))


def _estimate(calibration: Calibration, grade: Grade, value: float, diameter_mm: float) -> Estimate:
    low, high = calibration.interval_at(grade.name, diameter_mm)
    if grade.logarithmic:
        ends = (value * 2**low, value * 2**high)
    else:
        ends = (grade.clip(value + low), grade.clip(value + high))
    levels = calibration.reference[grade.name]
    # Many nodules share one grade: their middle stands for them.
    rank = np.mean([np.searchsorted(levels, value, side) for side in ("left", "right")])
    return Estimate(grade, value, *ends, float(100 * rank / len(levels)))
