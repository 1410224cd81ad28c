"""Points with and without an outline that the user drew, graded in their order by one assessor. Any thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import NoduleRiskError
from ..imaging.points import Point
from ..imaging.volume import Volume
from ..slicer_scene.drawn_outlines import DrawnOutline
from ..slicer_scene.inputs import Mark

if TYPE_CHECKING:
    from ..results.assessment import Assessment


class NoduleAssessor(Protocol):
    """What the logic needs of ``NoduleRiskLib.assessor.Assessor``."""

    @property
    def device_name(self) -> str: ...

    def prepare(self, ct: Any) -> Any: ...

    def assess(
        self, ct: Any, points: Sequence[Point] = (), heatmaps: bool = True, outlines: Any = None
    ) -> Iterator[Assessment]: ...


@dataclass(frozen=True, eq=False)
class Outcome:
    """An assessment, and the fingerprint of the drawn outline at which it was made (empty: the network's)."""

    mark: Mark
    assessment: Assessment
    drawn: str = ""


def assess_each(
    assessor: NoduleAssessor,
    volume: Volume,
    marks: Sequence[Mark],
    drawn: Mapping[str, DrawnOutline],
    heatmaps: bool,
) -> Iterator[Outcome]:
    """Assess points, those with a drawn outline at that outline.

    Parameters
    ----------
    assessor : NoduleAssessor
    volume : Volume
    marks : sequence of Mark
    drawn : mapping of str to DrawnOutline
        By control point ID.
    heatmaps : bool

    Raises
    ------
    NoduleRiskError
        At once if the CT or a point is at fault; after all others, if an outline is.
    """
    from ..imaging.segment import Segment

    prepared = assessor.prepare(volume)
    alone = [mark.point for mark in marks if mark.id not in drawn]
    by_network = assessor.assess(prepared, alone, heatmaps) if alone else iter(())
    failed: NoduleRiskError | None = None
    for mark in marks:
        if mark.id not in drawn:
            yield Outcome(mark, next(by_network))
            continue
        voxels = drawn[mark.id].voxels
        # On its own: the assessor would give an outline to whichever of the points is nearest.
        segment = Segment(mark.point.label, voxels.mask)
        try:
            (assessment,) = assessor.assess(prepared, (), heatmaps, [segment])
        except NoduleRiskError as error:
            failed = failed or error
            continue
        yield Outcome(mark, replace(assessment, point=mark.point), voxels.place)
    if failed:
        raise failed
