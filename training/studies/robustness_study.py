"""How far a package's grades move when nothing about the nodule changes, and what it says where there is no nodule."""

from __future__ import annotations

from pathlib import Path

from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.imaging import points, reading
from NoduleRiskLib.phantom import chest_ct

from ..data.crops import SAMPLE_PATIENT
from ..data.real_lungs import lung_cts, marks
from ..evaluation.report_sections import markdown
from ..evaluation.robustness import Place, Site, false_finds, moves, tissue_places

#: What the rows of the marks are called.
MARKS = {"non_nodule": "readers' non-nodule", "nodule_lt_3mm": "readers' nodule under 3 mm"}


def robustness(data: Path, package: Path, packages: Path) -> str:
    """Tables (Markdown) of the synthetic CT and of the CTs in ``data / ct``.

    Parameters
    ----------
    data, package : Path
    packages : Path
        Holds a package for each other patient with a CT, whose networks never saw that patient (``release``); where
        there is none, its marks are left out. The package that ships never saw ``SAMPLE_PATIENT``.
    """
    phantom_ct, nodules = chest_ct.chest_ct()
    folder = data / "ct" / SAMPLE_PATIENT
    sample_ct, marked = reading.read(folder), points.read(folder.parent / "points.csv")
    assessor = Assessor(package)
    sample = Site(SAMPLE_PATIENT, sample_ct, tissue_places(sample_ct, marked) | marked_places(data, SAMPLE_PATIENT))
    others = [
        Site(ct.patient_id, ct.volume, marked_places(data, ct.patient_id))
        for ct in lung_cts(data)
        if (packages / ct.patient_id).is_dir()
    ]

    def assessor_of(patient: str) -> Assessor:
        return assessor if patient == SAMPLE_PATIENT else Assessor(packages / patient)

    parts = [
        f"### Synthetic CT, {len(nodules)} nodules\n",
        markdown(moves(assessor, [(phantom_ct, [one.point for one in nodules])])),
        f"### {SAMPLE_PATIENT}, its nodule\n",
        markdown(moves(assessor, [(sample_ct, marked)])),
        f"### Where there is no nodule: {SAMPLE_PATIENT}, and readers' marks on {1 + len(others)} CTs\n",
        markdown(false_finds(assessor_of, [sample, *others])),
    ]
    return "\n".join(parts)


def marked_places(data: Path, patient: str) -> dict[str, list[Place]]:
    """Readers' marks on a CT, one point a place, by what they called it."""
    found = marks(data, patient)
    return {
        name: [(one.r, one.a, one.s) for one in found[found.kind == kind].itertuples()] for kind, name in MARKS.items()
    }
