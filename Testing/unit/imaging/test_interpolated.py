"""Which CTs have interpolated slices: noise with vessels, as reconstructed and on finer grids."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from NoduleRiskLib.imaging.input_checks import check_volume
from NoduleRiskLib.imaging.interpolated import APART_MM, graded_layout, is_interpolated
from NoduleRiskLib.imaging.slice_stack import LAYOUTS
from NoduleRiskLib.imaging.volume import Array, Volume

STEP_MM = 2.5


def scan(noise_hu: float = 20.0) -> Array:
    """Lung with soft structures, 40 slices 2.5 mm apart, int16."""
    rng = np.random.default_rng(4)
    bumps = gaussian_filter(rng.normal(size=(40, 96, 96)), (1, 4, 4))
    hu = -800 + 250 * bumps / bumps.std() + noise_hu * rng.normal(size=bumps.shape)
    return np.round(hu).astype(np.int16)


def placed(array: Array, step_mm: float) -> Volume:
    return Volume(array, np.diag([0.7, 0.7, step_mm, 1.0]))


def finer(array: Array, step_mm: float, phase: float = 0.0) -> Volume:
    at = np.arange(phase, (len(array) - 1) * STEP_MM, step_mm) / STEP_MM
    k, j, i = np.meshgrid(at, *map(np.arange, array.shape[1:]), indexing="ij")
    return placed(np.round(map_coordinates(array.astype(float), [k, j, i], order=1)).astype(np.int16), step_mm)


@pytest.mark.parametrize("noise_hu", [5.0, 20.0, 60.0])
def test_a_scanners_own_slices_are_not_interpolated(noise_hu: float) -> None:
    own = placed(scan(noise_hu), STEP_MM)
    assert not is_interpolated(own)
    assert graded_layout(LAYOUTS["native"], own) is LAYOUTS["native"]
    assert not any("interpolated" in text for text in check_volume(own))


@pytest.mark.parametrize("phase", [0.0, 0.3])
@pytest.mark.parametrize("step_mm", [0.5, 0.7, 1.0])
def test_linear_interpolation_is_found_and_only_distant_slices_are_graded(step_mm: float, phase: float) -> None:
    volume = finer(scan(), step_mm, phase)
    assert is_interpolated(volume)
    layout = graded_layout(LAYOUTS["native"], volume)
    assert layout.min_step_mm == APART_MM and layout.pixels == LAYOUTS["native"].pixels
    assert any("interpolated" in text for text in check_volume(volume))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_it_is_found_whichever_way_the_voxels_are_stored(axes: tuple[int, int, int]) -> None:
    volume = finer(scan(), 1.0)
    matrix = volume.ijk_to_ras.copy()
    matrix[:, :3] = matrix[:, [2 - axis for axis in axes[::-1]]]
    assert is_interpolated(Volume(np.ascontiguousarray(volume.array.transpose(axes)), matrix))


def test_finer_pixels_within_slices_are_something_else() -> None:
    assert not is_interpolated(placed(zoom(scan(), (1, 2, 2), order=1), STEP_MM))


def test_a_few_slices_and_an_even_image_cannot_be_told() -> None:
    assert not is_interpolated(placed(finer(scan(), 1.0).array[:4], 1.0))
    assert not is_interpolated(placed(np.full((30, 64, 64), -800, np.int16), 1.0))
