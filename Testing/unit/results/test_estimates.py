"""What a reader would lose if a nodule had two diameters, or if intervals were another size's."""

from __future__ import annotations

import numpy as np
import pytest

from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.networks.manifest import Calibration
from NoduleRiskLib.results.estimates import estimates, suspicion_probability

CALIBRATION = Calibration(
    interval={name: ((-0.5, 0.5), (-1.0, 1.0)) for name in GRADE_NAMES},
    reference={grade.name: tuple(np.linspace(grade.low, grade.high, 101)) for grade in GRADES},
    suspicion=(-12.0, 4.0),
    strata_mm=(8.0,),
)
#: What graders might give; their diameter lies far from the measured one.
GRADED = [3.0] * 7 + [40.0, 3.0]


@pytest.mark.parametrize(("measured_mm", "interval"), [(7.0, 0.5), (20.0, 1.0), (1.5, 0.5), (75.0, 1.0)])
def test_the_diameter_is_the_measured_one_and_chooses_every_interval(measured_mm: float, interval: float) -> None:
    told = {one.grade.name: one for one in estimates(CALIBRATION, GRADED, measured_mm)}
    diameter, margin = told["diameter"], told["margin"]
    assert diameter.value == measured_mm, "not even moved onto the scale"
    assert (diameter.low, diameter.high) == pytest.approx((measured_mm / 2**interval, measured_mm * 2**interval))
    assert (margin.value, margin.low, margin.high) == (3.0, 3.0 - interval, 3.0 + interval)
    assert diameter.percentile == pytest.approx(np.clip((measured_mm - 2) / 58, 0, 1) * 100, abs=1)


def test_grades_and_their_intervals_stay_on_their_scales() -> None:
    for one in estimates(CALIBRATION, [-3.0] * 7 + [10.0, 9.0], 10.0):
        assert one.grade.low <= one.low <= one.value <= one.high <= one.grade.high


def test_suspicion_follows_malignancy_and_bears_any_number() -> None:
    assert suspicion_probability(CALIBRATION, GRADED) == pytest.approx(0.5)
    told = [suspicion_probability(CALIBRATION, [0.0] * 8 + [x]) for x in (-1e6, 2.0, 4.0, 1e6)]
    assert told == sorted(told) and told[0] >= 0 and told[-1] <= 1
