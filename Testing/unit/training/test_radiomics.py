"""What the bar that networks must clear would lose if its measures were wrong or had seen the answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.volume import Volume
from training.data import radiomics
from training.studies.radiomics import boosted

STEP_MM = (0.8, 0.8, 1.5)


def lung_with(radius_mm: float, hu: float = 40, vessel_mm: float = 0.0) -> Volume:
    """A ball at the origin of RAS in lung, perhaps with a vessel that runs through it along the first axis."""
    shape = (29, 71, 71)
    matrix = np.diag([*STEP_MM, 1.0])
    matrix[:3, 3] = -(np.array(shape[::-1]) - 1) / 2 * STEP_MM
    k, j, i = np.indices(shape)
    places = np.stack([i, j, k], -1) @ matrix[:3, :3].T + matrix[:3, 3]
    inside = np.clip(0.5 + radius_mm - np.linalg.norm(places, axis=-1), 0, 1)
    tube = np.clip(0.5 + vessel_mm - np.linalg.norm(places[..., 1:], axis=-1), 0, 1) * (vessel_mm > 0)
    return Volume(np.round(-850 + (hu + 850) * np.maximum(inside, tube)).astype(np.int16), matrix)


@pytest.mark.parametrize("radius_mm", [3.0, 8.0])
def test_a_ball_has_its_size_its_density_and_a_vessel_does_not_enlarge_it(radius_mm: float) -> None:
    alone, pierced = (radiomics.describe(lung_with(radius_mm, vessel_mm=v)) for v in (0.0, 1.2))
    assert alone["solid_ball"] == pytest.approx(2 * radius_mm, abs=0.8)
    assert alone["solid_deep"] == pytest.approx(2 * radius_mm, abs=1.5)
    assert alone["hu_75"] == pytest.approx(40, abs=5) and alone["mean_0"] == pytest.approx(40, abs=1)
    assert pierced["solid_ball"] < 2 * radius_mm + 1.5


def test_what_is_bright_hazy_or_not_there_is_told_apart() -> None:
    hazy, bright = radiomics.describe(lung_with(6, -500)), radiomics.describe(lung_with(6, 500))
    assert np.isnan(hazy["solid_ball"]) and hazy["hazy_ball"] > 10
    assert hazy["above_300"] == 0 and bright["above_300"] > 0.5
    assert bright["edge"] > 2 * hazy["edge"]
    nothing = radiomics.describe(lung_with(6, -850))
    assert np.isnan(nothing["hazy_ball"]) and nothing["spread_0"] == 0
    assert set(nothing) == set(bright) and 48 <= len(bright) <= 55


def test_a_crop_of_few_slices_is_measured_where_it_reaches() -> None:
    whole = lung_with(3)
    matrix = whole.ijk_to_ras.copy()
    matrix[2, 3] += 12 * STEP_MM[2]
    crop = radiomics.describe(Volume(whole.array[12:17], matrix))
    assert crop["solid_ball"] == pytest.approx(6, abs=0.8) and crop["mean_15"] < -800


def test_no_nodule_is_told_by_what_was_taught_on_it() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(1, 5, (300, len(GRADE_NAMES) + 1)), columns=[*GRADE_NAMES, "calcified"])
    table["fold"] = np.arange(300) % 5
    # Each nodule can be known by its number, and none by another's.
    measured = pd.DataFrame({"number": rng.permutation(300), "texture": table.texture})
    said = boosted(table, measured)
    assert abs(np.corrcoef(said.margin, table.margin)[0, 1]) < 0.2
    assert np.corrcoef(said.texture, table.texture)[0, 1] > 0.95
