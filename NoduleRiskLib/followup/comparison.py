"""The way in: two examinations with their assessments go in, what became of each nodule comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np

from ..errors import InputWarning, NoduleRiskError
from ..imaging.outline import INSIDE, same_nodule
from ..imaging.points import Point
from ..imaging.resampling import sample
from ..imaging.volume import Array, Volume
from ..results.assessment import Assessment, Nodule
from .alignment import Alignment, align
from .core import core_ras, within
from .differences import differences, refuse_same
from .growth import Growth, Size, growth
from .matching import Match, match
from .surroundings import found_again

#: What is outlined at a nodule's place in the other CT has to do with it if its core lies no further off than this, mm.
AT_PLACE_MM = 5.0
#: So much of the smaller outline lies within the larger one, core on core. Of 187 synthetic nodules on two CTs
#: all but one have .87 or more, and the one whose outlines ran on into vessels .65 (``docs/followup.md``).
ONE_SHAPE = 0.75
UNALIGNED, BESIDE, OTHER_SHAPE = "lungs do not fit", "something beside its place", "outlines of different shape"

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
    by ``assess``: what is outlined there counts only if nothing about it is doubtful and it holds that place.

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
    told = _given(pairs or {}, before, after)
    moved = [compare.elsewhere("prior", one) for one in before]
    matches = match(
        np.array(moved).reshape(-1, 3),
        np.array([core_ras(_nodule(one).outline) for one in after]).reshape(-1, 3),
        [_nodule(one).outline.volume_mm3 for one in before],
        [_nodule(one).outline.volume_mm3 for one in after],
        told,
    )
    done("matched")
    partner = {one.current: one for one in matches}
    nodules = []
    for number, one in enumerate(after):
        if number in partner:
            nodules.append(compare.both(before[partner[number].prior], one, partner[number]))
        else:
            taken = [before[other.prior] for other in matches]
            # Where the user says that it has no partner, none is looked for.
            nodules.append(compare.alone("current", one, taken, look=number not in told))
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
        if within(_nodule(prior).outline, _nodule(current).outline) < ONE_SHAPE:
            text = f"The outlines of {label} differ in shape: look whether one of them runs on into a vessel."
            warnings.append(InputWarning(text, "nodule", OTHER_SHAPE))
        places = {"prior": _place(prior), "current": _place(current)}
        return FollowedNodule(label, prior, current, located, places, self._growth(*sizes), tuple(warnings))

    def alone(
        self, where: Literal["prior", "current"], one: Assessment, taken: Sequence[Assessment], look: bool = True
    ) -> FollowedNodule:
        """A nodule that only one examination has so far: looked for in the other, but not among those ``taken``."""
        other = self.prior if where == "current" else self.current
        place, label = self.elsewhere(where, one), one.point.label
        r, a, s = place.tolist()
        shown, warnings = bool(other.volume.contains(place)), self._common(label)
        if shown and look:
            (found,) = self.assess(other.volume, [Point(label, (r, a, s))])
            off = _off_mm(found, place, taken)
            if off is not None and _holds(found, place):
                prior, current = (found, one) if where == "current" else (one, found)
                # Of a nodule that grew very much, or a vessel that lies where one is new, only the user can tell which.
                mine, other_ = _nodule(one).outline.volume_mm3, _nodule(found).outline.volume_mm3
                (again,) = match(place[None], core_ras(_nodule(found).outline)[None], [mine], [other_])
                return self.both(prior, current, again, "prior" if where == "current" else "current")
            if off is not None:
                text = (
                    f"On the {'earlier' if where == 'current' else 'later'} CT something of "
                    f"{_nodule(found).outline.volume_mm3:,.0f} mm³ lies {off:.0f} mm from the place of {label}: look "
                    "whether it is the same nodule."
                )
                warnings.append(InputWarning(text, "nodule", BESIDE))
        told = None
        if shown:
            size = Size.of((self.current if where == "current" else self.prior).volume, _nodule(one))
            told = self._growth(None, size) if where == "current" else self._growth(size, None)
        prior_, current_ = (None, one) if where == "current" else (one, None)
        places = {where: _place(one), "prior" if where == "current" else "current": (r, a, s)}
        return FollowedNodule(label, prior_, current_, "", places, told, tuple(warnings))

    def elsewhere(self, where: Literal["prior", "current"], one: Assessment) -> Array:
        """Where a nodule of one examination lies in the other one, RAS mm."""
        source, target = (self.prior, self.current) if where == "prior" else (self.current, self.prior)
        matrix = self.alignment.prior_to_current if where == "prior" else self.alignment.current_to_prior
        outline = _nodule(one).outline
        return found_again(source.volume, core_ras(outline), outline.diameter_mm, target.volume, matrix)

    def _common(self, label: str) -> list[InputWarning]:
        if self.alignment.sure or np.isnan(self.alignment.overlap):
            return []
        text = f"The lungs do not fit on each other: whether {label} is one nodule in both CTs is not sure."
        return [InputWarning(text, "nodule", UNALIGNED)]

    def _growth(self, before: Size | None, after: Size | None) -> Growth:
        return growth(before, after, self.days, self.prior.day, self.current.day)


def _off_mm(found: Assessment, place: Array, taken: Sequence[Assessment]) -> float | None:
    """How far from a mapped place what was outlined there lies; ``None`` if it is too far, or no nodule of its own."""
    if found.nodule is None or found.doubts or found.nodule.outline.unsure:
        return None
    outline = found.nodule.outline
    off = float(np.linalg.norm(core_ras(outline) - place))
    if off > AT_PLACE_MM or any(same_nodule(outline, _nodule(one).outline) for one in taken):
        return None
    return off


def _holds(found: Assessment, place: Array) -> bool:
    """Whether a mapped place lies within what was outlined there: beside it lie vessels."""
    return float(sample(_nodule(found).outline.probability, place[None], outside=0.0)[0]) > INSIDE


def _nodule(assessment: Assessment) -> Nodule:
    assert assessment.nodule is not None
    return assessment.nodule


def _place(assessment: Assessment) -> tuple[float, float, float]:
    r, a, s = core_ras(_nodule(assessment).outline).tolist()
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
