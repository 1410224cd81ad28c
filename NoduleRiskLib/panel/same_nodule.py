"""Which points of a list lie on one nodule, which then counts twice, whenever each of them was assessed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..imaging.points import Point
from ..imaging.volume import Volume
from ..slicer_scene import inputs, results
from ..slicer_scene.inputs import Node
from ..slicer_scene.records import MOVED_MM, restored
from .view_state import ASSESSED, ListedNodule

if TYPE_CHECKING:
    from ..imaging.outline import Outline
    from ..results.assessment import Assessment

#: As ``input_checks.check_repetition`` says it of the points of one call.
SAME_NODULE = "{first} and {second} lie on the same nodule: remove one of them, or it counts twice."


@dataclass(frozen=True, eq=False)
class StoredOutline:
    """What the scene keeps of another point, to be read on any thread."""

    point_id: str
    values: dict[str, Any]
    maps: dict[str, Volume]


def stored_outlines(table: Node, points: Node, without: Iterable[str]) -> list[StoredOutline]:
    """What the scene keeps of the points of a list but those without; for ``Outlines``."""
    left_out, rows = set(without), results.rows(table)
    found = []
    for mark in inputs.marks(points):
        row = rows.get(mark.id)
        kept = results.kept(table, mark.id) if row and row.found and mark.id not in left_out else None
        if kept:
            found.append(StoredOutline(mark.id, *kept))
    return found


class Outlines:
    """The outlines of a list's points on one CT, against which new ones are compared.

    Parameters
    ----------
    stored : sequence of StoredOutline
        Those of another CT, by its digest, are not looked at.
    digest : str
        ``Volume.digest`` of the CT.
    """

    def __init__(self, stored: Sequence[StoredOutline], digest: str) -> None:
        self._known: list[tuple[str, Point, Outline]] = []
        self._of_call: list[tuple[str, Point, Outline]] = []
        for one in stored:
            held = restored(one.values, one.maps) if one.values["ct_digest"] == digest else None
            if held and held.nodule:
                self._known.append((one.point_id, held.point, held.nodule.outline))

    def compare(
        self, point_id: str, assessment: Assessment
    ) -> tuple[Assessment, dict[str, tuple[float, float, float]]]:
        """Compare a new assessment's outline with all before it.

        Returns
        -------
        assessment : Assessment
            Without the assessor's own sentence, which would outlive the other point.
        twins : dict of str to (r, a, s)
            Control point IDs of those on the same nodule, and where they were.
        """
        if assessment.nodule is None:
            return assessment, {}
        point, outline = assessment.point, assessment.nodule.outline
        of_call = _same(outline, self._of_call)
        twins = {other_id: other.ras for other_id, other, _ in [*_same(outline, self._known), *of_call]}
        self._of_call.append((point_id, point, outline))
        said = {SAME_NODULE.format(first=other.label, second=point.label) for _, other, _ in of_call}
        warnings = tuple(warning for warning in assessment.warnings if warning.text not in said)
        return replace(assessment, warnings=warnings), twins


def _same(outline: Outline, others: Sequence[tuple[str, Point, Outline]]) -> list[tuple[str, Point, Outline]]:
    from ..imaging.outline import same_nodule

    return [
        other
        for other in others
        # Cheap, and it spares most of the comparisons: no centre lies in an outline that does not reach it.
        if math.dist(outline.centre_ras, other[2].centre_ras) <= max(_reach_mm(outline), _reach_mm(other[2]))
        and same_nodule(outline, other[2])
    ]


def _reach_mm(outline: Outline) -> float:
    """No pixel of an outline lies further from its centre."""
    low, high = outline.bounds_ras
    return math.dist(low, high) + 1.0


def with_twins(nodules: Sequence[ListedNodule]) -> list[ListedNodule]:
    """The same nodules; those on one nodule, as far as their assessments still hold, say so, each in its row."""
    places = {one.mark.id: n for n, one in enumerate(nodules) if one.row and one.state == ASSESSED}
    first_twin: dict[int, int] = {}
    for n in places.values():
        for other in _valid(nodules, places, n):
            for one, two in ((n, other), (other, n)):
                first_twin[one] = min(two, first_twin.get(one, two))
    found = list(nodules)
    for n, other in first_twin.items():
        first, second = (nodules[at].mark.point.label for at in sorted((n, other)))
        found[n] = replace(found[n], repeated=SAME_NODULE.format(first=first, second=second))
    return found


def _valid(nodules: Sequence[ListedNodule], places: Mapping[str, int], n: int) -> list[int]:
    """Rows of a nodule's twins that were not moved since."""
    row = nodules[n].row
    found = []
    for point_id, ras in row.twins if row else ():
        other = places.get(point_id)
        if other is not None and math.dist(nodules[other].mark.point.ras, ras) < MOVED_MM:
            found.append(other)
    return found
