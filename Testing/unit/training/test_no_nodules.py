"""What the table of places without a nodule would hide: one place counted twice, a doubt that is not the nodule's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from NoduleRiskLib.errors import InputWarning
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.results.assessment import Assessment
from training.studies.robustness_study import MARKS, marked_places


def test_marks_of_one_place_are_one_point_and_no_nodule_wins(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    rows = [("A", "nodule_lt_3mm", 0), ("A", "non_nodule", 4), ("A", "nodule_lt_3mm", 30), ("B", "non_nodule", 30)]
    table = pd.DataFrame(rows, columns=["file", "kind", "r_mm"]).assign(a_mm=0.0, s_mm=0.0)
    table.to_csv(tmp_path / "ct" / "non_nodule_marks.csv")
    found = marked_places(tmp_path, "A")
    assert np.allclose(found[MARKS["non_nodule"]], [(2, 0, 0)])
    assert np.allclose(found[MARKS["nodule_lt_3mm"]], [(30, 0, 0)])


def test_only_a_doubt_of_the_nodule_itself_counts() -> None:
    def told(*warnings: InputWarning) -> bool:
        return bool(Assessment(Point("P", (0, 0, 0)), warnings, "model", None).doubts)

    assert told(InputWarning("It looks like a vessel.", "nodule", "vessel?"))
    assert not told(InputWarning("It reaches the edge of the scan.", "nodule"))
    assert not told(InputWarning("The CT is noisy.", "ct"))
