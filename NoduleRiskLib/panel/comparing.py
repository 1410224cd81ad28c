"""An earlier CT compared with the assessed one: nodes read here, all work on the worker's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from ..errors import NoduleRiskError
from ..imaging.points import Point
from ..imaging.volume import Volume
from ..results.phrases import place
from ..slicer_scene import followups, inputs, results
from ..slicer_scene.inputs import Mark, Node
from ..slicer_scene.records import restored
from .assessing import NoduleAssessor
from .logic import Ended, NoduleRiskLogic
from .translation import tr as _
from .worker import Task

if TYPE_CHECKING:
    from ..followup.comparison import FollowedNodule
    from ..results.assessment import Assessment


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is to be compared, with what.

    Attributes
    ----------
    prior, ct, points : nodes
        The earlier CT, the later one and its assessed points.
    prior_points : node or None
        The earlier CT's points; what nobody marked there is looked for.
    days : float
        Between both; 0 takes what their dates say.
    package : path or None
    device : str
    """

    prior: Node
    ct: Node
    points: Node
    prior_points: Node = None
    days: float = 0
    package: Path | str | None = None
    device: str = "auto"


def start(logic: NoduleRiskLogic, wanted: Comparison, ended: Ended) -> Task:
    """Compare both CTs, then keep growth in the scene and lay the earlier CT over the later one.

    Raises
    ------
    NoduleRiskError
        If nothing is assessed yet, or a CT cannot be read. That nodules which the user paired have one name is told
        when the work ends.
    """
    table = results.table_of(wanted.ct, wanted.points)
    stored = {mark.id: results.kept(table, mark.id) for mark in inputs.marks(wanted.points)}
    assessed = {point_id: one for point_id, one in stored.items() if one}
    if not assessed:
        raise NoduleRiskError(_("Assess the nodules of the later CT first: there is nothing to compare yet."))
    if wanted.prior.GetID() == wanted.ct.GetID():
        raise NoduleRiskError(_("The earlier and the later CT are the same: choose two examinations of one patient."))
    before, now = followups.unmoved(wanted.prior).copied(), inputs.scan(wanted.ct).copied()
    marked = followups.unmoved_marks(wanted.prior, wanted.prior_points)
    pairs = _pairs(table, {mark.id: mark.point.label for mark in inputs.marks(wanted.points)}, marked)
    prior_id, table_id = wanted.prior.GetID(), table.GetID()
    points_id = wanted.prior_points.GetID() if wanted.prior_points else ""

    def work(assessor: NoduleAssessor, call: Callable[..., None]) -> None:
        from ..followup.comparison import Examination, follow_up
        from ..followup.tables import nodule_dict

        prior, current = before.read(), now.read()
        found = {point_id: restored(*one, current) for point_id, one in assessed.items()}

        def assess(volume: Volume, points: Sequence[Point]) -> list[Assessment]:
            return list(assessor.assess(volume, points, False))

        points = [mark.point for mark in marked]
        earlier = assess(prior, points) if points else []
        both = Examination(prior, tuple(earlier)), Examination(current, tuple(found.values()))
        # Of nodules without results nothing was said yet.
        labels = {one.point.label for one in found.values()}
        mine_alone = {now: was for now, was in pairs.items() if now in labels}
        followed = follow_up(*both, assess, days=wanted.days or None, pairs=mine_alone)
        by_id: dict[str, dict[str, Any]] = {}
        for point_id, mine in found.items():
            one = next((one for one in followed.nodules if one.current is mine), None)
            if one is not None:
                by_id[point_id] = {key: nodule_dict(one)[key] for key in ("growth", "sentence", "doubts")}
        unmarked = [_unmarked(one) for one in followed.nodules if one.current not in found.values()]
        notes = [*unmarked, *followed.warnings]
        call(_keep, (prior_id, points_id, table_id), by_id, notes, followed.alignment.prior_to_current)

    return logic.with_assessor(wanted.package, wanted.device, work, ended)


def _pairs(table: Node, labels: Mapping[str, str], marked: Sequence[Mark]) -> dict[str, str]:
    """What the user says of nodules, by their names now: their names on the earlier CT, or "" for new ones."""
    before = {followups.NONE: "", **{mark.id: mark.point.label for mark in marked}}
    said = [(label, followups.partner(table, point_id)) for point_id, label in labels.items()]
    return {label: before[partner] for label, partner in said if partner in before}


def _unmarked(one: FollowedNodule) -> str:
    """What is said of a nodule that only the earlier CT has a point for: gone, or here without a point."""
    where = _("here at {place} mm").format(place=place(one.place_ras["current"], 1))
    return f"{one.label} ({where}): {one.sentence}" + (f" ({', '.join(one.doubts)})" if one.doubts else "")


def _keep(
    node_ids: tuple[str, str, str], growths: dict[str, dict[str, Any]], notes: Sequence[str], prior_to_current: Any
) -> None:
    # Each may have been removed in the meantime.
    prior, points, table = (slicer.mrmlScene.GetNodeByID(node_id) if node_id else None for node_id in node_ids)
    if table:
        followups.keep(table, growths, notes)
    if prior:
        followups.lay_over(prior, prior_to_current, points)
