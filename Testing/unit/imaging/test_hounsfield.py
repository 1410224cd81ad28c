"""What a user would lose if values that are no HU were graded, or real ones refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.hounsfield import check_hounsfield
from NoduleRiskLib.imaging.volume import Array, Volume, checked_ct
from NoduleRiskLib.phantom.chest_ct import chest_ct
from Testing.unit.imaging.made_scans import chest

Change = Callable[[Array], Array]
PLACE = np.diag((-0.8, -0.8, 2.0, 1.0))


def checked(hu: Array) -> tuple[str, ...]:
    """The warnings for values that were rounded and kept as 16 bits."""
    stored = np.clip(np.rint(hu), -32768, 32767).astype(np.int16)
    return checked_ct(Volume(stored, PLACE, "scan")).warnings


def padded(hu: Array, value: float = -2000) -> Array:
    """With the corners that lie outside of a scanner's field of view."""
    j, i = np.indices(hu.shape[1:]) - (np.array(hu.shape[1:]) / 2 - 0.5)[:, None, None]
    return np.where(np.hypot(j, i) > hu.shape[1] * 0.55, value, hu)


NO_HU: dict[str, Change] = {
    "stored values": lambda hu: hu + 1024,
    "stored values, intercept -1000": lambda hu: hu + 1000,
    "intercept twice": lambda hu: hu - 1024,
    "intercept twice, cut at -1024": lambda hu: np.maximum(hu - 1024, -1024),
    "slope 2 lost": lambda hu: (hu + 1024) / 2 - 1024,
    "slope 1.5 lost": lambda hu: (hu + 1024) / 1.5 - 1024,
    "slope 0.5 lost": lambda hu: (hu + 1024) / 0.5 - 1024,
    "slope 0.1 lost": lambda hu: (hu + 1024) / 0.1 - 1024,
    "slope 4 lost": lambda hu: (hu + 1024) / 4 - 1024,
    "display values": lambda hu: np.clip((hu + 1350) / 1500 * 255, 0, 255),
    "wrong byte order": lambda hu: np.rint(hu).astype(np.int16).byteswap(),
    "unsigned": lambda hu: np.rint(hu).astype(np.int16).view(np.uint16).astype(float),
}


@pytest.mark.parametrize("change", NO_HU)
@pytest.mark.parametrize("padding", [None, -2000, -3024, -1024, -32768])
def test_values_that_are_no_hu_are_refused_whatever_fills_the_corners(change: str, padding: float | None) -> None:
    hu = NO_HU[change](chest(30, 64).astype(float))
    with pytest.raises(NoduleRiskError, match="not the HU of a chest"):
        checked(hu if padding is None else padded(hu, padding))


CHESTS: dict[str, Change] = {
    "plain": lambda hu: hu,
    "corners -2000": padded,
    "corners -3024": lambda hu: padded(hu, -3024),
    "outside -1024": lambda hu: np.where(hu < -950, -1024, hu),
    "air cut at -1000": lambda hu: np.maximum(hu, -1000),
    "noise of 100 HU": lambda hu: hu + np.random.default_rng(1).normal(0, 100, hu.shape),
    "noise of 250 HU": lambda hu: hu + np.random.default_rng(1).normal(0, 250, hu.shape),
    "metal": lambda hu: np.where(np.arange(hu.shape[2]) == 30, 3071, hu),
    "extended metal": lambda hu: np.where(np.arange(hu.shape[2]) == 30, 14000, hu),
    "contrast medium": lambda hu: np.where(hu > 100, hu + 100, hu),
    "expiration": lambda hu: np.where((hu < -700) & (hu > -920), hu + 200, hu),
    "one lung only": lambda hu: hu[:, 12:-12, 30:],
    "nearly only lung": lambda hu: hu[:, 20:-20, 40:54],
    "nearly no lung": lambda hu: hu[:, :, 28:46],
    "calibrated 20 HU low": lambda hu: hu - 20,
}


@pytest.mark.parametrize("change", CHESTS)
def test_unusual_chests_are_read_without_a_word(change: str) -> None:
    assert checked(CHESTS[change](chest(30, 64).astype(float))) == ()


def test_the_synthetic_ct_is_a_chest() -> None:
    volume, _ = chest_ct()
    assert checked_ct(volume).warnings == volume.warnings


def test_a_painted_scan_of_few_values_is_no_ones_mistake() -> None:
    hu = np.full((20, 40, 40), -850, np.int16)
    hu[8:12, 10:20, 10:20] = 40
    assert check_hounsfield("scan", hu) == ()
    # A ball that one slice alone cuts lies between slices that are the same.
    hu[15, 5:30, 5:30] = 40
    assert checked(hu) == ()


@pytest.mark.parametrize("end", [0, 40, 100, 150, 240, 400])
@pytest.mark.parametrize("padding", [None, -2000])
def test_values_cut_at_a_windows_end_are_told(end: int, padding: float | None) -> None:
    # Calcium of 700 HU, as in a calcified nodule.
    hu = chest(30, 64).astype(float)
    hu[10:14, 30:34, 18:22] += 700
    hu = np.minimum(hu, end)
    (warning,) = checked(hu if padding is None else padded(hu, padding))
    assert f"above {end} HU are cut off" in warning


def test_lung_cut_at_a_windows_end_is_told() -> None:
    (warning,) = checked(padded(np.maximum(chest(30, 64), -800)))
    assert "below -800 HU are cut off" in warning


def test_tissue_that_is_too_bright_is_told() -> None:
    assert any("near 240 HU" in warning or "near 239 HU" in warning for warning in checked(chest(30, 64) + 200))


def test_slices_of_two_scans_in_a_file_are_refused() -> None:
    mixed = np.stack([chest(20), chest(20, shift=5)], 1).reshape(40, 48, 48)
    with pytest.raises(NoduleRiskError, match="holds two scans"):
        checked(mixed)
    with pytest.raises(NoduleRiskError, match="holds two scans"):
        # Only where they overlap.
        checked(np.concatenate([chest(20), mixed[:16], chest(20)]))


def test_a_reformatted_scan_with_a_sharp_kernel_is_one_scan() -> None:
    # Sharpening makes the noise of neighbouring pixels opposite; slices run along one of their axes.
    noise = np.random.default_rng(0).normal(0, 60, (64, 64, 64))
    noise -= (np.roll(noise, 1, 0) + np.roll(noise, -1, 0)) / 2
    hu = chest(64, 64, 0).transpose(1, 0, 2) + noise
    cube = np.diag((-0.6, -0.6, 0.6, 1.0))
    assert checked_ct(Volume(np.rint(hu).astype(np.int16), cube, "scan")).warnings == ()


def test_a_lost_slice_of_a_file_is_told_by_its_number() -> None:
    hu = chest(20)
    hu[6] = -1024
    with pytest.raises(NoduleRiskError, match=r"\(slice 7 of 20\)"):
        checked(hu)
