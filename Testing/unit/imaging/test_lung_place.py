"""What a report would get wrong if right were left, or a scan that ends early had a wrong third."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from NoduleRiskLib.imaging import reading
from NoduleRiskLib.imaging.lung_place import THIRDS, LungPlace, lung_place
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.phantom import chest_ct
from training.evaluation.robustness import stored_along, thinned

DATA = Path(os.environ.get("NODULERISK_DATA", "../shared/data")) / "ct"
Chest = tuple[Volume, tuple[chest_ct.PhantomNodule, ...]]


@pytest.fixture(scope="module")
def chest() -> Chest:
    return chest_ct.chest_ct()


def words(volume: Volume, nodules: tuple[chest_ct.PhantomNodule, ...]) -> list[LungPlace]:
    return [lung_place(volume, np.array(one.point.ras)) for one in nodules]


def test_right_is_where_r_is_positive_and_thirds_go_up(chest: Chest) -> None:
    volume, nodules = chest
    for one, found in zip(nodules, words(volume, nodules), strict=True):
        assert found.side == ("right" if one.point.ras[0] > 0 else "left"), one.point
    by_height = sorted(zip((one.point.ras[2] for one in nodules), words(volume, nodules), strict=True))
    levels = [THIRDS.index(found.third) for _, found in by_height]
    assert levels == sorted(levels) and set(levels) == {0, 1, 2}


@pytest.mark.parametrize(
    "change",
    [
        lambda volume: stored_along((0, 1, 2), (True, True, True), volume),
        lambda volume: stored_along((2, 0, 1), (True, False, False), volume),
        lambda volume: thinned(thinned(volume)),
    ],
    ids=["flipped", "sagittal slices", "6 mm slices"],
)
def test_how_a_scan_is_stored_moves_no_nodule(chest: Chest, change: Callable[[Volume], Volume]) -> None:
    volume, nodules = chest
    assert words(change(volume), nodules) == words(volume, nodules)


def test_between_and_outside_the_lungs_no_side_is_told(chest: Chest) -> None:
    volume, _ = chest
    r, a, s = volume.to_ras(np.array(volume.array.shape[::-1]) / 2)
    for place in ((r, a - 75, s), (r + 155, a + 100, s)):
        assert lung_place(volume, np.array(place)) == LungPlace()


def test_a_scan_that_ends_within_the_lungs_tells_the_side_alone(chest: Chest) -> None:
    volume, nodules = chest
    upper = replace(volume, array=volume.array[: len(volume.array) // 2])
    inside = [one for one in nodules if upper.contains(np.array(one.point.ras))]
    assert len(inside) > 1
    assert {one.third for one in words(upper, tuple(inside))} == {""}
    assert [one.side for one in words(upper, tuple(inside))] == [one.side for one in words(volume, tuple(inside))]


def test_a_crop_tells_nothing(chest: Chest) -> None:
    volume, nodules = chest
    i, j, k = np.round(volume.to_ijk(np.array(nodules[0].point.ras))).astype(int)
    box = tuple(slice(max(0, at - 25), at + 25) for at in (k, j, i))
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = volume.to_ras(np.array([one.start for one in box[::-1]]))
    crop = Volume(volume.array[box], matrix)
    assert lung_place(crop, np.array(nodules[0].point.ras)) == LungPlace()


@pytest.mark.skipif(not DATA.is_dir(), reason="needs NODULERISK_DATA")
def test_real_lungs_that_touch_are_told_apart() -> None:
    """Emphysematous lungs of LIDC-IDRI-0006 are one part of the mask, in front of the heart."""
    volume = reading.read(DATA / "lungs" / "LIDC-IDRI-0006.nrrd")
    for r, side in ((-70.0, "left"), (70.0, "right")):
        assert lung_place(volume, np.array((r, 0.0, -130.0))).side == side


@pytest.mark.skipif(not DATA.is_dir(), reason="needs NODULERISK_DATA")
def test_the_sample_scans_nodule_is_left_though_its_r_is_nobodys_word() -> None:
    volume = reading.read(DATA / "LIDC-IDRI-0001")
    assert lung_place(volume, np.array((-56.2, -86.2, -115.0))) == LungPlace("left", "middle third")
