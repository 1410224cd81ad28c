"""What a grader would learn wrongly if a planted sign were not where, or not what, it is said to be."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from NoduleRiskLib.grades import CALCIFICATION_PATTERNS, GRADE_NAMES
from training.data import planted_signs
from training.data.crops import WIDE
from training.data.look_alikes import INNOCENT
from training.data.planted_signs import SIGNS, clean, fits
from training.data.planting import MOVES, TESTING, TRAINING, Subject

#: A smooth, round, solid nodule of 12 mm that every sign can be planted into.
PLAIN = {"subtlety": 5.0, "lobulation": 1.0, "spiculation": 1.0, "sphericity": 5.0, "margin": 5.0, "texture": 5.0}
PLAIN |= {"calcification": 6.0, "diameter": 12.0, "malignancy": 3.0}
LUNG, SOLID, NOISE = -850.0, 30.0, 20.0


def nodule(step_mm: float = 1.25, seed: int = 0, **grades: float) -> Subject:
    """A ball of soft tissue in noisy lung."""
    offset = np.arange(-15, 15 + step_mm / 2, step_mm)
    at = (np.arange(WIDE.pixels) - (WIDE.pixels - 1) / 2) * WIDE.pixel_mm
    away = np.sqrt(offset[:, None, None] ** 2 + at[:, None] ** 2 + at**2)
    share = np.clip(0.5 - (away - 6) / WIDE.pixel_mm, 0, 1).astype(np.float32)
    noise = np.random.default_rng(seed).normal(size=share.shape) * NOISE
    pixels = (LUNG + (SOLID - LUNG) * share + noise).astype(np.float32)
    means = np.array([{**PLAIN, **grades}[name] for name in GRADE_NAMES])
    return Subject(pixels, np.repeat(np.round(share * 255).astype(np.uint8)[:, None], 8, 1), offset, means)


@pytest.mark.parametrize("name", SIGNS)
@pytest.mark.parametrize("step_mm", [0.7, 2.5])
def test_a_sign_moves_its_grade_and_touches_nothing_elsewhere(name: str, step_mm: float) -> None:
    subject = nodule(step_mm)
    planted = SIGNS[name](subject, np.random.default_rng(1), TRAINING)
    assert planted.moves and set(planted.moves) <= set(MOVES) and not set(planted.free) & set(planted.moves)
    assert planted.touched.any()
    if name not in ("stretched", "scaled"):
        far = ~planted.touched & (np.abs(planted.pixels - subject.pixels) > 250)
        # Half-covered pixels at the sign's edge change without being counted.
        assert far.sum() < max(planted.touched.sum(), 60)


@pytest.mark.parametrize("name", INNOCENT)
def test_a_look_alike_moves_nothing(name: str) -> None:
    subject = nodule()
    planted = INNOCENT[name](subject, np.random.default_rng(2), TRAINING)
    assert planted.moves == {} and planted.pattern == -1
    assert not np.array_equal(planted.pixels, subject.pixels)
    if name not in ("again", "resampled"):
        assert planted.touched.any() and not (planted.touched & (subject.depth_mm < -1.5)).any()


def test_between_two_slices_lies_what_lies_between_them() -> None:
    subject = nodule()
    ramp = np.broadcast_to(subject.offset_mm[:, None, None] * 10.0, subject.pixels.shape)
    for seed in range(6):
        seen = INNOCENT["resampled"](replace(subject, pixels=ramp.astype(np.float32)), np.random.default_rng(seed))
        assert seen.offset_mm is not None
        assert len(seen.pixels) == len(seen.outlines) == len(seen.touched) == len(seen.offset_mm) >= len(ramp) - 1
        assert seen.pixels == pytest.approx(np.broadcast_to(seen.offset_mm[:, None, None] * 10, seen.pixels.shape))
        steps = np.abs(np.diff(seen.offset_mm))
        assert steps == pytest.approx(steps[0]) and min(1.0, subject.step_mm) - 1e-6 <= steps[0] <= subject.step_mm


def test_spicules_start_at_the_nodule_and_end_in_lung() -> None:
    subject = nodule()
    planted = planted_signs.spicules(subject, np.random.default_rng(0), count=(6, 6), length_mm=(6.0, 6.0))
    depth = subject.depth_mm[planted.touched]
    assert 3.5 < depth.max() < 7.5 and depth.min() < 1
    assert 1.0 < planted.moves["spiculation"] < 2.4
    few = planted_signs.spicules(subject, np.random.default_rng(0), count=(2, 2), length_mm=(4.0, 4.0))
    assert few.moves["spiculation"] < planted.moves["spiculation"] / 2
    spiculated = planted_signs.spicules(nodule(spiculation=4.5), np.random.default_rng(0))
    assert spiculated.moves["spiculation"] < 0.5


@pytest.mark.parametrize("pattern", range(len(CALCIFICATION_PATTERNS)))
def test_calcium_lies_where_its_pattern_says(pattern: int) -> None:
    name = CALCIFICATION_PATTERNS[pattern]
    subject = nodule()
    planted = planted_signs.calcium(subject, np.random.default_rng(3), pattern=pattern)
    away = np.linalg.norm(subject.places - subject.centre, axis=-1)[planted.touched]
    inside = (planted.touched & subject.inside).sum() / planted.touched.sum()
    share = (planted.touched & subject.inside).sum() / subject.inside.sum()
    assert inside > 0.85 and planted.pattern == pattern
    assert planted.pixels[planted.touched].mean() > 150
    assert planted.moves["calcification"] == pattern + 1 - 6
    if name == "central":
        assert away.max() < 4.5
    elif name == "non-central":
        assert np.linalg.norm(subject.places[planted.touched].mean(0) - subject.centre) > 2
    elif name == "solid":
        assert share > 0.6
    elif name == "laminated":
        assert away.min() > 0.8 and share < 0.6
    else:
        assert share < 0.6


@pytest.mark.parametrize(("kind", "texture"), [("whole", 1.3), ("half", 2.9), ("rim", 2.9)])
def test_ground_glass_thins_what_it_says(kind: str, texture: float) -> None:
    subject = nodule()
    planted = planted_signs.ground_glass(subject, np.random.default_rng(0), kind=kind)
    core = subject.depth_mm < -2
    thinned = (planted.pixels[core] < -250).mean()
    assert {"whole": thinned > 0.95, "half": 0.3 < thinned < 0.7, "rim": 0.1 < thinned < 0.8}[kind]
    assert planted.moves["texture"] == pytest.approx(texture - 5)
    # Lung stays lung.
    assert planted.pixels[subject.depth_mm > 4].mean() == pytest.approx(
        subject.pixels[subject.depth_mm > 4].mean(), abs=3
    )


def test_lobes_grow_the_outlines_within_the_nodules_slices() -> None:
    subject = nodule()
    planted = planted_signs.lobes(subject, np.random.default_rng(0))
    grown = (planted.outlines[:, 0] > 127).sum() / subject.inside.sum()
    assert 1.03 < grown < 2
    assert (planted.outlines >= subject.outlines).all()
    held = subject.inside.any((1, 2))
    assert not (planted.outlines[~held] > 127).any()


def test_a_blurred_margin_is_less_steep_and_keeps_the_core() -> None:
    subject = nodule()
    planted = planted_signs.blurred_margin(subject, np.random.default_rng(0), width_mm=(3.0, 3.0))
    middle = len(subject.pixels) // 2
    steep = [np.abs(np.gradient(one[middle].mean(0)[30:66])).max() for one in (subject.pixels, planted.pixels)]
    assert steep[1] < 0.8 * steep[0]
    assert planted.pixels[subject.depth_mm < -4].mean() == pytest.approx(SOLID, abs=15)


def test_stretching_and_scaling_change_the_outline_as_they_say() -> None:
    subject = nodule()
    stretched = planted_signs.stretched(subject, np.random.default_rng(0), ratio=(2.0, 2.0))
    middle = len(subject.pixels) // 2
    rows, columns = np.nonzero(stretched.outlines[middle, 0] > 127)
    long, short = np.sqrt(np.linalg.eigvalsh(np.cov(np.stack([rows, columns])))[::-1])
    assert long / short == pytest.approx(2, abs=0.15)
    assert len(rows) == pytest.approx(subject.inside[middle].sum(), rel=0.06)
    scaled = planted_signs.scaled(subject, np.random.default_rng(0), times=(1.3, 1.3))
    assert (scaled.outlines[middle, 0] > 127).sum() == pytest.approx(1.69 * subject.inside[middle].sum(), rel=0.05)
    assert scaled.moves["diameter"] == pytest.approx(np.log2(1.3))


def test_low_contrast_changes_the_lung_and_not_the_nodule() -> None:
    subject = nodule()
    planted = planted_signs.low_contrast(subject, np.random.default_rng(0), share=(0.5, 0.5))
    assert planted.pixels[subject.depth_mm > 3].mean() == pytest.approx((LUNG + SOLID) / 2, abs=15)
    assert planted.pixels[subject.depth_mm < -1].mean() == pytest.approx(
        subject.pixels[subject.depth_mm < -1].mean(), abs=5
    )


@pytest.mark.parametrize("name", [*SIGNS, *INNOCENT])
def test_the_scans_noise_stays(name: str) -> None:
    subject = nodule()
    planted = (SIGNS | INNOCENT)[name](subject, np.random.default_rng(5), TRAINING)
    if name in ("stretched", "scaled", "again"):
        return
    core = (subject.depth_mm < -4) & ~planted.touched
    core = core if core.sum() > 50 else subject.depth_mm < -4
    detail = np.diff(planted.pixels, axis=2)[core[:, :, 1:]]
    assert detail.std() > 0.7 * NOISE


def test_thick_slices_see_a_mean_over_their_thickness() -> None:
    thin, thick = nodule(0.7), nodule(5.0)
    brightest = [
        planted_signs.calcium(
            one, np.random.default_rng(0), pattern=CALCIFICATION_PATTERNS.index("non-central")
        ).pixels.max()
        for one in (thin, thick)
    ]
    assert brightest[1] < brightest[0]


def test_tests_draw_what_training_never_draws() -> None:
    for field in fields(TRAINING):
        for low, high in getattr(TESTING, field.name):
            assert all(high <= begin or low >= end for begin, end in getattr(TRAINING, field.name)), field.name


def test_signs_are_planted_where_they_can_be_seen() -> None:
    assert all(fits(name, nodule()) for name in (*SIGNS, *INNOCENT))
    assert not fits("spicules", nodule(spiculation=4.0)) and not fits("calcium", nodule(calcification=3.0))
    assert not fits("ground glass", nodule(texture=2.0)) and not fits("calcium", nodule(diameter=4.0))
    assert clean("spiculation", nodule()) and not clean("spiculation", nodule(spiculation=2.5))
    assert clean("texture", nodule()) and not clean("texture", nodule(texture=3.0))
    assert not clean("sphericity", nodule())
