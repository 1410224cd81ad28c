"""How far a package's grades move when nothing about the nodule changes, and what it says where there is no nodule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.imaging import points, reading
from NoduleRiskLib.phantom import chest_ct

from ..data.crops import SAMPLE_PATIENT
from ..evaluation.report_sections import markdown
from ..evaluation.robustness import Place, Site, false_finds, moves, tissue_places

#: Readers' marks of one place lie nearer to each other than this.
SAME_PLACE_MM = 6.0
#: What the rows of the marks are called.
MARKS = {"non_nodule": "readers' non-nodule", "nodule_lt_3mm": "readers' nodule under 3 mm"}


def robustness(data: Path, package: Path, assessor_of: Callable[[str], Assessor] | None = None) -> str:
    """Tables (Markdown) of the synthetic CT and of the CTs in ``data / ct``.

    Parameters
    ----------
    data, package : Path
    assessor_of : function, optional
        From a patient to an assessor whose networks never saw that patient, for the places without a nodule. Without
        it the package itself answers, which was trained on all but ``SAMPLE_PATIENT``.
    """
    phantom_ct, nodules = chest_ct.chest_ct()
    folder = data / "ct" / SAMPLE_PATIENT
    sample_ct, marked = reading.read(folder), points.read(folder.parent / "points.csv")
    assessor = Assessor(package)
    sample = Site(SAMPLE_PATIENT, sample_ct, tissue_places(sample_ct, marked) | marks(data, SAMPLE_PATIENT))
    others = [Site(file.stem, reading.read(file), marks(data, file.stem)) for file in lung_files(data)]
    parts = [
        f"### Synthetic CT, {len(nodules)} nodules\n",
        markdown(moves(assessor, [(phantom_ct, [one.point for one in nodules])])),
        f"### {SAMPLE_PATIENT}, its nodule\n",
        markdown(moves(assessor, [(sample_ct, marked)])),
        f"### Where there is no nodule: {SAMPLE_PATIENT}, and readers' marks on {1 + len(others)} CTs\n",
        markdown(false_finds(assessor_of or (lambda _: assessor), [sample, *others])),
    ]
    return "\n".join(parts)


def lung_files(data: Path) -> list[Path]:
    """The whole CTs of training patients."""
    return sorted((data / "ct" / "lungs").glob("*.nrrd"))


def marks(data: Path, patient: str) -> dict[str, list[Place]]:
    """What readers marked as no nodule of 3 mm or more on a CT: one point a place, by what they called it.

    Where any reader saw no nodule at all, the place counts as that.
    """
    table = pd.read_csv(data / "ct" / "non_nodule_marks.csv")
    left = table[table.file == patient]
    found: dict[str, list[Place]] = {name: [] for name in MARKS.values()}
    while len(left):
        places = left[["r_mm", "a_mm", "s_mm"]].to_numpy()
        near = np.linalg.norm(places - places[0], axis=1) <= SAME_PLACE_MM
        kind = "non_nodule" if (left.kind[near] == "non_nodule").any() else "nodule_lt_3mm"
        r, a, s = places[near].mean(0).tolist()
        found[MARKS[kind]].append((r, a, s))
        left = left[~near]
    return found
