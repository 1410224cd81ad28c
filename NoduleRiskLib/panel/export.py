"""The assessments that a scene holds, as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..imaging.volume import Volume
from ..networks import model_package
from ..slicer_scene import results
from ..slicer_scene.inputs import Node, Scan
from .view_state import ASSESSED, CHANGED, ListedNodule
from .worker import Tell

if TYPE_CHECKING:
    from ..results.assessment import Assessment


@dataclass(frozen=True, eq=False)
class _Kept:
    """What the scene holds of one nodule: ``record`` where one was outlined, otherwise ``empty``."""

    label: str
    changed: bool
    record: tuple[str, dict[str, Volume]] | None
    empty: Assessment | None

    def assessment(self, volume: Volume) -> Assessment:
        """The assessment under the point's present name, with a warning if it is outdated."""
        from ..results.serialization import unpack

        held = unpack(*self.record, volume) if self.record else self.empty
        assert held is not None
        return replace(held, label=self.label, warnings=((CHANGED,) if self.changed else ()) + held.warnings)


@dataclass(frozen=True, eq=False)
class Export:
    """Files to be written: collected on the main thread (``collect``), written on any.

    Attributes
    ----------
    kind : str
        "csv" or "json" (``path`` is a file), or "pictures" (``path`` is a folder, for one page per nodule).
    path : path
    scan : Scan
        The CT.
    nodules : list
        What the scene holds of each assessed nodule.
    package : path
        Folder of the model package.
    grade : str
        Name of the grade whose heatmap the pictures show.
    """

    kind: str
    path: Path | str
    scan: Scan
    nodules: list[_Kept]
    package: Path | str
    grade: str

    def write(self, tell: Tell) -> None:
        """Write the files; can be cancelled between two pages."""
        from ..results import tables

        volume = self.scan.read()
        assessments = [nodule.assessment(volume) for nodule in self.nodules]
        if self.kind == "csv":
            tables.write_csv(self.path, assessments)
        elif self.kind == "json":
            tables.write_json(self.path, volume, assessments, model_package.load(self.package))
        else:
            from ..results.nodule_page import write_page

            for n, assessment in enumerate(assessments, 1):
                tell(int)
                name = re.sub(r"[^\w\-]+", "_", assessment.label)
                write_page(Path(self.path) / f"{n:02d}_{name}.png", volume, assessment, self.grade)


def collect(
    kind: str,
    path: Path | str,
    scan: Scan,
    table: Node,
    nodules: Sequence[ListedNodule],
    package: Path | str,
    grade: str,
) -> Export:
    """Read what is to be exported from the scene; parameters as in ``Export``, and the results table."""
    kept = []
    for nodule in nodules:
        if nodule.row:
            point_id = nodule.mark.id
            empty = None if nodule.row.found else results.assessment(table, point_id)
            record = results.kept(table, point_id)
            kept.append(_Kept(nodule.mark.point.label, nodule.state != ASSESSED, record, empty))
    return Export(kind, path, scan, kept, package or model_package.SHIPPED, grade)
