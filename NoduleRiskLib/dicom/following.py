"""Nodules that keep their tracking UID from one CT of a patient to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import NoduleRiskError
from ..followup.comparison import Examination, FollowedNodule
from ..guidelines.management import Grown
from ..results.assessment import Assessment
from .identity import trackings
from .source import source_of


def followed_on(prior: Examination, current: Examination, nodules: Sequence[FollowedNodule]) -> list[Assessment]:
    """The later CT's assessments, each nodule with the tracking UID that the earlier CT's report gave it.

    Where the earlier CT is not from DICOM, or did not have the nodule marked, there is none to take over.
    """
    try:
        kept = trackings(source_of(prior.volume), prior.assessments)
    except NoduleRiskError:
        return list(current.assessments)
    known = {id(one): of.uid for one, of in zip(prior.assessments, kept, strict=True)}
    uids = {id(one.current): known.get(id(one.prior), "") for one in nodules if one.current and one.prior}
    return [replace(one, tracking_uid=uid) if (uid := uids.get(id(one), "")) else one for one in current.assessments]


def growth_of(current: Examination, nodules: Sequence[FollowedNodule]) -> list[Grown | None]:
    """For each of the later CT's assessments what became of its nodule."""
    grown = {id(one.current): one.growth for one in nodules if one.current}
    return [grown.get(id(one)) for one in current.assessments]
