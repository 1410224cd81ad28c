"""What is measured of calcium: how much, where, in how many parts; the same however the nodule lies."""

from __future__ import annotations

import numpy as np
import pytest

from NoduleRiskLib.imaging.calcium_features import CALCIUM_FEATURES, calcium_features
from NoduleRiskLib.imaging.volume import Array

PIXEL_MM, STEP_MM, SIDE, SLICES = 0.7, 1.25, 64, 21
Z, Y, X = np.meshgrid(
    (np.arange(SLICES) - SLICES // 2) * STEP_MM,
    *[(np.arange(SIDE) - (SIDE - 1) / 2) * PIXEL_MM] * 2,
    indexing="ij",
)
RADIUS_MM = 8.0


def ball(radius_mm: float, *at: float) -> Array:
    """Bool (21, 64, 64): a ball about a place (z, y, x), mm."""
    z, y, x = at or (0.0, 0.0, 0.0)
    return np.asarray(np.sqrt((Z - z) ** 2 + (Y - y) ** 2 + (X - x) ** 2) <= radius_mm)


def measured(*calcium: Array, hu: float = 800.0) -> dict[str, float]:
    """The features of a ball of 30 HU with calcium in some places."""
    nodule = ball(RADIUS_MM)
    pixels = np.where(nodule, 30.0, -850.0).astype(np.float32)
    for one in calcium:
        pixels[one & nodule] = hu
    held = nodule.any((1, 2))
    values = calcium_features(pixels[held], nodule[held].astype(np.float32), np.arange(held.sum()) * STEP_MM, PIXEL_MM)
    assert np.isfinite(values).all()
    return dict(zip(CALCIUM_FEATURES, values.tolist(), strict=True))


def test_without_calcium_there_is_none() -> None:
    none = measured()
    assert none["calcium's share"] == none["parts"] == none["largest part"] == none["offset"] == 0
    assert none["peak"] < 0
    assert none["volume"] == pytest.approx(np.log(4 / 3 * np.pi * RADIUS_MM**3), abs=0.03)


def test_calcium_in_the_middle_and_at_the_side_differ_by_where_it_lies() -> None:
    central, beside = measured(ball(3)), measured(ball(3, 0, 4.5, 0))
    assert central["offset"] < 0.02 < 0.5 < beside["offset"] < 0.62
    assert central["calcium from 0 radii on"] > 0.5 > 0.2 > beside["calcium from 0 radii on"]
    assert central["scatter"] == pytest.approx(1, abs=0.06) and beside["scatter"] == pytest.approx(1, abs=0.06)
    assert central["parts"] == beside["parts"] == 1
    assert central["calcium"] == pytest.approx(np.log(4 / 3 * np.pi * 3**3), abs=0.15)


def test_popcorn_is_many_parts_and_a_shell_is_hollow() -> None:
    places = [(0, 4, 0), (0, -4, 0), (0, 0, 4), (3.75, 0, -3)]
    popcorn = measured(*(ball(1.6, *place) for place in places))
    assert popcorn["parts"] == 4 and popcorn["largest part"] < 0.4 and popcorn["scatter"] > 1.4
    shell = measured(ball(6) & ~ball(4.5))
    assert shell["parts"] == 1 and shell["calcium from 0 radii on"] < 0.01 < 0.5 < shell["calcium from 0.45 radii on"]
    assert shell["spread of the radius"] < 0.1 < popcorn["spread of the radius"]


def test_all_of_it_is_calcium() -> None:
    solid = measured(ball(RADIUS_MM))
    assert solid["calcium's share"] == 1 and solid["scatter"] == pytest.approx(1, abs=0.03)
    assert solid["calcium"] == pytest.approx(solid["volume"])
    # Soft kernels blur: half as dense is still much.
    assert 0.4 < measured(ball(RADIUS_MM), hu=275.0)["calcium's share"] < 0.6


def test_small_thin_and_empty_outlines_are_measured_or_said_to_be_empty() -> None:
    pixels = np.full((3, 64, 64), 900.0, np.float32)
    outline = np.zeros_like(pixels)
    assert np.isnan(calcium_features(pixels, outline, np.arange(3.0), PIXEL_MM)).all()
    outline[1, 30, 30] = 1
    for slices in (slice(0, 3), slice(1, 2)):
        values = calcium_features(pixels[slices], outline[slices], np.arange(3.0)[slices], PIXEL_MM)
        assert np.isfinite(values).all() and values[CALCIUM_FEATURES.index("parts")] == 1


@pytest.mark.parametrize("flipped", [0, 1, 2])
def test_it_is_the_same_mirrored(flipped: int) -> None:
    pixels = np.where(ball(3, 1.25, 3, -2), 700.0, 20.0).astype(np.float32)
    outline, offset = ball(RADIUS_MM).astype(np.float32), np.arange(SLICES) * STEP_MM
    mirrored = calcium_features(np.flip(pixels, flipped), np.flip(outline, flipped), offset, PIXEL_MM)
    assert mirrored == pytest.approx(calcium_features(pixels, outline, offset, PIXEL_MM), abs=1e-4)
