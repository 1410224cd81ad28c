"""An earlier CT compared with the assessed one: nodes read here, all work on the worker's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from ..errors import NoduleRiskError
from ..imaging.points import Point
from ..imaging.volume import Volume
from ..slicer_scene import followups, inputs, results
from ..slicer_scene.inputs import Node
from ..slicer_scene.records import restored
from .assessing import NoduleAssessor
from .logic import Ended, NoduleRiskLogic
from .worker import Task

if TYPE_CHECKING:
    from ..results.assessment import Assessment


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is to be compared, with what.

    Attributes
    ----------
    prior, ct, points : nodes
        The earlier CT, the later one and its assessed points.
    days : float
        Between both; 0 takes what their dates say.
    package : path or None
    device : str
    """

    prior: Node
    ct: Node
    points: Node
    days: float = 0
    package: Path | str | None = None
    device: str = "auto"


def start(logic: NoduleRiskLogic, wanted: Comparison, ended: Ended) -> Task:
    """Compare both CTs, then keep growth in the scene and lay the earlier CT over the later one.

    Raises
    ------
    NoduleRiskError
        If nothing is assessed yet, or a CT cannot be read.
    """
    table = results.table_of(wanted.ct, wanted.points)
    stored = {mark.id: results.kept(table, mark.id) for mark in inputs.marks(wanted.points)}
    assessed = {point_id: one for point_id, one in stored.items() if one}
    if not assessed:
        raise NoduleRiskError(_("Assess the nodules of the later CT first: there is nothing to compare yet."))
    if wanted.prior.GetID() == wanted.ct.GetID():
        raise NoduleRiskError(_("The earlier and the later CT are the same: choose two examinations of one patient."))
    before, now = followups.unmoved(wanted.prior).copied(), inputs.scan(wanted.ct).copied()
    prior_id, table_id = wanted.prior.GetID(), table.GetID()

    def work(assessor: NoduleAssessor, call: Callable[..., None]) -> None:
        from ..followup.comparison import Examination, follow_up
        from ..followup.tables import nodule_dict

        prior, current = before.read(), now.read()
        found = {point_id: restored(*one, current) for point_id, one in assessed.items()}

        def assess(volume: Volume, points: Sequence[Point]) -> list[Assessment]:
            return list(assessor.assess(volume, points, False))

        both = Examination(prior), Examination(current, tuple(found.values()))
        followed = follow_up(*both, assess, days=wanted.days or None)
        by_id: dict[str, dict[str, Any]] = {}
        for point_id, mine in found.items():
            one = next((one for one in followed.nodules if one.current is mine), None)
            if one is not None:
                by_id[point_id] = {key: nodule_dict(one)[key] for key in ("growth", "sentence", "doubts")}
        call(_keep, prior_id, table_id, by_id, followed.warnings, followed.alignment.prior_to_current)

    return logic.with_assessor(wanted.package, wanted.device, work, ended)


def _keep(
    prior_id: str, table_id: str, growths: dict[str, dict[str, Any]], notes: Sequence[str], prior_to_current: Any
) -> None:
    # Both may have been removed in the meantime.
    prior, table = (slicer.mrmlScene.GetNodeByID(node_id) for node_id in (prior_id, table_id))
    if table:
        followups.keep(table, growths, notes)
    if prior:
        followups.lay_over(prior, prior_to_current)
