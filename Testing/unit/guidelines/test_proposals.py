"""What a reader would lose if what NoduleRisk fills in were another nodule's, or taken for the user's word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.guidelines import Axes, Inputs, from_header, graded, measured, told
from NoduleRiskLib.guidelines.proposals import proposed, with_header
from NoduleRiskLib.imaging.dicom_facts import DicomFacts
from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.results.nodule import Calcification, Estimate, Nodule

Make = Callable[..., Nodule]


@dataclass(frozen=True)
class Part:
    long_axis_mm: float
    short_axis_mm: float


@pytest.fixture(scope="module")
def nodule() -> Make:
    def make(presence: float = 0.1, suspicion: float = 0.5, **values: float) -> Nodule:
        outline = Outline(
            centre_ras=np.zeros(3),
            bounds_ras=np.zeros((2, 3)),
            probability=Volume(np.zeros((1, 1, 1), np.float32), np.eye(4)),
            diameter_mm=7.55,
            long_axis_mm=8.2,
            short_axis_mm=6.9,
            volume_mm3=210.4,
            slices=5,
        )
        estimates = tuple(Estimate(one, values.get(one.name, 3.0), 2.0, 4.0, 50.0) for one in GRADES)
        calcification = Calcification(presence, "central", 0.6)
        stack: Any = SimpleNamespace()
        return Nodule(outline, estimates, calcification, suspicion, stack)

    return make


def test_sizes_are_measured_and_signs_only_graded(nodule: Make) -> None:
    inputs = proposed(nodule(texture=4.8, spiculation=1.2))
    assert inputs.size.value == Axes(8.2, 6.9) and inputs.size.origin == "measured"
    assert inputs.volume_mm3.value == 210.4 and inputs.volume_mm3.origin == "measured"
    assert inputs.nodule_type.value == "solid" and inputs.nodule_type.origin == "graded"
    assert inputs.calcification.value == "absent" and inputs.calcification.origin == "graded"
    assert inputs.spiculation.value is False and inputs.spiculation.origin == "graded"
    assert inputs.solid_part.value is None
    known = {one for one in vars(inputs) if getattr(inputs, one).value is not None}
    assert known == {"size", "volume_mm3", "nodule_type", "calcification", "spiculation"}


@pytest.mark.parametrize(
    ("texture", "kind"),
    [(1.0, "non-solid"), (2.0, "non-solid"), (2.1, "part-solid"), (3.9, "part-solid"), (4.0, "solid"), (5.0, "solid")],
)
def test_the_type_follows_texture(nodule: Make, texture: float, kind: str) -> None:
    assert proposed(nodule(texture=texture)).nodule_type.value == kind


@pytest.mark.parametrize(("spiculation", "yes"), [(2.49, False), (2.5, True)])
def test_spiculation_is_proposed_from_medium_on(nodule: Make, spiculation: float, yes: bool) -> None:
    found = nodule(spiculation=spiculation)
    assert proposed(found).spiculation.value is yes
    # What is proposed and the word beside the grade say the same.
    assert (found.estimate("spiculation").word == "medium spiculation") is yes


def test_calcification_is_proposed_where_half_of_readers_would_see_it(nodule: Make) -> None:
    assert [proposed(nodule(presence=share)).calcification.value for share in (0.49, 0.5)] == ["absent", "central"]


def test_the_solid_part_is_measured(nodule: Make) -> None:
    inputs = proposed(nodule(texture=3.0), Part(4.1, 3.0))
    assert inputs.solid_part.value == Axes(4.1, 3.0) and inputs.solid_part.origin == "measured"


def test_a_solid_part_is_told_no_longer_than_its_nodule(nodule: Make) -> None:
    """Each is measured in the slice where it is widest."""
    assert proposed(nodule(texture=3.0), Part(8.9, 3.0)).solid_part.value == Axes(8.2, 3.0)


def test_suspicion_changes_nothing(nodule: Make) -> None:
    assert proposed(nodule(suspicion=0.01, malignancy=1.0)) == proposed(nodule(suspicion=0.99, malignancy=5.0))


def test_age_and_sex_come_from_the_header_and_the_users_word_stands_above_it() -> None:
    header = DicomFacts(64.0, "female")
    found = with_header(Inputs(), header)
    assert (found.age.value, found.sex.value) == (64.0, "female")
    assert found.age.origin == found.sex.origin == "DICOM header"
    said = with_header(Inputs(age=told(70.0), sex=told("male")), header)
    assert (said.age.value, said.sex.value) == (70.0, "male")


@pytest.mark.parametrize("header", [None, DicomFacts()])
def test_what_the_header_does_not_say_stays_unknown(header: DicomFacts | None) -> None:
    assert with_header(Inputs(), header) == Inputs()


def test_confirming_is_one_replacement() -> None:
    inputs = Inputs(nodule_type=graded("solid"), size=measured(Axes(8, 6)), age=from_header(64.0))
    assert replace(inputs, nodule_type=told("solid")).nodule_type.origin == "user"
