"""The way in: two examinations with their assessments go in, what became of each nodule comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from ..errors import InputWarning, NoduleRiskError
from ..imaging.outline import same_nodule
from ..imaging.points import Point
from ..imaging.volume import Array, Volume
from ..results.assessment import Assessment, Nodule
from .alignment import Alignment, align
from .differences import differences, refuse_same
from .growth import Growth, Size, growth
from .matching import Match, match
from .surroundings import found_again

#: What is outlined at a nodule's place in the other CT is that nodule if its middle lies no further off than this, mm.
AT_PLACE_MM = 5.0
UNALIGNED = "lungs do not fit"

Assess = Callable[[Volume, Sequence[Point]], Sequence[Assessment]]


@dataclass(frozen=True, eq=False)
class Examination:
    """One CT of a patient with what was assessed on it.

    Attributes
    ----------
    volume : Volume
        HU.
    assessments : tuple of Assessment
        Those without a nodule are passed over.
    acquired : date or None
        The day of the scan; ``None`` takes what the DICOM header says.
    """

    volume: Volume
    assessments: tuple[Assessment, ...] = ()
    acquired: date | None = None

    @property
    def day(self) -> date | None:
        """The day of the scan, if anybody knows it."""
        return self.acquired or self.volume.acquired


@dataclass(frozen=True, eq=False)
class FollowedNodule:
    """One nodule through both examinations.

    Attributes
    ----------
    label : str
        What the later examination calls it, or the earlier one if it is gone.
    prior, current : Assessment or None
        ``None`` where there is no such nodule.
    located : "prior", "current" or ""
        Where nobody marked it, and the networks found it at the mapped place.
    place_ras : dict of str to tuple of float
        Where it lies, or would lie, in both CTs, RAS mm, under "prior" and "current".
    growth : Growth or None
        ``None`` where the other CT does not show its place.
    warnings : tuple of InputWarning
        What is doubtful about the comparison.
    """

    label: str
    prior: Assessment | None
    current: Assessment | None
    located: Literal["prior", "current", ""]
    place_ras: dict[str, tuple[float, float, float]]
    growth: Growth | None
    warnings: tuple[InputWarning, ...] = ()

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is doubtful about the comparison, in a few words each."""
        return tuple(dict.fromkeys(one.doubt for one in self.warnings if one.doubt))

    @property
    def sentence(self) -> str:
        """What became of it."""
        if self.growth is not None:
            return self.growth.sentence
        return f"Its place lies outside the {'earlier' if self.prior is None else 'later'} CT: nothing can be said."


@dataclass(frozen=True, eq=False)
class FollowUp:
    """Two examinations compared.

    Attributes
    ----------
    alignment : Alignment
    nodules : tuple of FollowedNodule
        In the order of the later examination, then those that are gone.
    days : float or None
    prior_date, current_date : date or None
    warnings : tuple of str
        What holds for the whole comparison, one sentence each.
    """

    alignment: Alignment
    nodules: tuple[FollowedNodule, ...]
    days: float | None
    prior_date: date | None
    current_date: date | None
    warnings: tuple[str, ...]


def follow_up(
    prior: Examination,
    current: Examination,
    assess: Assess,
    *,
    days: float | None = None,
    pairs: Mapping[str, str] | None = None,
    done: Callable[[str], Any] = lambda step: None,
) -> FollowUp:
    """What became of each nodule between two examinations of one patient.

    Lungs are aligned, nodules of both examinations matched, and those without a partner looked for at the mapped place
    by ``assess``: what is outlined there counts only if nothing about it is doubtful and it lies at that place.

    Parameters
    ----------
    prior, current : Examination
    assess : callable
        Takes a CT and points on it and gives one assessment for each: ``Assessor.assess``, for example.
    days : float, optional
        Between both examinations, instead of what their dates say.
    pairs : mapping of str to str, optional
        What the user says of a label of the later examination: its label in the earlier one, or "" for none.
    done : callable
        Called with a few words after each step.

    Raises
    ------
    NoduleRiskError
        If both are the same CT, the later one is the earlier by its date, or ``days`` or ``pairs`` make no sense.
    """
    refuse_same(prior.volume, current.volume)
    days, warnings = _days(prior.day, current.day, days)
    alignment = align(prior.volume, current.volume)
    done("aligned")
    if np.isnan(alignment.overlap):
        warnings.append("No lungs can be told in one of the CTs: places are compared as the scanners gave them.")
    elif not alignment.sure:
        warnings.append(
            f"The lungs of the two CTs do not fit on each other (overlap {alignment.overlap:.2f}): check each match, "
            "and whether both CTs are of one patient."
        )
    warnings += differences(prior.volume, current.volume)
    before, after = (
        [one for one in examination.assessments if one.nodule is not None] for examination in (prior, current)
    )
    compare = _Comparison(prior, current, alignment, days, assess)
    moved = [compare.elsewhere("prior", one) for one in before]
    matches = match(
        np.array(moved).reshape(-1, 3),
        np.array([_nodule(one).outline.centre_ras for one in after]).reshape(-1, 3),
        [_nodule(one).outline.volume_mm3 for one in before],
        [_nodule(one).outline.volume_mm3 for one in after],
        _given(pairs or {}, before, after),
    )
    done("matched")
    partner = {one.current: one for one in matches}
    nodules = []
    for number, one in enumerate(after):
        if number in partner:
            nodules.append(compare.both(before[partner[number].prior], one, partner[number]))
        else:
            taken = [before[other.prior] for other in matches]
            nodules.append(compare.alone("current", one, taken))
        done(one.point.label)
    matched = {one.prior for one in matches}
    for number, one in enumerate(before):
        if number not in matched:
            nodules.append(compare.alone("prior", one, after))
            done(one.point.label)
    return FollowUp(alignment, tuple(nodules), days, prior.day, current.day, tuple(warnings))


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Both examinations while their nodules are compared."""

    prior: Examination
    current: Examination
    alignment: Alignment
    days: float | None
    assess: Assess

    def both(self, prior: Assessment, current: Assessment, found: Match | None, located: Any = "") -> FollowedNodule:
        """A nodule that both examinations show."""
        label = prior.point.label if located == "current" else current.point.label
        sizes = Size.of(self.prior.volume, _nodule(prior)), Size.of(self.current.volume, _nodule(current))
        warnings = self._common(label)
        if found is not None and found.doubt:
            text = f"{label} may be another nodule than {prior.point.label} of the earlier CT ({found.doubt})."
            warnings.append(InputWarning(text, "nodule", f"same nodule? ({found.doubt})"))
        for name, size, one in zip(("earlier", "later"), sizes, (prior, current), strict=True):
            if size.unsure or one.doubts:
                why = ", ".join(one.doubts) or "outline unsure"
                text = f"On the {name} CT {label} is doubtful ({why}): so is its growth."
                warnings.append(InputWarning(text, "nodule", f"{name} CT: {why}"))
        places = {"prior": _centre(prior), "current": _centre(current)}
        return FollowedNodule(label, prior, current, located, places, self._growth(*sizes), tuple(warnings))

    def alone(self, where: Literal["prior", "current"], one: Assessment, taken: Sequence[Assessment]) -> FollowedNodule:
        """A nodule that only one examination has so far: looked for in the other, but not among those ``taken``."""
        other = self.prior if where == "current" else self.current
        place = self.elsewhere(where, one)
        r, a, s = place.tolist()
        if other.volume.contains(place):
            (found,) = self.assess(other.volume, [Point(one.point.label, (r, a, s))])
            if _is_there(found, place, taken):
                prior, current = (found, one) if where == "current" else (one, found)
                # Of a nodule that grew very much, or a vessel that lies where one is new, only the user can tell which.
                (again,) = match(
                    place[None],
                    _nodule(found).outline.centre_ras[None],
                    [_nodule(one).outline.volume_mm3],
                    [_nodule(found).outline.volume_mm3],
                ) or (None,)
                if again is not None:
                    return self.both(prior, current, again, "prior" if where == "current" else "current")
        size = Size.of((self.current if where == "current" else self.prior).volume, _nodule(one))
        told = None
        if other.volume.contains(place):
            told = self._growth(None, size) if where == "current" else self._growth(size, None)
        prior_, current_ = (None, one) if where == "current" else (one, None)
        places = {where: _centre(one), "prior" if where == "current" else "current": (r, a, s)}
        warnings = self._common(one.point.label)
        return FollowedNodule(one.point.label, prior_, current_, "", places, told, tuple(warnings))

    def elsewhere(self, where: Literal["prior", "current"], one: Assessment) -> Array:
        """Where a nodule of one examination lies in the other one, RAS mm."""
        source, target = (self.prior, self.current) if where == "prior" else (self.current, self.prior)
        matrix = self.alignment.prior_to_current if where == "prior" else self.alignment.current_to_prior
        outline = _nodule(one).outline
        return found_again(source.volume, outline.centre_ras, outline.diameter_mm, target.volume, matrix)

    def _common(self, label: str) -> list[InputWarning]:
        if self.alignment.sure or np.isnan(self.alignment.overlap):
            return []
        text = f"The lungs do not fit on each other: whether {label} is one nodule in both CTs is not sure."
        return [InputWarning(text, "nodule", UNALIGNED)]

    def _growth(self, before: Size | None, after: Size | None) -> Growth:
        return growth(before, after, self.days, self.prior.day, self.current.day)


def _is_there(found: Assessment, place: Array, taken: Sequence[Assessment]) -> bool:
    """Whether what was outlined at a mapped place is a nodule of its own, at that place."""
    if found.nodule is None or found.doubts or found.nodule.outline.unsure:
        return False
    outline = found.nodule.outline
    if np.linalg.norm(outline.centre_ras - place) > AT_PLACE_MM:
        return False
    return not any(same_nodule(outline, _nodule(one).outline) for one in taken)


def _nodule(assessment: Assessment) -> Nodule:
    assert assessment.nodule is not None
    return assessment.nodule


def _centre(assessment: Assessment) -> tuple[float, float, float]:
    r, a, s = _nodule(assessment).outline.centre_ras.tolist()
    return r, a, s


def _days(before: date | None, after: date | None, told: float | None) -> tuple[float | None, list[str]]:
    """The days between two examinations, and what is to be said about them."""
    if told is not None:
        if not 0 < told < 36525:
            raise NoduleRiskError(
                f"{told:g} days cannot lie between two CTs: give the days from the earlier to the later."
            )
        return told, []
    if before is None or after is None:
        return None, ["How many days lie between the CTs is not known: say so, and doubling times are told."]
    if after <= before:
        raise NoduleRiskError(
            f"The later CT ({after.isoformat()}) was not made after the earlier one ({before.isoformat()}): exchange "
            "them, or say how many days lie between them."
        )
    return float((after - before).days), []


def _given(pairs: Mapping[str, str], before: list[Assessment], after: list[Assessment]) -> dict[int, int | None]:
    """The user's pairs of labels as numbers."""
    numbers: dict[int, int | None] = {}
    names = [[one.point.label for one in some] for some in (before, after)]
    for now, was in pairs.items():
        for name, known, which in ((now, names[1], "later"), (was, names[0], "earlier")):
            if name and known.count(name) != 1:
                raise NoduleRiskError(
                    f"The {which} CT has not exactly one nodule called {name!r}: pair nodules by their names."
                )
        numbers[names[1].index(now)] = names[0].index(was) if was else None
    used = [one for one in numbers.values() if one is not None]
    if len(set(used)) < len(used):
        raise NoduleRiskError("Two nodules of the later CT cannot be the same one of the earlier CT: pair each once.")
    return numbers
