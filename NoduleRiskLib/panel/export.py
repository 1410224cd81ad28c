"""The assessments that a scene holds, as files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputWarning, NoduleRiskError
from ..imaging.volume import Volume
from ..slicer_scene import dicom_database, results
from ..slicer_scene.inputs import Node, Scan, image_at
from ..slicer_scene.records import restored
from .view_state import ASSESSED, CHANGED, ListedNodule
from .worker import Tell

if TYPE_CHECKING:
    from ..imaging.dicom_facts import DicomFacts, ImageReference
    from ..results.assessment import Assessment


def _csv(volume: Volume, assessments: Sequence[Assessment]) -> str:
    from ..results.tables import csv_text

    return csv_text(assessments, volume)


def _json(volume: Volume, assessments: Sequence[Assessment]) -> str:
    from ..results.tables import json_text

    return json_text(volume, assessments)


#: Kinds of files, by the end of their names; each has a button of that name in the .ui file, ``csvButton``.
TEXTS: dict[str, Callable[[Volume, Sequence[Assessment]], str]] = {"csv": _csv, "json": _json}
#: The kind that is a folder with one page per nodule.
PICTURES = "pictures"
#: The kind that is a folder with DICOM objects of the CT's study.
DICOM = "dicom"


@dataclass(frozen=True, eq=False)
class _Kept:
    """What the scene holds of one nodule, why it does not hold any more (or nothing), what more is said, its image."""

    values: dict[str, Any]
    maps: dict[str, Volume]
    outdated: str
    more: tuple[InputWarning, ...]
    image: ImageReference | None

    @property
    def centre_ras(self) -> tuple[float, float, float]:
        """The outline's centre, or the point (RAS mm)."""
        return _centre_ras(self.values)

    def assessment(self, volume: Volume) -> Assessment:
        """The assessment, with a warning if it is outdated."""
        held = restored(self.values, self.maps, volume)
        outdated = self.outdated or (CHANGED if self.values["ct_digest"] != volume.digest else "")
        late = (InputWarning(outdated, "nodule"),) if outdated else ()
        return replace(held, warnings=held.warnings + late + self.more, image=self.image or held.image)


@dataclass(frozen=True, eq=False)
class Export:
    """Files to be written: collected on the main thread (``collect``), written on any.

    Attributes
    ----------
    kind : str
        One of ``TEXTS`` (``path`` is a file), or ``PICTURES`` or ``DICOM`` (``path`` is a folder).
    path : Path
    scan : Scan
        The CT.
    nodules : list
        What the scene holds of each assessed nodule.
    grade : str
        Name of the grade whose heatmap the pictures and the DICOM objects show.
    facts : DicomFacts or None
        What the CT's DICOM headers say, for ``DICOM`` alone.
    """

    kind: str
    path: Path
    scan: Scan
    nodules: list[_Kept]
    grade: str
    facts: DicomFacts | None = None

    def write(self, tell: Tell) -> None:
        """Write the files, each whole or not at all; can be cancelled between two pages, and then writes none.

        Raises
        ------
        NoduleRiskError
            If the path cannot be written to, or a page cannot be drawn; the other pages are written then.
        """
        from ..results.result_folder import write_whole

        volume = self.scan.copied().read()
        assessments = [nodule.assessment(volume) for nodule in self.nodules]
        if self.kind in TEXTS:
            write_whole(self.path, TEXTS[self.kind](volume, assessments))
        elif self.kind == DICOM:
            from ..dicom.writing import dicom_objects, write_dicom

            objects = dicom_objects(replace(volume, dicom=self.facts), assessments, heatmap=self.grade)
            # The database is Qt's: the main thread asks it.
            tell(dicom_database.insert, write_dicom(self.path, objects))
        else:
            self._write_pages(volume, assessments, tell)

    def _write_pages(self, volume: Volume, assessments: Sequence[Assessment], tell: Tell) -> None:
        from ..results.nodule_page import write_page
        from ..results.result_folder import partial_folder

        failures = []
        try:
            with partial_folder(self.path) as folder:
                for name, assessment in zip(
                    page_names(one.point.label for one in assessments), assessments, strict=True
                ):
                    tell(int)
                    try:
                        write_page(folder / name, volume, assessment, self.grade)
                    except OSError:
                        raise
                    except Exception as error:
                        logging.error("NoduleRisk", exc_info=error)
                        (folder / name).unlink(missing_ok=True)
                        failures.append(assessment.point.label)
                for page in folder.iterdir():
                    os.replace(page, self.path / page.name)
        except OSError as error:
            raise NoduleRiskError(
                f"The pages could not be written to {self.path} ({error.strerror}): free some space or choose another "
                "folder."
            ) from error
        if failures:
            raise NoduleRiskError(
                f"The page of {', '.join(failures)} could not be drawn; the error log has the details. All others are "
                f"in {self.path}."
            )


def page_names(labels: Iterable[str]) -> list[str]:
    """File names of the pages of nodules with these names, in their order."""
    from ..results.result_folder import file_stem

    return [f"{file_stem(number, label)}.png" for number, label in enumerate(labels, 1)]


def collect(
    kind: str,
    path: Path,
    scan: Scan,
    table: Node,
    nodules: Sequence[ListedNodule],
    grade: str,
    facts: DicomFacts | None = None,
) -> Export:
    """Read what is to be exported from the scene; parameters as in ``Export``, and the results table."""
    found = []
    for nodule in nodules:
        kept = results.kept(table, nodule.mark.id)
        if kept:
            outdated = nodule.outdated or ("" if nodule.state == ASSESSED else CHANGED)
            image = image_at(scan, _centre_ras(kept[0]))
            found.append(_Kept(*kept, outdated, nodule.scene_warnings, image))
    return Export(kind, path, scan, found, grade, facts)


def _centre_ras(values: Mapping[str, Any]) -> tuple[float, float, float]:
    r, a, s = (values["nodule"] or {}).get("outline", {}).get("centre_ras_mm") or values["point_ras_mm"]
    return r, a, s
