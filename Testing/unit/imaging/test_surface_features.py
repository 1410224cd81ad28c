"""What a nodule's surface is measured by: shapes and edges whose measures are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from NoduleRiskLib.imaging.surface_features import SURFACE_FEATURES, WAVES, surface_features
from NoduleRiskLib.imaging.volume import Array

PIXEL_MM, STEP_MM = 0.7, 1.25
LUNG_HU, CORE_HU = -850.0, 40.0
Radius = Callable[[Array], Array]


def told(radius: Radius, edge_mm: float = 0.3, shift: tuple[int, int] = (0, 0)) -> dict[str, float]:
    """Of a body whose contour is ``radius`` (mm) of the angle in its middle slice, its edge ``edge_mm`` wide."""
    at = (np.arange(64) - 31.5) * PIXEL_MM
    offset = np.arange(-9, 9.1, STEP_MM)
    z, y, x = np.meshgrid(offset, at, at, indexing="ij")
    smaller = np.sqrt(np.clip(1 - (z / 9.5) ** 2, 0, 1))
    depth = radius(np.arctan2(y, x)) * smaller - np.hypot(y, x)
    depth, outline = np.roll(depth, shift, (1, 2)), np.roll(np.clip(0.5 + depth / PIXEL_MM, 0, 1), shift, (1, 2))
    pixels = LUNG_HU + (CORE_HU - LUNG_HU) / (1 + np.exp(-depth / (edge_mm / 2)))
    values = surface_features(pixels.astype(np.float32), outline.astype(np.float32), offset, PIXEL_MM)
    assert values.dtype == np.float32
    return dict(zip(SURFACE_FEATURES, values.tolist(), strict=True))


def round_one(angle: Array) -> Array:
    return np.full_like(angle, 8.0)


def waving(count: int) -> Radius:
    return lambda angle: 8 + 1.5 * np.cos(count * angle)


def test_a_ball_has_no_waves_and_fills_its_hull() -> None:
    ball = told(round_one)
    assert ball["solidity"] > 0.93 and ball["short over long axis"] > 0.98
    assert ball["perimeter"] == pytest.approx(1.04, abs=0.05)
    assert max(ball[f"wave {wave}"] for wave in WAVES) < 0.01
    assert ball["gradient towards the middle"] > 0.9
    assert ball["volume"] == pytest.approx(np.log(4 / 3 * np.pi * 8 * 8 * 9.5), abs=0.05)


@pytest.mark.parametrize("count", WAVES)
def test_a_contours_waves_are_counted(count: int) -> None:
    body, ball = told(waving(count)), told(round_one)
    found = {wave: body[f"wave {wave}"] for wave in WAVES}
    # Half of 1.5 of 8 mm, and somewhat less where pixels are as large as teeth.
    assert max(found, key=found.__getitem__) == count and found[count] == pytest.approx(0.75 / 8, abs=0.02)
    assert body["perimeter"] > ball["perimeter"] + 0.02
    assert body["spread of the radius"] > ball["spread of the radius"] + 0.05
    # An ellipse has no notch.
    assert (body["solidity"] < ball["solidity"] - 0.015) == (count > 2)
    assert (body["short over long axis"] < 0.9) == (count == 2)


def test_many_fine_teeth_are_told_from_a_few_lobes() -> None:
    assert told(waving(12))["teeth"] > told(waving(4))["teeth"] + 0.05


def test_hu_fall_as_fast_as_the_margin_is_sharp() -> None:
    sharp, blurred = told(round_one, 0.3), told(round_one, 2.5)
    for body in (sharp, blurred):
        profile = [value for name, value in body.items() if name.startswith("HU")]
        assert profile == sorted(profile, reverse=True)
        assert profile[0] == pytest.approx(CORE_HU, abs=25) and profile[-1] == pytest.approx(LUNG_HU, abs=30)
    assert sharp["gradient"] > blurred["gradient"] + 20
    assert sharp["HU to 0 mm"] > blurred["HU to 0 mm"] + 50
    assert sharp["HU to 1.6 mm"] < blurred["HU to 1.6 mm"] - 50


def test_it_makes_no_difference_where_the_nodule_lies_in_the_slice() -> None:
    here, there = told(waving(3)), told(waving(3), shift=(5, -7))
    assert there == pytest.approx(here, rel=1e-4, abs=1e-4)


def test_the_smallest_nodules_are_measured_and_none_is_nothing() -> None:
    pixels, outline = np.full((3, 32, 32), LUNG_HU, np.float32), np.zeros((3, 32, 32), np.float32)
    assert np.isnan(surface_features(pixels, outline, np.arange(3.0), PIXEL_MM)).all()
    outline[1, 10, 20], pixels[1, 10, 20] = 1, CORE_HU
    for slices in (slice(0, 3), slice(1, 2)):
        values = surface_features(pixels[slices], outline[slices], np.arange(3.0)[slices], PIXEL_MM)
        assert np.isfinite(values).all()
    outline[1, 10, :] = 1
    assert np.isfinite(surface_features(pixels, outline, np.arange(3.0), PIXEL_MM)).all()


@pytest.mark.filterwarnings("error")
def test_an_outline_that_fills_its_slices_is_measured_too() -> None:
    whole = np.ones((2, 16, 16), np.float32)
    assert np.isfinite(surface_features(whole * CORE_HU, whole, np.arange(2.0), PIXEL_MM)).all()
