"""What a radiologist would believe too easily if unusual scans and places were not pointed out."""

from __future__ import annotations

import numpy as np
import pytest

from NoduleRiskLib.errors import InputWarning
from NoduleRiskLib.imaging import input_checks
from NoduleRiskLib.imaging.outline import measure
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Array, Volume
from Testing.unit.imaging.made_scans import chest
from training.evaluation.robustness import around

SPACING = (2.0, 1.0, 1.0)


def body(blood_hu: float = 45) -> Volume:
    """A box of soft tissue (200 x 160 mm, 160 mm high) in air with a lung left of the midline and a heart right."""
    k_mm, j_mm, i_mm = SPACING
    z, y, x = np.ix_(np.arange(0, 160, k_mm), np.arange(-100, 100, j_mm), np.arange(-130, 130, i_mm))
    hu = np.full(np.broadcast_shapes(z.shape, y.shape, x.shape), -1000.0)
    hu[np.broadcast_to((abs(y) < 80) & (abs(x) < 100), hu.shape)] = 40
    hu[np.broadcast_to((abs(y) < 60) & (x > 20) & (x < 90), hu.shape)] = -850
    hu[(z - 80) ** 2 + y**2 + (x + 40) ** 2 < 30**2] = blood_hu
    # Spine: bright, but too slim to be a blood pool.
    hu[np.broadcast_to((abs(y - 65) < 11) & (abs(x) < 11), hu.shape)] = 250
    matrix = np.array([[-i_mm, 0, 0, 130], [0, -j_mm, 0, 100], [0, 0, k_mm, 0], [0, 0, 0, 1.0]])
    return Volume(hu.astype(np.int16), matrix)


def place(x_left: float, y_back: float, z_up: float) -> Point:
    return Point("P", (-x_left, -y_back, z_up))


@pytest.mark.parametrize(
    ("point", "words"),
    [
        (place(55, 0, 80), None),
        (place(88, 0, 80), None),
        (place(-123, -90, 80), "only air"),
        (place(-60, 40, 80), "outside the lungs"),
    ],
    ids=["in the lung", "on the chest wall", "outside the body", "in the other side's tissue"],
)
def test_a_point_where_no_lung_is_gets_said_so(point: Point, words: str | None) -> None:
    found = input_checks.check_point(body(), point)
    assert len(found) == (words is not None)
    assert all(words is not None and words in one.text and "P" in one.text for one in found)
    assert all((one.about, one.doubt) == ("nodule", input_checks.OUTSIDE) for one in found)


def test_in_a_crop_without_lungs_what_lies_around_the_point_decides() -> None:
    whole = body()
    for point, words in ((place(55, 0, 80), None), (place(-60, 40, 80), "No lung lies"), (place(-123, -90, 80), "air")):
        found = input_checks.check_point(around(whole, point, 25), point)
        assert [words is not None and words in one.text for one in found] == [True] * (words is not None)


def test_enhanced_blood_is_told_from_plain_blood_and_from_bone() -> None:
    assert not input_checks.has_contrast(body(blood_hu=45))
    assert input_checks.has_contrast(body(blood_hu=280))
    assert any("contrast" in sentence for sentence in input_checks.check_volume(body(blood_hu=280)))


@pytest.mark.parametrize(
    ("noise_hu", "words"), [(0, ()), (30, ()), (70, ()), (100, ("half a step",)), (250, ("a whole step",))]
)
@pytest.mark.parametrize("spacing_mm", [0.5, 0.8])
def test_noise_that_moves_grades_is_told_with_its_strength(
    noise_hu: float, words: tuple[str, ...], spacing_mm: float
) -> None:
    hu = chest(20, round(80 / spacing_mm), noise_hu)
    volume = Volume(hu, np.diag((-spacing_mm, -spacing_mm, 2.0, 1.0)))
    measured = input_checks.lung_noise_hu(volume)
    assert measured == pytest.approx(noise_hu, rel=0.15, abs=1)
    found = input_checks.check_volume(volume)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_vessels_and_edges_of_the_lung_are_no_noise() -> None:
    assert input_checks.check_volume(body()) == ()
    assert input_checks.check_volume(Volume(chest(20, 96, 5), np.eye(4))) == ()


def test_without_lung_there_is_no_noise_to_measure() -> None:
    assert input_checks.lung_noise_hu(Volume(np.full((9, 30, 30), 40, np.int16), np.eye(4))) is None


def outlined(centre: Array, radius_mm: float) -> tuple[InputWarning, ...]:
    volume = body()
    stack = cut(volume, centre, Layout("native"))
    inside = np.linalg.norm(stack.pixels_ras() - centre, axis=-1) < radius_mm
    outline = measure(stack, inside.astype(np.float32))
    assert outline is not None
    return input_checks.check_outline(volume, Point("P", tuple(centre)), outline)


def test_a_nodule_that_the_scan_cuts_off_is_pointed_out() -> None:
    assert outlined(np.array([-55.0, 0, 80]), 6) == ()
    (warning,) = outlined(np.array([-55.0, 0, 4]), 6)
    assert "edge of the scan" in warning.text and not warning.doubt


def test_sizes_that_nobody_trained_on_are_pointed_out() -> None:
    (warning,) = outlined(np.array([-55.0, 0, 80]), 1)
    assert "3 to 40 mm" in warning.text and not warning.doubt


def test_what_looks_like_a_vessel_is_doubtful() -> None:
    (warning,) = input_checks.check_likeness(Point("P", (0, 0, 0)), 0.3, 0.31)
    assert (warning.about, warning.doubt) == ("nodule", input_checks.VESSEL)
    assert input_checks.check_likeness(Point("P", (0, 0, 0)), 0.9, 0.9) == ()
