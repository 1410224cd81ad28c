"""What a follow-up would miss if lungs of two examinations were not laid on each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from NoduleRiskLib.followup.alignment import align
from NoduleRiskLib.followup.surroundings import GRID_MM, SHIFT_MM, found_again
from NoduleRiskLib.imaging.lung_mask import lung_mask
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.phantom.chest_ct import PhantomNodule, chest_ct


@pytest.fixture(scope="module")
def chest() -> tuple[Volume, tuple[PhantomNodule, ...]]:
    return chest_ct()


def movement(volume: Volume, turned: tuple[float, float, float], breath: float, shift: tuple[float, ...]) -> Array:
    """A movement about the volume's middle: degrees, scale, mm (RAS)."""
    middle = volume.to_ras((np.array(volume.array.shape[::-1]) - 1) / 2)
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_euler("xyz", turned, degrees=True).as_matrix() * breath
    moved[:3, 3] = middle + shift - moved[:3, :3] @ middle
    return moved


def scanned(volume: Volume, moved: Array, slices_mm: float, part: tuple[float, float] = (0, 1)) -> Volume:
    """The patient after a movement, on a coarser grid whose slices run the other way, and only a part of it."""
    size = np.array(volume.array.shape[::-1])
    count = int(size[2] * volume.spacing_mm[2] / slices_mm)
    first, last = int(part[0] * count), int(part[1] * count)
    grid = volume.ijk_to_ras @ np.diag((2, 2, -slices_mm / volume.spacing_mm[2], 1))
    grid[:3, 3] = volume.to_ras(np.array((0, 0, size[2] - 1))) + grid[:3, 2] * first
    back = volume.ras_to_ijk @ np.linalg.inv(moved) @ grid
    kji = back[np.ix_((2, 1, 0, 3), (2, 1, 0, 3))]
    shape = (last - first, int(size[1]) // 2, int(size[0]) // 2)
    hu = affine_transform(volume.array, kji[:3, :3], kji[:3, 3], shape, order=1, mode="nearest")
    noise = np.random.default_rng(1).normal(0, 30, shape)
    return Volume(np.rint(hu + noise).astype(np.int16), grid, "later")


@pytest.mark.parametrize(
    ("turned", "breath", "shift", "part"),
    [
        ((6, -6, 5), 0.85, (17, -17, 17), (0, 1)),
        ((-5, 4, 7), 1.15, (-20, 10, -20), (0, 1)),
        # The lower half of the chest is not there.
        ((3, 2, -4), 1.05, (10, -10, 10), (0, 0.55)),
    ],
    ids=["breathed out", "breathed in", "upper half"],
)
def test_lungs_lie_on_each_other_however_the_patient_lies_and_breathes(
    chest: tuple[Volume, tuple[PhantomNodule, ...]],
    turned: tuple[float, float, float],
    breath: float,
    shift: tuple[float, ...],
    part: tuple[float, float],
) -> None:
    volume, _ = chest
    moved = movement(volume, turned, breath, shift)
    later = scanned(volume, moved, 2.5, part)
    found = align(volume, later)
    assert found.sure and found.overlap > 0.9
    outside = lung_mask(later).outside_mm
    assert outside is not None
    lungs = outside.to_ras(np.argwhere(outside.array == 0)[::97, ::-1])
    truth = (lungs - moved[:3, 3]) @ np.linalg.inv(moved[:3, :3]).T
    assert np.percentile(np.linalg.norm(found.to_prior(lungs) - truth, axis=1), 95) < 2.0
    assert np.allclose(found.to_current(found.to_prior(lungs)), lungs)


def test_a_ct_without_lungs_is_compared_as_it_lies(chest: tuple[Volume, tuple[PhantomNodule, ...]]) -> None:
    volume, _ = chest
    crop = replace(volume, array=volume.array[:20, :60, :60])
    found = align(crop, volume)
    assert np.isnan(found.overlap) and not found.sure
    assert np.array_equal(found.prior_to_current, np.eye(4))


def test_vessels_lead_to_a_place_that_breathing_moved(chest: tuple[Volume, tuple[PhantomNodule, ...]]) -> None:
    volume, nodules = chest
    off = (8.0, -3.0, 5.0)
    assert np.linalg.norm(off) < SHIFT_MM
    moved = movement(volume, (0, 0, 0), 1.0, off)
    later = scanned(volume, moved, 1.5)
    for nodule in nodules:
        place = found_again(volume, nodule.point_ras, nodule.diameter_mm, later, np.eye(4))
        # To within one step of the grid on which surroundings are compared.
        assert np.linalg.norm(place - nodule.point_ras - off) < GRID_MM * np.sqrt(3), nodule.label


def test_surroundings_that_are_not_alike_move_nothing() -> None:
    rng = np.random.default_rng(0)
    one, other = (
        Volume(rng.normal(-850, 30, (60, 60, 60)).astype(np.int16), np.diag((1.0, 1.0, 1.0, 1.0))) for _ in range(2)
    )
    place = np.array((30.0, 30.0, 30.0))
    assert np.allclose(found_again(one, place, 6.0, other, np.eye(4)), place)
