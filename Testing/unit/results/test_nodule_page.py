"""What a reader of a nodule's page would lose if it did not show what the assessment says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from test_results import changed, found, named, nodule, nothing

from NoduleRiskLib.errors import InputWarning
from NoduleRiskLib.grades import DISCLAIMER
from NoduleRiskLib.imaging.slice_stack import LAYOUTS
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.nodule_page import page, write_page

# --- picture ---


def saturation(path: Path) -> Array:
    """How colourful each pixel of a PNG is, 0 to 1."""
    pixels = imread(path)[..., :3]
    return np.asarray(pixels.max(-1) - pixels.min(-1))


def panel(figure: Any, number: int, pixels: Array) -> Array:
    """The part of a page's pixels that shows one of its slices, in the order in which they were drawn."""
    left, bottom, right, top = figure.axes[number + 1].get_position().extents
    height, width = pixels.shape
    return pixels[int((1 - top) * height) : int((1 - bottom) * height), int(left * width) : int(right * width)]


def test_the_picture_shows_the_heatmap_on_the_nodule_and_leaves_the_plain_slice_plain(
    tmp_path: Path, volume: Volume, assessment: Assessment
) -> None:
    write_page(tmp_path / "a.png", volume, assessment)
    figure, colour = page(volume, assessment), saturation(tmp_path / "a.png")
    plain, explained = (panel(figure, number, colour) for number in (0, 1))
    assert plain.max() < 0.1
    middle = tuple(slice(n // 2 - 10, n // 2 + 10) for n in explained.shape)
    assert explained[middle].min() > 0.2
    assert np.median(explained) < 0.02
    assert imread(tmp_path / "a.png")[..., :3].std() > 0.2


def test_without_heatmaps_nothing_looks_like_one(tmp_path: Path, volume: Volume) -> None:
    assessment = nodule(volume, heatmaps=False)
    write_page(tmp_path / "a.png", volume, assessment)
    explained = panel(page(volume, assessment), 1, saturation(tmp_path / "a.png"))
    middle = tuple(slice(n // 2 - 10, n // 2 + 10) for n in explained.shape)
    assert explained[middle].max() < 0.1 and explained.max() > 0.3, "the outline alone is coloured"


def test_the_picture_shows_the_patients_right_on_the_left_and_the_front_and_head_on_top(
    volume: Volume, assessment: Assessment
) -> None:
    axial, coronal, sagittal = (np.asarray(page(volume, assessment).axes[n].images[0].get_array()) for n in (1, 3, 5))
    front, left, below = (0, 1), (1, 0), (0, -1)

    def bright(view: Array) -> set[tuple[int, int]]:
        """Where marks lie, seen from the middle: (to the right, up)."""
        places = np.argwhere(view > 500) - (np.array(view.shape) - 1) / 2
        return {(int(np.sign(x)) * (abs(x) > 60), -int(np.sign(y)) * (abs(y) > 60)) for y, x in places}

    assert bright(axial) == {front, left}
    assert bright(coronal) == {left, below}
    # Sagittal slices are seen from the left: the front is on the left.
    assert bright(sagittal) == {(-1, 0), below}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_and_every_answer_has_its_picture(tmp_path: Path, volume: Volume, name: str) -> None:
    assessment = nodule(volume, LAYOUTS[name], label="costs $5 or $6_x$ and [more]")
    for i, one in enumerate((assessment, named(nothing(), "$x"))):
        write_page(tmp_path / f"{i}.png", volume, one)
        assert imread(tmp_path / f"{i}.png").std() > 0.1


@pytest.mark.parametrize("found", [True, False])
def test_warnings_and_disclaimer_stand_on_the_picture_however_many_there_are(
    volume: Volume, assessment: Assessment, found: bool
) -> None:
    warnings = tuple(
        InputWarning(f"This is the warning of number {i}, long enough to be wrapped around the line.", "nodule")
        for i in range(9)
    )
    figure = page(volume, replace(assessment if found else nothing(), warnings=warnings))
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    for sentence in (*map(str, warnings), DISCLAIMER):
        assert sentence in " ".join(words.split())
    figure.canvas.draw()
    edges = figure.bbox
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(box.x0 >= 0 and box.x1 <= edges.x1 and box.y0 >= 0 and box.y1 <= edges.y1 for box in boxes)


def test_no_words_on_the_picture_overlap(volume: Volume, assessment: Assessment) -> None:
    widest = tuple(
        replace(one, value=max(range(len(one.grade.words)), key=lambda i: len(one.grade.words[i])) + one.grade.low)
        if one.grade.words
        else one
        for one in found(assessment).estimates
    )
    figure = page(volume, changed(assessment, estimates=widest))
    figure.canvas.draw()
    texts = [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts if text.get_text()]
    for i, (one, a) in enumerate(texts):
        for other, b in texts[:i]:
            # Letters fill less than their line: two pixels of it may be shared.
            apart = a.x0 >= b.x1 or b.x0 >= a.x1 or a.y0 >= b.y1 - 2 or b.y0 >= a.y1 - 2
            assert apart, f"{one!r} overlaps {other!r}"
