"""The report of the assessments that a scene holds: collected on the main thread, written or copied by the worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..imaging.dicom_facts import DicomFacts
from ..imaging.volume import Volume
from ..slicer_scene import answers, dicom_database
from ..slicer_scene.inputs import Node, Scan
from .export import Export, collect
from .view_state import ListedNodule
from .worker import Tell

if TYPE_CHECKING:
    from ..guidelines.management import Grown


@dataclass(frozen=True, eq=False)
class Reporting:
    """A report to be made.

    Attributes
    ----------
    export : Export
        What the scene holds of each assessed nodule; its path is the report's file.
    said, growth : lists
        For each of them the user's answers, and what became of it since an earlier CT.
    facts : DicomFacts or None
    copied : callable or None
        Called on the main thread with the text to paste, instead of writing a file.
    """

    export: Export
    said: list[dict[str, Any]]
    growth: list[Grown | None]
    facts: DicomFacts | None
    copied: Callable[[str], None] | None = None

    def make(self, tell: Tell) -> None:
        """Write the file, or hand over the text.

        Raises
        ------
        NoduleRiskError
            If the file cannot be written, or the user's answers contradict each other.
        """
        from ..report import document, text
        from ..report.examination import examination

        volume = replace(self.export.scan.copied().read(), dicom=self.facts)
        assessments = [nodule.assessment(volume) for nodule in self.export.nodules]
        report = examination(volume, assessments, self.said, growth=self.growth)
        if self.copied:
            tell(self.copied, text.pasted(report))
        else:
            document.write(self.export.path, report)


def collect_report(
    path: Path,
    ct: Node,
    scan: Scan,
    table: Node,
    nodules: Sequence[ListedNodule],
    growth: Mapping[str, Grown],
    copied: Callable[[str], None] | None = None,
) -> Reporting:
    """Read what is to be reported from the scene; parameters as in ``Reporting`` and ``export.collect``."""
    export = collect("", path, scan, table, nodules, "malignancy")
    marks = [nodule.mark for nodule in nodules if nodule.row]
    grid = Volume(scan.voxels, scan.ijk_to_ras)
    slices = {int(np.round(grid.to_ijk(np.array(kept.centre_ras))[2])) for kept in export.nodules}
    said = [answers.answers_of(table, mark.id) for mark in marks]
    grown = [growth.get(mark.id) for mark in marks]
    return Reporting(export, said, grown, dicom_database.facts_of(ct, slices), copied)
