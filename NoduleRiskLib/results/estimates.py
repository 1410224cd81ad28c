"""From what the graders give to what is shown: measured diameter, intervals, percentiles, suspicion and its account."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..grades import GRADE_NAMES, GRADES, OTHER_GRADES, Grade
from .nodule import Account, Calcification, Estimate, Term, probability

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
    return probability(intercept + slope * graded[GRADE_NAMES.index("malignancy")])


def account(calibration: Calibration, told: Sequence[Estimate], calcification: Calcification) -> Account | None:
    """What each grade that is shown adds to the suspicion; ``None`` if the model package has no account."""
    fit = calibration.account
    if fit is None:
        return None
    # The codes of calcification are names: of it the presence counts.
    values = {one.grade.name: one.value for one in told} | {"calcification": calcification.presence}
    terms = []
    for grade in OTHER_GRADES:
        one, value = fit.terms[grade.name], values[grade.name]
        scaled = math.log2(value) if grade.logarithmic else value
        terms.append(Term(grade, value, one.coefficient * (scaled - one.mean) / one.deviation))
    return Account(fit.intercept, tuple(terms))


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
