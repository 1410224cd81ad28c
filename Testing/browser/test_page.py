"""What a reader in a browser would lose: places, grades, heatmaps, outlines, files; in a real headless Chromium."""

from __future__ import annotations

import numpy as np
from driving import grades, picture, place_point, settled

from NoduleRiskLib.grades import GRADE_NAMES


def coloured(pixels: np.ndarray) -> np.ndarray:
    """Where an image is not grey, bool (rows, columns)."""
    return np.ptp(pixels.astype(int), axis=-1) > 24


def test_a_click_brings_nine_grades_and_the_heatmap_onto_the_nodule(page) -> None:
    plain = settled(page)
    assert not coloured(plain).any()
    assert page.get_by_text("Research use only").is_visible()
    place_point(page)
    picture(page, "graded")
    found = grades(page)
    assert list(found) == list(GRADE_NAMES)
    assert float(found["malignancy"]) > 3
    # Outline, marker and its name have colours of their own: without them.
    page.get_by_label("Outline", exact=True).uncheck()
    page.get_by_label("Heatmap opacity").fill("100")
    with_heat = settled(page)
    page.get_by_label("Heatmap:").uncheck()
    without = settled(page)
    changed = np.abs(with_heat.astype(int) - without.astype(int)).max(-1) > 12
    rows, columns = np.nonzero(changed)
    assert len(rows) > 300
    # It lies on the nodule, which is in the middle: 30 mm of the 110 that the view is wide.
    height, width = changed.shape
    assert np.hypot(rows - height / 2, columns - width / 2).max() < 0.27 * min(height, width)
    # The heatmap's colours run from violet to yellow: over grey, all are redder than green.
    red, green, _ = with_heat[changed].astype(int).T
    assert np.mean(red > green) > 0.97


def test_another_grade_shows_another_heatmap(page) -> None:
    place_point(page)
    page.get_by_label("Outline", exact=True).uncheck()
    page.get_by_label("Heatmap opacity").fill("100")
    of_malignancy = settled(page)
    page.get_by_role("button", name="spiculation").click()
    page.wait_for_selector("tr.chosen >> text=spiculation")
    of_spiculation = settled(page)
    assert np.abs(of_malignancy.astype(int) - of_spiculation).max(-1).max() > 12
    assert page.locator(".nr-grades tr.chosen").count() == 1
