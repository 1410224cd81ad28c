"""How far a package's grades move when nothing about the nodule changes, and what it says where there is no nodule."""

from __future__ import annotations

from pathlib import Path

from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.imaging import points, reading
from NoduleRiskLib.phantom import chest_ct

from ..data.crops import SAMPLE_PATIENT
from ..evaluation.report_sections import markdown
from ..evaluation.robustness import false_finds, moves


def robustness(data: Path, package: Path) -> str:
    """Tables (Markdown) of the synthetic CT and of the sample scan in ``data / ct``."""
    phantom_ct, nodules = chest_ct.chest_ct()
    folder = data / "ct" / SAMPLE_PATIENT
    sample_ct, marked = reading.read(folder), points.read(folder.parent / "points.csv")
    assessor = Assessor(package)
    parts = [
        f"### Synthetic CT, {len(nodules)} nodules\n",
        markdown(moves(assessor, [(phantom_ct, [one.point for one in nodules])])),
        f"### {SAMPLE_PATIENT}, its nodule\n",
        markdown(moves(assessor, [(sample_ct, marked)])),
        f"### Points of {SAMPLE_PATIENT} where there is no nodule\n",
        markdown(false_finds(assessor, sample_ct, marked)),
    ]
    return "\n".join(parts)
