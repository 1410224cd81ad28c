"""What would be graded without a word, or doubted for nothing, if the lungs were not told from what is as dark."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from NoduleRiskLib.imaging import points, reading
from NoduleRiskLib.imaging.input_checks import AT_LUNG_MM, OUTSIDE, check_point
from NoduleRiskLib.imaging.lung_mask import lung_mask
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.phantom import chest_ct
from training.evaluation.robustness import around, stored_along, thinned

DATA = Path(os.environ.get("NODULERISK_DATA", "../shared/data")) / "ct"
#: Colon contents of LIDC-IDRI-0001, once graded as suspicious without a word (issue 16).
COLON = Point("colon", (-116.0, 34.6, -231.4))

Chest = tuple[Volume, tuple[chest_ct.PhantomNodule, ...]]


@pytest.fixture(scope="module")
def chest() -> Chest:
    return chest_ct.chest_ct()


def painted(volume: Volume, middle: tuple[float, float, float], half_mm: tuple[float, float, float], hu: Array) -> None:
    """Fill an ellipsoid (RAS mm) of a volume with values that repeat themselves, in place."""
    grid = np.moveaxis(np.indices(volume.array.shape)[::-1], 0, -1).astype(np.float32)
    away = (volume.to_ras(grid).astype(np.float32) - np.float32(middle)) / np.float32(half_mm)
    inside = (away**2).sum(-1) < 1
    volume.array[inside] = np.resize(hu, inside.sum())


def distances(volume: Volume, *places: tuple[float, float, float]) -> list[float]:
    return [round(float(one), 1) for one in lung_mask(volume).distance_mm(np.array(places))]


def test_nodules_lie_in_the_lungs_and_organs_do_not(chest: Chest) -> None:
    volume, nodules = chest
    assert distances(volume, *(one.point.ras for one in nodules)) == [0] * len(nodules)
    # Liver, heart, spine, muscle, windpipe, air outside.
    middle = volume.to_ras(np.array(volume.array.shape[::-1]) / 2)
    r, a, s = middle
    organs = {
        "liver": (r + 60, a, s - 110),
        "heart": (r - 15, a + 30, s - 45),
        "spine": (r, a - 75, s),
        "windpipe": (r, a - 18, s + 105),
        "air": (r + 155, a + 100, s),
    }
    far = dict(zip(organs, distances(volume, *organs.values()), strict=True))
    assert all(mm > AT_LUNG_MM for name, mm in far.items() if name != "windpipe"), far
    assert far["windpipe"] > 2, far


@pytest.mark.parametrize(
    "change",
    [
        lambda volume: stored_along((0, 1, 2), (True, True, True), volume),
        lambda volume: stored_along((2, 0, 1), (True, False, False), volume),
        lambda volume: thinned(thinned(volume)),
    ],
    ids=["flipped", "sagittal slices", "6 mm slices"],
)
def test_how_a_scan_is_stored_moves_no_lung(chest: Chest, change: Callable[[Volume], Volume]) -> None:
    volume, _ = chest
    places = volume.to_ras(np.random.default_rng(0).uniform(0, 1, (500, 3)) * volume.array.shape[::-1])
    before, after = (lung_mask(one).distance_mm(places) for one in (volume, change(volume)))
    assert np.percentile(np.abs(after - before), 99) < 4
    assert ((before > AT_LUNG_MM) == (after > AT_LUNG_MM)).mean() > 0.97


def test_an_oblique_scan_has_the_same_lungs(chest: Chest) -> None:
    volume, nodules = chest
    turn = np.deg2rad(20)
    matrix = np.eye(4)
    matrix[:3, :3] = [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    oblique = Volume(volume.array, matrix @ volume.ijk_to_ras)
    places = np.array([one.point_ras for one in nodules])
    assert (lung_mask(oblique).distance_mm(places @ matrix[:3, :3].T) == 0).all()


def test_what_a_bowel_holds_is_no_lung(chest: Chest) -> None:
    volume = Volume(chest[0].array.copy(), chest[0].ijk_to_ras)
    r, a, s = volume.to_ras(np.array(volume.array.shape[::-1]) / 2)
    stool, gas = (r + 70, a + 20, s - 108), (r - 70, a + 20, s - 108)
    # Stool is as dark as lung on average, and lies right under it.
    painted(volume, stool, (30, 30, 11), np.random.default_rng(0).normal(-700, 150, 10_000))
    painted(volume, gas, (30, 30, 11), np.random.default_rng(0).normal(-1000, 20, 10_000))
    assert all(check_point(volume, Point("P", place))[0].doubt == OUTSIDE for place in (stool, gas))


def test_emphysema_as_dark_as_gas_is_lung(chest: Chest) -> None:
    volume = Volume(chest[0].array.copy(), chest[0].ijk_to_ras)
    r, a, s = volume.to_ras(np.array(volume.array.shape[::-1]) / 2)
    bulla = (r + 75, a, s + 30)
    assert distances(volume, bulla) == [0]
    painted(volume, bulla, (30, 35, 40), np.random.default_rng(0).normal(-985, 15, 10_000))
    assert distances(volume, bulla) == [0]
    assert check_point(volume, Point("P", bulla)) == ()


@pytest.mark.parametrize("radius_mm", [5, 10, 14])
def test_a_nodule_on_the_chest_wall_is_not_doubted(chest: Chest, radius_mm: float) -> None:
    volume = Volume(chest[0].array.copy(), chest[0].ijk_to_ras)
    juxtapleural = next(one for one in chest[1] if one.label == "juxtapleural")
    painted(volume, juxtapleural.point.ras, (radius_mm,) * 3, np.array([40]))
    assert check_point(volume, juxtapleural.point) == ()


@pytest.mark.parametrize("half_mm", [25.5, 40, 60])
def test_a_crop_around_a_nodule_is_not_doubted(chest: Chest, half_mm: float) -> None:
    volume, nodules = chest
    for one in nodules:
        assert check_point(around(volume, one.point, half_mm), one.point) == (), one.label


def test_a_crop_tells_no_lungs_and_says_so(chest: Chest) -> None:
    volume, nodules = chest
    assert np.isnan(lung_mask(around(volume, nodules[0].point, 25)).distance_mm(np.zeros((2, 3)))).all()


def test_lungs_are_looked_for_once(chest: Chest, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lung_mask(chest[0])
    monkeypatch.setattr(ndimage, "label", None)
    assert lung_mask(chest[0]) is found


@pytest.fixture(scope="module")
def sample() -> Volume:
    if not DATA.is_dir():
        pytest.skip("The LIDC CTs are not here: set NODULERISK_DATA to their folder.")
    return reading.read(DATA / "LIDC-IDRI-0001")


def test_colon_contents_are_told(sample: Volume) -> None:
    (warning,) = check_point(sample, COLON)
    assert (warning.about, warning.doubt) == ("nodule", OUTSIDE)
    assert "outside the lungs" in warning.text


def test_no_nodule_of_four_cts_is_doubted(sample: Volume) -> None:
    assert check_point(sample, points.read(DATA / "points.csv")[0]) == ()
    for file, rows in pd.read_csv(DATA / "lungs" / "points.csv").groupby("file"):
        volume = reading.read(DATA / "lungs" / str(file))
        assert lung_mask(volume).distance_mm(rows[["r", "a", "s"]].to_numpy()).max() < 1, file
