"""What nobody would notice if it changed by accident: the shipped package's grades, outlines and heatmaps.

The golden file was made with version 0.1.0. ``python Testing/unit/test_golden.py`` writes it again: do that when a new
package ships, and look at the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from NoduleRiskLib import Assessor, Point, Volume, read_ct
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging import points
from NoduleRiskLib.phantom.chest_ct import chest_ct
from NoduleRiskLib.results.assessment import Nodule

GOLDEN = Path(__file__).with_name("data") / "golden.json"
DATA = Path(os.environ.get("NODULERISK_DATA", Path(__file__).parents[2] / "../shared/data"))
MEASURED = ("diameter_mm", "long_axis_mm", "short_axis_mm", "volume_mm3", "slices")


def synthetic() -> tuple[Volume, list[Point]]:
    volume, nodules = chest_ct()
    return volume, [one.point for one in nodules]


def real() -> tuple[Volume, list[Point]]:
    if not (DATA / "ct").is_dir():
        pytest.skip("The LIDC sample CT is not here: set NODULERISK_DATA to its folder.")
    return read_ct(DATA / "ct" / "LIDC-IDRI-0001"), points.read(DATA / "ct" / "points.csv")


SCANS = {"synthetic chest CT": synthetic, "LIDC-IDRI-0001": real}


def projections(array: np.ndarray) -> list[float]:
    """An array of any size as four numbers: its products with fixed random arrays."""
    rng = np.random.default_rng(0)
    return [float((array * rng.standard_normal(array.shape)).sum()) for _ in range(4)]


def numbers(nodule: Nodule) -> dict[str, Any]:
    """All of a nodule in a few hundred numbers."""
    outline, seen = nodule.outline, nodule.calcification
    return {
        "estimates": {one.grade.name: [one.value, one.low, one.high, one.percentile] for one in nodule.estimates},
        "calcification": [seen.presence, seen.pattern_probability],
        "suspicion": nodule.suspicion_probability,
        "outline": [
            *outline.centre_ras.tolist(),
            *outline.bounds_ras.ravel().tolist(),
            *(float(getattr(outline, name)) for name in MEASURED),
            *projections(outline.probability.array),
        ],
        "heatmaps": {name: projections(map_.in_slice) for name, map_ in nodule.heatmaps.items()},
        "slice weights": {name: projections(map_.slice_weights) for name, map_ in nodule.heatmaps.items()},
    }


def measured(scan: str) -> dict[str, Any]:
    volume, marked = SCANS[scan]()
    told = {}
    for one in Assessor(device="cpu").assess(volume, marked):
        assert one.nodule is not None, one.point.label
        told[one.point.label] = numbers(one.nodule)
    return {"digest": volume.digest, "nodules": told}


@pytest.mark.parametrize("scan", SCANS)
def test_grades_outlines_and_heatmaps_are_those_of_the_golden_file(scan: str) -> None:
    now, golden = measured(scan), json.loads(GOLDEN.read_text(encoding="utf-8"))[scan]
    assert now["digest"] == golden["digest"], "the CT itself is read or made differently"
    assert list(now["nodules"]) == list(golden["nodules"])
    for label, before in golden["nodules"].items():
        after = now["nodules"][label]
        assert set(after["heatmaps"]) == set(GRADE_NAMES)
        # Processors round differently; the same one gives the same numbers to 1e-6.
        for key in ("estimates", "heatmaps", "slice weights"):
            for name in before[key]:
                assert after[key][name] == pytest.approx(before[key][name], rel=2e-3, abs=2e-2), (label, key, name)
        for key in ("calcification", "suspicion"):
            assert after[key] == pytest.approx(before[key], abs=1e-3), (label, key)
        assert after["outline"] == pytest.approx(before["outline"], rel=2e-3, abs=2e-2), label


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({scan: measured(scan) for scan in SCANS}, indent=1) + "\n", encoding="utf-8")
