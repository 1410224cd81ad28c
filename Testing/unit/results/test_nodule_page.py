"""What a reader of a nodule's page would lose if it did not show what the assessment says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from test_results import WARNINGS, changed, doubtful, found, named, nodule, nothing

from NoduleRiskLib.errors import InputWarning
from NoduleRiskLib.grades import DISCLAIMER
from NoduleRiskLib.imaging.slice_stack import LAYOUTS
from NoduleRiskLib.imaging.solid_part import SolidPart
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.nodule_page import ACCENT, ALERT, GREY, page, write_page

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


def words_and_colours(figure: Any) -> dict[str, str]:
    return {text.get_text(): text.get_color() for text in figure.axes[0].texts}


def test_a_doubtful_nodules_page_opens_with_the_doubt_and_greys_its_figures(
    volume: Volume, assessment: Assessment
) -> None:
    sure = words_and_colours(page(volume, assessment))
    unsure = words_and_colours(page(volume, doubtful(assessment, "vessel?", "outline unsure")))
    assert sure["68 %"] == ACCENT and "68 %" not in unsure
    assert unsure["Suspicion probability 68 %"] == GREY
    assert unsure["vessel?, outline unsure"] == ALERT and "vessel?" not in " ".join(sure)
    figures = [words for words in sure if "3.2 (2.6" in words or "12.9" in words]
    assert len(figures) >= 3
    assert all(unsure[words] == GREY != sure[words] for words in figures)


def test_what_holds_for_the_ct_stands_above_everything_else(volume: Volume, assessment: Assessment) -> None:
    texts = page(volume, assessment).axes[0].texts
    height = {text.get_text(): text.get_position()[1] for text in texts}
    about_ct, about_nodule = (next(y for words, y in height.items() if str(one)[:30] in words) for one in WARNINGS)
    assert about_ct < min(height["68 %"], height["Axial"]) and height["Grades"] < about_nodule
    assert sum(str(WARNINGS[0]) in text.get_text() for text in texts) == 1


def test_the_page_tells_the_solid_part_whose_outline_and_how_repeatable(volume: Volume, assessment: Assessment) -> None:
    outline = replace(found(assessment).outline, drawn_by="user", diameter_mm=11.1)
    estimates = tuple(
        replace(one, value=3.0) if one.grade.name == "texture" else one for one in found(assessment).estimates
    )
    one = changed(
        assessment,
        outline=outline,
        estimates=estimates,
        solid_part=SolidPart(6.23, 7.0, 5.5, 120.0),
        repeatability=(9.0, 24.0),
    )
    words = " ".join(" ".join(words_and_colours(page(volume, one))).split())
    for part in (
        "solid part 6.2 mm (7.0 × 5.5), 120 mm³, by threshold",
        "measured on your outline",
        "± 9 % in diameter and ± 24 % in volume",
    ):
        assert part in words
    assert "11.1" not in words, "the diameter stands among the grades alone"


@pytest.mark.parametrize("found", [True, False])
def test_warnings_and_disclaimer_stand_on_the_picture_however_many_there_are(
    volume: Volume, assessment: Assessment, found: bool
) -> None:
    warnings = tuple(
        InputWarning(f"This is the warning of number {i}, long enough to be wrapped around the line.", about)
        for i, about in enumerate(["ct", "nodule", "nodule"] * 4)
    )
    figure = page(volume, replace(assessment if found else nothing(), warnings=warnings))
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    for sentence in (*map(str, warnings), DISCLAIMER):
        assert sentence in " ".join(words.split())
    figure.canvas.draw()
    edges = figure.bbox
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert all(box.x0 >= 0 and box.x1 <= edges.x1 and box.y0 >= 0 and box.y1 <= edges.y1 for box in boxes)


@pytest.mark.parametrize("doubts", [True, False])
def test_no_words_on_the_picture_overlap(volume: Volume, assessment: Assessment, doubts: bool) -> None:
    widest = tuple(
        replace(one, value=max(range(len(one.grade.words)), key=lambda i: len(one.grade.words[i])) + one.grade.low)
        if one.grade.words
        else one
        for one in found(assessment).estimates
    )
    most = changed(
        doubtful(assessment, "vessel?", "outline unsure", "outside the lungs") if doubts else assessment,
        estimates=widest,
        solid_part=SolidPart(26.2, 27.0, 25.5, 11204.0),
        repeatability=(19.0, 124.0),
    )
    figure = page(volume, most)
    figure.canvas.draw()
    texts = [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts if text.get_text()]
    for i, (one, a) in enumerate(texts):
        for other, b in texts[:i]:
            # Letters fill less than their line: two pixels of it may be shared.
            apart = a.x0 >= b.x1 or b.x0 >= a.x1 or a.y0 >= b.y1 - 2 or b.y0 >= a.y1 - 2
            assert apart, f"{one!r} overlaps {other!r}"
