"""What a guideline would be told wrongly if the solid part of a known core came out otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from NoduleRiskLib.imaging.outline import Outline, users_outline
from NoduleRiskLib.imaging.solid_part import SolidPart, solid_part
from NoduleRiskLib.imaging.volume import Volume

PIXEL_MM, SOLID_HU, LUNG_HU = 0.7, 40, -860
#: Half sizes of the made CT: rows and columns, slices (mm).
HALF_MM, DEPTH_MM = 13.0, 12.0


def made(
    core_mm: float, glass_hu: float = -550, slice_mm: float = 1.0, noise_hu: float = 0, vessel: bool = False
) -> tuple[Volume, Outline]:
    """A ball of ground glass (20 mm) with a solid core, off the grid's middle, and the ball's outline.

    Averaged over pixels and slices, blurred by 0.6 mm; a vessel of 2 mm runs through within the slices.
    """
    rng = np.random.default_rng(3)
    fine, thin = 2, 2 * int(slice_mm)
    size = np.array((int(2 * DEPTH_MM / slice_mm), *(int(2 * HALF_MM / PIXEL_MM),) * 2))
    step = np.array((slice_mm, PIXEL_MM, PIXEL_MM))
    off = rng.uniform(-0.5, 0.5, 3) * step
    axes = [
        (np.arange(n * parts) - (n * parts - 1) / 2) * mm / parts - x
        for n, parts, mm, x in zip(size, (thin, fine, fine), step, off, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = np.sqrt(z**2 + y**2 + x**2)
    hu = np.where(distance < 10, glass_hu, LUNG_HU)
    hu[distance < core_mm / 2] = SOLID_HU
    if vessel:
        hu[np.broadcast_to(z**2 + (y + 0.2 * x) ** 2 < 1, hu.shape)] = SOLID_HU
    hu = hu.reshape(size[0], thin, size[1], fine, size[2], fine).mean((1, 3, 5))
    hu = ndimage.gaussian_filter(hu, (0, 0.6 / PIXEL_MM, 0.6 / PIXEL_MM)) + rng.normal(0, noise_hu, hu.shape)
    matrix = np.diag((PIXEL_MM, PIXEL_MM, slice_mm, 1.0))
    matrix[:3, 3] = -(size[::-1] - 1) / 2 * step[::-1]
    ball = distance.reshape(size[0], thin, size[1], fine, size[2], fine).mean((1, 3, 5)) < 10
    ct = Volume(np.rint(hu).astype(np.int16), matrix)
    outline = users_outline(ct, Volume(ball.astype(np.uint8), matrix))
    assert outline is not None
    return ct, outline


def part(core_mm: float, *how: float, vessel: bool = False) -> SolidPart | None:
    return solid_part(*made(core_mm, *how, vessel=vessel))


@pytest.mark.parametrize("core_mm", [6, 8, 12])
@pytest.mark.parametrize("glass_hu", [-650, -550, -450])
@pytest.mark.parametrize("slice_mm", [1, 2, 3])
def test_a_known_core_is_measured_within_a_millimetre_or_so(core_mm: float, glass_hu: float, slice_mm: float) -> None:
    found = part(core_mm, glass_hu, slice_mm, 20)
    assert found is not None
    assert found.diameter_mm == pytest.approx(core_mm, abs=1.3)
    assert found.short_axis_mm <= found.long_axis_mm
    assert found.volume_mm3 == pytest.approx(np.pi / 6 * core_mm**3, rel=0.5)


@pytest.mark.parametrize("glass_hu", [-650, -550, -450])
@pytest.mark.parametrize("noise_hu", [0, 40])
def test_ground_glass_has_no_solid_part_even_in_a_noisy_scan(glass_hu: float, noise_hu: float) -> None:
    assert part(0, glass_hu, 1, noise_hu) is None


@pytest.mark.parametrize("glass_hu", [-650, -550])
def test_a_vessel_that_runs_through_is_no_solid_part(glass_hu: float) -> None:
    assert part(0, glass_hu, vessel=True) is None


@pytest.mark.parametrize("core_mm", [6, 8, 12])
def test_a_vessel_through_the_core_hardly_makes_it_larger(core_mm: float) -> None:
    found = part(core_mm, -550, 1, 20, vessel=True)
    assert found is not None
    assert found.diameter_mm == pytest.approx(core_mm, abs=2.5)
    # The vessel is 20 mm long.
    assert found.long_axis_mm < core_mm + 5


def test_a_solid_nodule_is_solid_nearly_to_its_edge() -> None:
    ct, outline = made(20, noise_hu=20)
    found = solid_part(ct, outline)
    assert found is not None
    assert 0.9 < found.diameter_mm / outline.diameter_mm <= 1
    assert 0.8 < found.volume_mm3 / outline.volume_mm3 <= 1
