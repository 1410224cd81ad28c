"""What would break a nodule's history: another tracking UID on the next CT, or growth told of another nodule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from NoduleRiskLib.dicom.following import followed_on, growth_of
from NoduleRiskLib.dicom.identity import trackings
from NoduleRiskLib.dicom.source import source_of
from NoduleRiskLib.dicom.writing import dicom_objects
from NoduleRiskLib.followup.comparison import Examination, FollowedNodule
from NoduleRiskLib.followup.growth import Size, growth
from NoduleRiskLib.imaging.volume import Array, Volume
from Testing.unit.dicom.made_series import found_in


def test_a_nodule_keeps_its_tracking_uid_through_three_cts(
    ct: Volume, series: object, frames: dict[str, Array]
) -> None:
    later, last = (series(frames["flip--+"]) for _ in range(2))  # type: ignore[operator]
    first, second, third = (Examination(one, (found_in(one),)) for one in (ct, later, last))
    other = found_in(later, "new", 3.0, np.array([8.0, 0, 0]))
    second = replace(second, assessments=(other, *second.assessments))
    told = growth(Size(8, 8, 8, 250), Size(10, 10, 10, 520), 120)
    places = {"prior": (0.0, 0.0, 0.0), "current": (0.0, 0.0, 0.0)}
    nodules = [
        FollowedNodule("nodule 1", first.assessments[0], second.assessments[1], "", places, told),
        FollowedNodule("new", None, other, "", places, None),
    ]
    carried = followed_on(first, second, nodules)
    (uid,) = (one.uid for one in trackings(source_of(ct), first.assessments))
    assert [one.tracking_uid for one in carried] == ["", uid]
    assert growth_of(second, nodules) == [None, told]
    again = FollowedNodule("nodule 1", carried[1], third.assessments[0], "", places, told)
    (kept,) = followed_on(replace(second, assessments=tuple(carried)), third, [again])
    assert kept.tracking_uid == uid != trackings(source_of(last), third.assessments)[0].uid
    report = dicom_objects(last, [kept], growth=[told])[-1]
    assert uid in str(report) and "2.25." in uid


def test_a_ct_that_is_not_from_dicom_hands_nothing_on(ct: Volume) -> None:
    first, second = Examination(replace(ct, dicom=None), (found_in(ct),)), Examination(ct, (found_in(ct),))
    places = {"prior": (0.0, 0.0, 0.0), "current": (0.0, 0.0, 0.0)}
    one = FollowedNodule("nodule 1", first.assessments[0], second.assessments[0], "", places, None)
    assert followed_on(first, second, [one]) == list(second.assessments)
