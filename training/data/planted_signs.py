"""Known signs put into real nodules: what a grade must answer to, and look-alikes that it must not.

A nodule is n slices of 96 x 96 pixels (``crops.WIDE``) with outlines and offsets; positions are mm, axis order x
(columns), y (rows), z (offset). What is put in keeps the scan's own noise, is averaged over each slice's thickness and
blurred as a scanner blurs, so that it cannot be told from its edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, map_coordinates

from NoduleRiskLib.grades import CALCIFICATION_PATTERNS, GRADE_NAMES
from NoduleRiskLib.imaging.volume import Array

from .crops import WIDE

#: What a sign may move, in this order: the nine grades (diameter as log2 mm), then calcification's presence (logit).
MOVES = (*GRADE_NAMES, "presence")
#: What a planted sign may change freely: both follow whatever a reader sees.
MAY_FOLLOW = ("malignancy", "subtlety")
#: HU below which a voxel counts as lung.
LUNG_HU = -500.0
#: Distances from the nodule are not told apart beyond.
FAR_MM = 10.0


@dataclass(frozen=True, eq=False)
class Subject:
    """A nodule to plant into.

    Attributes
    ----------
    pixels : float32 (n, 96, 96)
        HU.
    outlines : float32 (n, K, 96, 96)
        All outlines that there are of it, 0 to 1; the first is the one that planting goes by.
    offset_mm : float (n,)
        Of each slice, evenly spaced.
    grades : float (9,)
        Readers' means, diameter in mm.
    """

    pixels: Array
    outlines: Array
    offset_mm: Array
    grades: Array

    @cached_property
    def inside(self) -> Array:
        """The nodule, bool (n, 96, 96)."""
        return self.outlines[:, 0] > 0.5

    @cached_property
    def slices(self) -> Array:
        """Which slices hold some of the nodule."""
        return np.flatnonzero(self.inside.any((1, 2)))

    @cached_property
    def step_mm(self) -> float:
        """Distance between slices; 1 where there is only one."""
        return float(abs(np.diff(self.offset_mm)).mean()) if len(self.offset_mm) > 1 else 1.0

    @cached_property
    def places(self) -> Array:
        """Where each pixel is, float32 (n, 96, 96, 3), mm."""
        at = (np.arange(WIDE.pixels, dtype=np.float32) - (WIDE.pixels - 1) / 2) * np.float32(WIDE.pixel_mm)
        z, y, x = np.meshgrid(self.offset_mm.astype(np.float32), at, at, indexing="ij")
        return np.stack([x, y, z], -1)

    @cached_property
    def centre(self) -> Array:
        """Centroid of the nodule, (3,) mm."""
        return np.asarray(self.places[self.inside].mean(0))

    @cached_property
    def depth_mm(self) -> Array:
        """Distance to the nodule's surface, negative inside, at most ``FAR_MM``: float32 (n, 96, 96)."""
        sampling = (self.step_mm, WIDE.pixel_mm, WIDE.pixel_mm)
        margin = int(FAR_MM / WIDE.pixel_mm) + 1
        box = []
        for axes in ((0, 2), (0, 1)):
            held = np.flatnonzero(self.inside.any(axes))
            box.append(slice(max(held[0] - margin, 0), held[-1] + margin + 1))
        inside = self.inside[:, box[0], box[1]]
        depth = np.full(self.inside.shape, FAR_MM, np.float32)
        outside = distance_transform_edt(~inside, sampling) - distance_transform_edt(inside, sampling)
        depth[:, box[0], box[1]] = np.minimum(outside, FAR_MM)
        return depth

    @cached_property
    def smooth(self) -> Array:
        """The image without its noise."""
        return gaussian_filter(self.pixels, (0, 1, 1))

    @cached_property
    def density(self) -> float:
        """Median HU of the nodule's core."""
        core = self.depth_mm < -1.0
        return float(np.median(self.pixels[core if core.sum() > 8 else self.inside]))

    @property
    def diameter_mm(self) -> float:
        """Readers' mean."""
        return float(self.grades[GRADE_NAMES.index("diameter")])

    def grade(self, name: str) -> float:
        """Readers' mean of one grade."""
        return float(self.grades[GRADE_NAMES.index(name)])


@dataclass(frozen=True, eq=False)
class Planted:
    """A nodule with something planted.

    Attributes
    ----------
    pixels, outlines
        As in ``Subject``.
    touched : bool (n, 96, 96)
        The pixels that the sign changed.
    moves : dict
        What the sign asks of each of ``MOVES``; everything else stays, but what is in ``free``.
    free : tuple of str
        What may go where it wants.
    pattern : int
        Which of ``CALCIFICATION_PATTERNS`` was planted; -1: no calcium.
    """

    pixels: Array
    outlines: Array
    touched: Array
    moves: dict[str, float]
    free: tuple[str, ...] = MAY_FOLLOW
    pattern: int = -1


@dataclass(frozen=True)
class Ranges:
    """What the generator draws from: each a tuple of (low, high) intervals, one of which is taken."""

    spicule_width_mm: tuple[tuple[float, float], ...]
    calcium_hu: tuple[tuple[float, float], ...]
    glass_hu: tuple[tuple[float, float], ...]
    lobe_share: tuple[tuple[float, float], ...]
    vessel_width_mm: tuple[tuple[float, float], ...]


#: Training never draws what the tests draw.
TRAINING = Ranges(
    spicule_width_mm=((1.0, 1.25), (1.55, 2.2)),
    calcium_hu=((250.0, 550.0), (800.0, 1200.0)),
    glass_hu=((-740.0, -610.0), (-500.0, -380.0)),
    lobe_share=((0.35, 0.45), (0.55, 0.65)),
    vessel_width_mm=((1.2, 2.2), (3.0, 4.5)),
)
TESTING = Ranges(
    spicule_width_mm=((1.3, 1.5),),
    calcium_hu=((600.0, 750.0),),
    glass_hu=((-600.0, -510.0),),
    lobe_share=((0.47, 0.53),),
    vessel_width_mm=((2.3, 2.9),),
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
Plant = Callable[[Subject, np.random.Generator, Ranges], Planted]


def spicules(
    subject: Subject,
    rng: np.random.Generator,
    ranges: Ranges = TRAINING,
    count: tuple[int, int] = (4, 10),
    length_mm: tuple[float, float] = (4.0, 9.0),
) -> Planted:
    """Thin spikes into lung, tapering, all round or on one side; spiculation rises with their number and length."""
    number, side = int(rng.integers(count[0], count[1] + 1)), _direction(rng) if rng.random() < 0.4 else None
    density, width = min(subject.density, 60.0) - rng.uniform(0, 100), _draw(rng, ranges.spicule_width_mm)
    cover, length = np.zeros(subject.pixels.shape, np.float32), 0.0
    for _ in range(number):
        reach = rng.uniform(*length_mm)
        way = _into_lung(subject, rng, reach, side, flat=0.12)
        if way is None:
            continue
        start, direction = way
        thick = width * rng.uniform(0.85, 1.15) / 2
        ends = start - direction, start + direction * reach
        np.maximum(cover, _rod(subject, *ends, thick, 0.6 * thick), out=cover)
        length += reach
    pixels, touched = _put(subject, cover, density, rng)
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
        cover = _ball(subject, subject.centre, float(np.clip(radius * rng.uniform(0.35, 0.6), 1.4, 4)))
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
            middle = _one_of(subject, near if near.any() else subject.inside, rng)
            np.maximum(cover, _ball(subject, middle, min(fleck, 0.45 * radius)), out=cover)
        cover *= subject.depth_mm < 0.3
    pixels, touched = _put(subject, cover.astype(np.float32), _draw(rng, ranges.calcium_hu), rng)
    # Codes 1 to 5 are the patterns, 6 is absent.
    moves = {"presence": 5.5, "calcification": min(pattern + 1 - subject.grade("calcification"), 0.0)}
    return Planted(pixels, subject.outlines, touched, moves, pattern=pattern)


def ground_glass(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, kind: str = "") -> Planted:
    """The whole, one half, or all but a core thinned to ground glass; texture falls."""
    kind = kind or str(rng.choice(["whole", "half", "rim"]))
    soft = subject.step_mm if kind == "half" else 1.0
    if kind == "half":
        side = _direction(rng)
        along = (subject.places - subject.centre) @ side + rng.uniform(-0.1, 0.1) * subject.diameter_mm
        region = np.clip(0.5 + along / max(soft, 1.0), 0, 1)
    elif kind == "rim":
        core = subject.diameter_mm / 2 * rng.uniform(0.35, 0.55)
        region = np.clip(0.5 + (np.linalg.norm(subject.places - subject.centre, axis=-1) - core) / 1.4, 0, 1)
    else:
        region = np.ones_like(subject.pixels)
    region = region * np.clip(0.5 - (subject.depth_mm - 1.4) / 1.4, 0, 1)
    glass = _draw(rng, ranges.glass_hu)
    # Vessels and texture show through, fainter; lung stays lung.
    through = glass + 0.25 * (subject.smooth - subject.density)
    change = np.minimum(through - subject.smooth, 0) * region
    wanted = {"whole": 1.3, "half": 2.9, "rim": 2.9}[kind]
    moves = {"texture": min(wanted - subject.grade("texture"), 0.0)}
    return Planted(_kept_noise(subject, change), subject.outlines, change < -100, moves)


def lobes(
    subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, count: tuple[int, int] = (2, 3)
) -> Planted:
    """Round bulges of the nodule's own density; the outlines grow with them, lobulation rises."""
    number, radius = int(rng.integers(count[0], count[1] + 1)), subject.diameter_mm / 2
    cover, share = np.zeros(subject.pixels.shape, np.float32), 0.0
    taken: list[Array] = []
    for _ in range(number):
        own = radius * _draw(rng, ranges.lobe_share)
        way = next(
            (
                found
                for _ in range(6)
                if (found := _into_lung(subject, rng, own, None, flat=0.1)) is not None
                and all(found[1] @ other < 0.5 for other in taken)
            ),
            None,
        )
        if way is None:
            continue
        taken.append(way[1])
        np.maximum(cover, _ball(subject, way[0] + way[1] * own * 0.35, own), out=cover)
        share += own / radius
    # Lobes lie in the nodule's own slices: elsewhere they would lie apart.
    cover[~subject.inside.any((1, 2))] = 0
    pixels, touched = _put(subject, cover, subject.density, rng)
    outlines = np.maximum(subject.outlines, cover[:, None])
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
    return Planted(_kept_noise(subject, change), subject.outlines, np.abs(change) > 60, moves)


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
    return _mapped(subject, matrix, {**moves, "diameter": float(mean)}, ("lobulation", *MAY_FOLLOW))


def scaled(
    subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, times: tuple[float, float] = (1.15, 1.4)
) -> Planted:
    """Larger, outlines and slice distances too; diameter grows."""
    factor = rng.uniform(*times)
    return _mapped(subject, np.eye(2) / factor, {"diameter": float(np.log2(factor))})


def low_contrast(
    subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING, share: tuple[float, float] = (0.4, 0.6)
) -> Planted:
    """The lung around it filled until only a share of the contrast is left, the nodule itself as it was."""
    left = rng.uniform(*share)
    outside = np.clip(0.5 + (subject.depth_mm - 0.7) / 2.1, 0, 1)
    change = np.maximum(subject.density - subject.smooth, 0) * (1 - left) * outside
    wanted = 1.5 * (1 - left) / 0.5
    moves = {"subtlety": -min(wanted, max(subject.grade("subtlety") - 1.2, 0.0))}
    return Planted(_kept_noise(subject, change), subject.outlines, change > 100, moves, ("malignancy",))


def vessel_in(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """One or two long vessels that end in the nodule."""
    cover = np.zeros(subject.pixels.shape, np.float32)
    for _ in range(int(rng.integers(1, 3))):
        way = _into_lung(subject, rng, 12.0, None)
        if way is not None:
            np.maximum(
                cover, _tube(subject, way[0] - way[1], way[1], _draw(rng, ranges.vessel_width_mm), rng), out=cover
            )
    return _innocent(subject, cover, min(subject.density, 60.0) - rng.uniform(0, 60), rng)


def vessel_by(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """One to three long vessels that pass by, at most touching."""
    cover = np.zeros(subject.pixels.shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        way = _into_lung(subject, rng, 5.0, None)
        if way is None:
            continue
        width = _draw(rng, ranges.vessel_width_mm)
        across = np.cross(way[1], _direction(rng))
        across /= max(float(np.linalg.norm(across)), 1e-6)
        middle = way[0] + way[1] * (width / 2 + rng.uniform(0.0, 5.0))
        for sign in (1, -1):
            np.maximum(cover, _tube(subject, middle, sign * across, width, rng), out=cover)
    cover[subject.inside] = 0
    return _innocent(subject, cover, min(subject.density, 60.0) - rng.uniform(0, 60), rng)


def fissure(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """A thin sheet beside the nodule or at it."""
    way = _into_lung(subject, rng, 5.0, None)
    if way is None:
        return again(subject, rng, ranges)
    tilt = way[1] + 0.3 * rng.normal(size=3)
    tilt /= np.linalg.norm(tilt)
    distance = np.abs((subject.places - way[0]) @ tilt - rng.uniform(0.0, 4.0)) - rng.uniform(0.3, 0.6)
    cover = np.clip(0.5 - distance / WIDE.pixel_mm, 0, 1).astype(np.float32)
    cover[subject.inside] = 0
    return _innocent(subject, cover, rng.uniform(-550, -250), rng)


def pleural_tag(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """Chest wall some way off and one straight line from the nodule to it."""
    way = _into_lung(subject, rng, 12.0, None)
    if way is None:
        return again(subject, rng, ranges)
    start, direction = way
    reach = rng.uniform(11, 17)
    cover = _rod(subject, start - direction, start + direction * (reach + 2), *[rng.uniform(0.4, 0.8)] * 2)
    wall = np.clip(0.5 + ((subject.places - start) @ direction - reach) / WIDE.pixel_mm, 0, 1).astype(np.float32)
    return _innocent(subject, np.maximum(cover, wall), rng.uniform(0, 60), rng)


def again(subject: Subject, rng: np.random.Generator, ranges: Ranges = TRAINING) -> Planted:
    """The same nodule with more noise, a softer or sharper kernel, or half a millimetre further."""
    kind = rng.integers(3)
    pixels = subject.pixels
    if kind == 0:
        noise = gaussian_filter(rng.standard_normal(pixels.shape).astype(np.float32), (0, 0.6, 0.6))
        pixels = pixels + noise * (rng.uniform(10, 40) / max(float(noise.std()), 1e-6))
    elif kind == 1:
        detail = pixels - gaussian_filter(pixels, (0, 0.8, 0.8))
        pixels = pixels + rng.uniform(-0.7, 0.9) * detail
    else:
        return _mapped(subject, np.eye(2), {}, shift=rng.uniform(-1.0, 1.0, 2))
    return Planted(pixels.astype(np.float32), subject.outlines, np.zeros(pixels.shape, bool), {})


#: Signs that move a grade, and their look-alikes that move none.
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
INNOCENT: dict[str, Plant] = {
    "vessel in": vessel_in,
    "vessel by": vessel_by,
    "fissure": fissure,
    "pleural tag": pleural_tag,
    "again": again,
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


def _draw(rng: np.random.Generator, intervals: Sequence[tuple[float, float]]) -> float:
    return float(rng.uniform(*intervals[int(rng.integers(len(intervals)))]))


def _direction(rng: np.random.Generator, flat: float = 0.5) -> Array:
    """A unit vector (x, y, z), rather within the slice than across it."""
    vector = rng.normal(size=3) * (1, 1, flat)
    return np.asarray(vector / np.linalg.norm(vector))


def _one_of(subject: Subject, where: Array, rng: np.random.Generator) -> Array:
    at = np.flatnonzero(where)
    return np.asarray(subject.places.reshape(-1, 3)[rng.choice(at)], np.float64)


def _into_lung(
    subject: Subject, rng: np.random.Generator, reach_mm: float, side: Array | None, tries: int = 12, flat: float = 0.6
) -> tuple[Array, Array] | None:
    """A place on the surface and a direction away from the nodule that stays in lung; ``None`` if none was found."""
    held = np.asarray(subject.inside.any((1, 2)))[:, None, None]
    surface = np.flatnonzero((np.abs(subject.depth_mm) < 0.75) & held)
    places = subject.places.reshape(-1, 3)
    for _ in range(tries):
        start = np.asarray(places[rng.choice(surface)], np.float64)
        direction = start - subject.centre
        direction = direction / max(float(np.linalg.norm(direction)), 1e-6) + 0.45 * _direction(rng)
        direction[2] *= flat
        direction /= np.linalg.norm(direction)
        if side is not None and direction @ side < 0.3:
            continue
        on_way = start + direction * np.linspace(2.0, reach_mm, 4)[:, None]
        if (_hu(subject, on_way) < LUNG_HU).mean() > 0.7:
            return start, direction
    return None


def _hu(subject: Subject, places: Array) -> Array:
    z = (places[:, 2] - subject.offset_mm[0]) / (
        subject.step_mm * np.sign(subject.offset_mm[-1] - subject.offset_mm[0] or 1)
    )
    index = [np.clip(np.round(z), 0, len(subject.offset_mm) - 1)]
    index += [
        np.clip(np.round(places[:, i] / WIDE.pixel_mm + (WIDE.pixels - 1) / 2), 0, WIDE.pixels - 1) for i in (1, 0)
    ]
    return np.asarray(subject.smooth[tuple(np.asarray(i, int) for i in index)])


def _over_thickness(subject: Subject, low: Array, high: Array, cover: Callable[[Array], Array]) -> Array:
    """What share of each pixel ``cover`` (of places (..., 3)) fills, in a box from ``low`` to ``high`` (mm)."""
    result = np.zeros(subject.pixels.shape, np.float32)
    z = np.flatnonzero((subject.offset_mm > low[2] - subject.step_mm) & (subject.offset_mm < high[2] + subject.step_mm))
    middle = (WIDE.pixels - 1) / 2
    begin = np.clip(np.floor(low[:2] / WIDE.pixel_mm + middle - 2), 0, WIDE.pixels).astype(int)
    end = np.clip(np.ceil(high[:2] / WIDE.pixel_mm + middle + 3), 0, WIDE.pixels).astype(int)
    if not len(z) or (begin >= end).any():
        return result
    box = (slice(z[0], z[-1] + 1), slice(begin[1], end[1]), slice(begin[0], end[0]))
    places = subject.places[box]
    # Thick slices see a mean over their thickness.
    parts = (-0.4, -0.2, 0.0, 0.2, 0.4) if subject.step_mm > 1 else (0.0,)
    result[box] = np.mean([cover(places + np.array([0, 0, part * subject.step_mm], np.float32)) for part in parts], 0)
    return result


def _ball(subject: Subject, middle: Array, radius: float) -> Array:
    middle = np.asarray(middle, np.float32)
    return _over_thickness(
        subject,
        middle - radius,
        middle + radius,
        lambda at: np.clip(0.5 - (np.linalg.norm(at - middle, axis=-1) - radius) / WIDE.pixel_mm, 0, 1),
    )


def _rod(subject: Subject, begin: Array, end: Array, begin_radius: float, end_radius: float) -> Array:
    begin, end = np.asarray(begin, np.float32), np.asarray(end, np.float32)
    way = end - begin
    square = max(float(way @ way), 1e-6)

    def cover(at: Array) -> Array:
        away = at - begin
        t = np.clip(away @ way / square, 0, 1)
        distance = np.linalg.norm(away - t[..., None] * way, axis=-1)
        radius = begin_radius + t * (end_radius - begin_radius)
        return np.clip(0.5 - (distance - radius) / WIDE.pixel_mm, 0, 1)

    wide = max(begin_radius, end_radius)
    return _over_thickness(subject, np.minimum(begin, end) - wide, np.maximum(begin, end) + wide, cover)


def _tube(subject: Subject, start: Array, direction: Array, width_mm: float, rng: np.random.Generator) -> Array:
    """A vessel that leaves the image: pieces of 8 mm, each bent a little."""
    cover = np.zeros(subject.pixels.shape, np.float32)
    radius, place = width_mm / 2, start
    for _ in range(int(rng.integers(3, 6))):
        end = place + direction * 8
        np.maximum(cover, _rod(subject, place, end, radius, radius), out=cover)
        direction = direction + 0.25 * _direction(rng)
        direction = direction / np.linalg.norm(direction)
        place = end
    return cover


def _put(subject: Subject, cover: Array, hu: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Something denser where ``cover`` (0 to 1) says, with the scan's noise; the pixels, and which were touched."""
    sharpness = rng.uniform(0.3, 0.55)
    cover = gaussian_filter(cover, (0, sharpness, sharpness))
    change = np.maximum(hu - subject.smooth, 0) * cover
    return _kept_noise(subject, change), (cover > 0.3) & (change > 60)


def _innocent(subject: Subject, cover: Array, hu: float, rng: np.random.Generator) -> Planted:
    pixels, touched = _put(subject, cover, hu, rng)
    return Planted(pixels, subject.outlines, touched, {}, ())


def _kept_noise(subject: Subject, change: Array) -> Array:
    return np.clip(subject.pixels + change, -1024, 3071).astype(np.float32)


def _mapped(
    subject: Subject,
    matrix: Array,
    moves: dict[str, float],
    free: tuple[str, ...] = MAY_FOLLOW,
    shift: Array | Sequence[float] = (0.0, 0.0),
) -> Planted:
    """Image and outlines seen through ``matrix`` (2 x 2, new to old mm about the nodule's centre), shifted (mm)."""
    new = subject.places[0, ..., :2] - subject.centre[:2]
    old = (new + np.asarray(shift)) @ matrix.T + subject.centre[:2]
    index = (old / WIDE.pixel_mm + (WIDE.pixels - 1) / 2)[..., ::-1].transpose(2, 0, 1)
    seen = [map_coordinates(one, index, order=1, mode="nearest") for one in subject.pixels]
    outlines = [[map_coordinates(one, index, order=1) for one in each] for each in subject.outlines]
    # Interpolation smooths noise away; as much is put back.
    touched = binary_dilation(np.asarray(outlines)[:, 0] > 0.5, iterations=1)
    return Planted(np.asarray(seen, np.float32), np.asarray(outlines, np.float32), touched, moves, free)


def smaller(subject: Subject, slices: Array) -> Subject:
    """Of a nodule, some slices only."""
    return replace(
        subject,
        pixels=subject.pixels[slices],
        outlines=subject.outlines[slices],
        offset_mm=subject.offset_mm[slices],
    )
