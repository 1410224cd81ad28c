"""Known signs put into real nodules: what a grade must answer to."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from NoduleRiskLib.grades import CALCIFICATION_PATTERNS
from NoduleRiskLib.imaging.volume import Array

from .crops import WIDE
from .planting import (
    MAY_FOLLOW,
    TRAINING,
    Plant,
    Planted,
    Ranges,
    Subject,
    ball,
    draw_from,
    into_lung,
    kept_noise,
    mapped,
    one_of,
    put,
    random_way,
    rod,
)

#: By move: the grade, and up to (or from) which mean the readers saw no sign.
CLEAN_END = {
    "spiculation": ("spiculation", 1.75),
    "lobulation": ("lobulation", 1.75),
    "margin": ("margin", 4.25),
    "texture": ("texture", 4.6),
    "calcification": ("calcification", 5.7),
    "presence": ("calcification", 5.7),
}


def spicules(
    subject: Subject,
    rng: np.random.Generator,
    ranges: Ranges = TRAINING,
    count: tuple[int, int] = (4, 10),
    length_mm: tuple[float, float] = (4.0, 9.0),
) -> Planted:
    """Thin spikes into lung, tapering, all round or on one side; spiculation rises with their number and length."""
    number, side = int(rng.integers(count[0], count[1] + 1)), random_way(rng) if rng.random() < 0.4 else None
    density, width = min(subject.density, 60.0) - rng.uniform(0, 100), draw_from(rng, ranges.spicule_width_mm)
    cover, length = np.zeros(subject.pixels.shape, np.float32), 0.0
    for _ in range(number):
        reach = rng.uniform(*length_mm)
        way = into_lung(subject, rng, reach, side, flat=0.12)
        if way is None:
            continue
        start, direction = way
        thick = width * rng.uniform(0.85, 1.15) / 2
        ends = start - direction, start + direction * reach
        np.maximum(cover, rod(subject, *ends, thick, 0.6 * thick), out=cover)
        length += reach
    pixels, touched = put(subject, cover, density, rng)
    room = np.clip((5 - subject.grade("spiculation")) / 2.5, 0, 1)
    seen = np.clip((pixels - subject.pixels)[touched].mean() / 400, 0, 1) if touched.any() else 0.0
    return Planted(pixels, subject.outlines, touched, {"spiculation": 1.9 * room * seen * min(length / 32, 1.25)})


def calcium(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, pattern: int = -1) -> Planted:
    """Calcium in one of LIDC's five patterns (any, by default)."""
    pattern = int(rng.integers(len(CALCIFICATION_PATTERNS))) if pattern < 0 else pattern
    name, radius = CALCIFICATION_PATTERNS[pattern], subject.diameter_mm / 2
    away = np.linalg.norm(subject.places - subject.centre.astype(np.float32), axis=-1)
    if name == "solid":
        cover = np.clip(0.5 - (subject.depth_mm + rng.uniform(0.3, 0.8)) / WIDE.pixel_mm, 0, 1)
    elif name == "central":
        cover = ball(subject, subject.centre, float(np.clip(radius * rng.uniform(0.35, 0.6), 1.4, 4)))
    elif name == "laminated":
        cover = np.zeros_like(subject.pixels)
        for share in (0.75, 0.35) if radius > 5 else (0.7,):
            shell = np.abs(away - share * radius) - rng.uniform(0.45, 0.8)
            np.maximum(cover, np.clip(0.5 - shell / WIDE.pixel_mm, 0, 1), out=cover)
        cover *= subject.depth_mm < 0
    else:
        many = name == "popcorn"
        cover = np.zeros_like(subject.pixels)
        for _ in range(int(rng.integers(4, 8)) if many else 1):
            far = (0.0, 0.75) if many else (0.45, 0.75)
            fleck = rng.uniform(0.9, 1.8) if many else rng.uniform(1.5, 2.5)
            near = (away > far[0] * radius) & (away < max(far[1] * radius, 1.5)) & (subject.depth_mm < -0.8)
            middle = one_of(subject, near if near.any() else subject.inside, rng)
            np.maximum(cover, ball(subject, middle, min(fleck, 0.45 * radius)), out=cover)
        cover *= subject.depth_mm < 0.3
    pixels, touched = put(subject, cover.astype(np.float32), draw_from(rng, ranges.calcium_hu), rng)
    # Codes 1 to 5 are the patterns, 6 is absent.
    moves = {"presence": 5.5, "calcification": min(pattern + 1 - subject.grade("calcification"), 0.0)}
    return Planted(pixels, subject.outlines, touched, moves, pattern=pattern)


def ground_glass(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, kind: str = "") -> Planted:
    """The whole, one half, or all but a core thinned to ground glass; texture falls."""
    kind = kind or str(rng.choice(["whole", "half", "rim"]))
    soft = subject.step_mm if kind == "half" else 1.0
    if kind == "half":
        side = random_way(rng)
        along = (subject.places - subject.centre) @ side + rng.uniform(-0.1, 0.1) * subject.diameter_mm
        region = np.clip(0.5 + along / max(soft, 1.0), 0, 1)
    elif kind == "rim":
        core = subject.diameter_mm / 2 * rng.uniform(0.35, 0.55)
        region = np.clip(0.5 + (np.linalg.norm(subject.places - subject.centre, axis=-1) - core) / 1.4, 0, 1)
    else:
        region = np.ones_like(subject.pixels)
    region = region * np.clip(0.5 - (subject.depth_mm - 1.4) / 1.4, 0, 1)
    glass = draw_from(rng, ranges.glass_hu)
    # Vessels and texture show through, fainter; lung stays lung.
    through = glass + 0.25 * (subject.smooth - subject.density)
    change = np.minimum(through - subject.smooth, 0) * region
    wanted = {"whole": 1.3, "half": 2.9, "rim": 2.9}[kind]
    moves = {"texture": min(wanted - subject.grade("texture"), 0.0)}
    return Planted(kept_noise(subject, change), subject.outlines, change < -100, moves)


def lobes(
    subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, count: tuple[int, int] = (2, 3)
) -> Planted:
    """Round bulges of the nodule's own density; the outlines grow with them, lobulation rises."""
    number, radius = int(rng.integers(count[0], count[1] + 1)), subject.diameter_mm / 2
    cover, share = np.zeros(subject.pixels.shape, np.float32), 0.0
    taken: list[Array] = []
    for _ in range(number):
        own = radius * draw_from(rng, ranges.lobe_share)
        way = next(
            (
                found
                for _ in range(6)
                if (found := into_lung(subject, rng, own, None, flat=0.1)) is not None
                and all(found[1] @ other < 0.5 for other in taken)
            ),
            None,
        )
        if way is None:
            continue
        taken.append(way[1])
        np.maximum(cover, ball(subject, way[0] + way[1] * own * 0.35, own), out=cover)
        share += own / radius
    # Lobes lie in the nodule's own slices: elsewhere they would lie apart.
    cover[~subject.inside.any((1, 2))] = 0
    pixels, touched = put(subject, cover, subject.density, rng)
    outlines = np.maximum(subject.outlines, np.round(cover * 255).astype(np.uint8)[:, None])
    room = np.clip((5 - subject.grade("lobulation")) / 2.5, 0, 1)
    moves = {"lobulation": 1.5 * room * min(share / 1.0, 1.3)}
    return Planted(pixels, outlines, touched & ~subject.inside, moves, (*MAY_FOLLOW, "diameter", "sphericity"))


def blurred_margin(
    subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, width_mm: tuple[float, float] = (2.0, 4.0)
) -> Planted:
    """The edge smeared over some mm; margin falls."""
    width = rng.uniform(*width_mm)
    # An edge blurred by a Gaussian takes 2.56 standard deviations from 10 to 90 per cent.
    sigma = width / 2.56
    blurred = gaussian_filter(subject.smooth, (sigma / subject.step_mm, sigma / WIDE.pixel_mm, sigma / WIDE.pixel_mm))
    near = np.clip((width / 2 + 2.0 - np.abs(subject.depth_mm)) / 1.4, 0, 1)
    change = (blurred - subject.smooth) * near
    wanted = max(1.8 * width / 3, 1.2)
    moves = {"margin": -min(wanted, max(subject.grade("margin") - 1.3, 0.0))}
    return Planted(kept_noise(subject, change), subject.outlines, np.abs(change) > 60, moves)


def stretched(
    subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, ratio: tuple[float, float] = (1.5, 2.2)
) -> Planted:
    """Longer along one direction of the slice, narrower across it, the area kept; sphericity falls."""
    times, angle = rng.uniform(*ratio), rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = turn.T @ np.diag([times**-0.5, times**0.5]) @ turn
    moves = {"sphericity": -min(1.6 * np.log2(times), max(subject.grade("sphericity") - 1.5, 0.0))}
    # What is long and narrow is long: the diameter is that of the new outline.
    mean = np.log2((times**0.5 + times**-0.5) / 2)
    return mapped(subject, matrix, {**moves, "diameter": float(mean)}, ("lobulation", *MAY_FOLLOW))


def scaled(
    subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, times: tuple[float, float] = (1.15, 1.4)
) -> Planted:
    """Larger, outlines and slice distances too; diameter grows."""
    factor = rng.uniform(*times)
    return mapped(subject, np.eye(2) / factor, {"diameter": float(np.log2(factor))})


def low_contrast(
    subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, share: tuple[float, float] = (0.4, 0.6)
) -> Planted:
    """The lung around it filled until only a share of the contrast is left, the nodule itself as it was."""
    left = rng.uniform(*share)
    outside = np.clip(0.5 + (subject.depth_mm - 0.7) / 2.1, 0, 1)
    change = np.maximum(subject.density - subject.smooth, 0) * (1 - left) * outside
    wanted = 1.5 * (1 - left) / 0.5
    moves = {"subtlety": -min(wanted, max(subject.grade("subtlety") - 1.2, 0.0))}
    return Planted(kept_noise(subject, change), subject.outlines, change > 100, moves, ("malignancy",))


#: By name.
SIGNS: dict[str, Plant] = {
    "spicules": spicules,
    "calcium": calcium,
    "ground glass": ground_glass,
    "lobes": lobes,
    "blurred margin": blurred_margin,
    "stretched": stretched,
    "scaled": scaled,
    "low contrast": low_contrast,
}


def clean(move: str, subject: Subject) -> bool:
    """Whether the readers saw nothing of what moves one of ``MOVES``: their mean is at the end of its scale."""
    if move not in CLEAN_END:
        return False
    name, limit = CLEAN_END[move]
    return subject.grade(name) <= limit if move in ("spiculation", "lobulation") else subject.grade(name) >= limit


def fits(name: str, subject: Subject) -> bool:
    """Whether a sign can be seen in this nodule: it needs room to move its grade, and a nodule large enough."""
    grade, large = subject.grade, subject.diameter_mm >= 6
    solid, plain = grade("texture") >= 4.4, grade("calcification") > 5.5
    return {
        "spicules": large and grade("texture") >= 4 and grade("spiculation") < 3,
        "calcium": large and solid and plain,
        "ground glass": large and solid and plain,
        "lobes": large and grade("texture") >= 4 and grade("lobulation") < 3,
        "blurred margin": grade("margin") >= 3.5 and solid,
        "stretched": grade("sphericity") >= 3.2 and subject.diameter_mm < 25,
        "scaled": subject.diameter_mm < 25,
        "low contrast": grade("subtlety") >= 3.5 and solid,
    }.get(name, True)
