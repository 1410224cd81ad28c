"""What a reader would lose if a nodule had two diameters, or if intervals were another size's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from NoduleRiskLib.grades import GRADE_NAMES, GRADES, OTHER_GRADES
from NoduleRiskLib.networks.manifest import AccountFit, Calibration, TermFit
from NoduleRiskLib.results.estimates import account, estimates, suspicion_probability
from NoduleRiskLib.results.nodule import Calcification

CALIBRATION = Calibration(
    interval={name: ((-0.5, 0.5), (-1.0, 1.0)) for name in GRADE_NAMES},
    reference={grade.name: tuple(np.linspace(grade.low, grade.high, 101)) for grade in GRADES},
    suspicion=(-12.0, 4.0),
    strata_mm=(8.0,),
    account=AccountFit(-1.0, {grade.name: TermFit(2.0, 0.5, 0.25) for grade in OTHER_GRADES}),
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


def test_an_account_adds_up_and_is_of_the_very_values_that_are_shown() -> None:
    told = estimates(CALIBRATION, [9.0, *GRADED[1:]], 8.0)
    one = account(CALIBRATION, told, Calcification(0.9, "central", 0.6))
    assert one is not None
    terms = {term.grade.name: term for term in one.terms}
    assert list(terms) == [grade.name for grade in OTHER_GRADES]
    # Subtlety is shown clipped, the measured diameter counts as log2, of calcification the presence and not its code.
    assert (terms["subtlety"].value, terms["subtlety"].adds) == (5.0, pytest.approx(0.25 * 3 / 0.5))
    assert (terms["diameter"].value, terms["diameter"].adds) == (8.0, pytest.approx(0.25 * (3 - 2) / 0.5))
    assert (terms["calcification"].value, terms["calcification"].adds) == (0.9, pytest.approx(0.25 * (0.9 - 2) / 0.5))
    total = one.intercept + sum(term.adds for term in one.terms)
    assert np.log(one.probability / (1 - one.probability)) == pytest.approx(total)
    assert one.average == pytest.approx(1 / (1 + np.e))


def test_the_average_nodule_has_nothing_to_account_for_and_extremes_stay_probabilities() -> None:
    values = [2.0] * 9
    one = account(CALIBRATION, estimates(CALIBRATION, values, 4.0), Calcification(1.0, "central", 0.6))
    assert one is not None
    rest = [term.adds for term in one.terms if term.grade.name != "calcification"]
    assert rest == pytest.approx([0.0] * 7)
    steep = AccountFit(-100.0, {grade.name: TermFit(1000.0, 0.001, -100.0) for grade in OTHER_GRADES})
    far = account(
        replace(CALIBRATION, account=steep), estimates(CALIBRATION, values, 4.0), Calcification(1, "solid", 1)
    )
    assert far is not None and far.probability == 1 and far.average < 1e-40


def test_a_package_without_an_account_gives_none() -> None:
    silent = replace(CALIBRATION, account=None)
    assert account(silent, estimates(silent, GRADED, 8.0), Calcification(0.9, "central", 0.6)) is None
