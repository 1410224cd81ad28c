"""How something is put into a real nodule's slices so that it could have been scanned there.

A nodule is n slices of 96 x 96 pixels (``crops.WIDE``) with outlines and offsets; positions are mm, axis order x
(columns), y (rows), z (offset). What is put in keeps the scan's own noise, is averaged over each slice's thickness and
blurred as a scanner blurs, so that it cannot be told from its edges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, map_coordinates

from NoduleRiskLib.grades import GRADE_NAMES
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
    outlines : uint8 (n, K, 96, 96)
        All outlines that there are of it, times 255; the first is the one that planting goes by.
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
        return self.outlines[:, 0] > 127

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
    offset_mm : float (n,) or None
        Of its slices, where they are others than the nodule's.
    """

    pixels: Array
    outlines: Array
    touched: Array
    moves: dict[str, float]
    free: tuple[str, ...] = MAY_FOLLOW
    pattern: int = -1
    offset_mm: Array | None = None


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
Plant = Callable[[Subject, np.random.Generator, Ranges], Planted]


def draw_from(rng: np.random.Generator, intervals: Sequence[tuple[float, float]]) -> float:
    return float(rng.uniform(*intervals[int(rng.integers(len(intervals)))]))


def random_way(rng: np.random.Generator, flat: float = 0.5) -> Array:
    """A unit vector (x, y, z), rather within the slice than across it."""
    vector = rng.normal(size=3) * (1, 1, flat)
    return np.asarray(vector / np.linalg.norm(vector))


def one_of(subject: Subject, where: Array, rng: np.random.Generator) -> Array:
    at = np.flatnonzero(where)
    return np.asarray(subject.places.reshape(-1, 3)[rng.choice(at)], np.float64)


def into_lung(
    subject: Subject, rng: np.random.Generator, reach_mm: float, side: Array | None, tries: int = 12, flat: float = 0.6
) -> tuple[Array, Array] | None:
    """A place on the surface and a direction away from the nodule that stays in lung; ``None`` if none was found."""
    held = np.asarray(subject.inside.any((1, 2)))[:, None, None]
    surface = np.flatnonzero((np.abs(subject.depth_mm) < 0.75) & held)
    places = subject.places.reshape(-1, 3)
    for _ in range(tries):
        start = np.asarray(places[rng.choice(surface)], np.float64)
        direction = start - subject.centre
        direction = direction / max(float(np.linalg.norm(direction)), 1e-6) + 0.45 * random_way(rng)
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


def ball(subject: Subject, middle: Array, radius: float) -> Array:
    middle = np.asarray(middle, np.float32)
    return _over_thickness(
        subject,
        middle - radius,
        middle + radius,
        lambda at: np.clip(0.5 - (np.linalg.norm(at - middle, axis=-1) - radius) / WIDE.pixel_mm, 0, 1),
    )


def rod(subject: Subject, begin: Array, end: Array, begin_radius: float, end_radius: float) -> Array:
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


def tube(subject: Subject, start: Array, direction: Array, width_mm: float, rng: np.random.Generator) -> Array:
    """A vessel that leaves the image: pieces of 8 mm, each bent a little."""
    cover = np.zeros(subject.pixels.shape, np.float32)
    radius, place = width_mm / 2, start
    for _ in range(int(rng.integers(3, 6))):
        end = place + direction * 8
        np.maximum(cover, rod(subject, place, end, radius, radius), out=cover)
        direction = direction + 0.25 * random_way(rng)
        direction = direction / np.linalg.norm(direction)
        place = end
    return cover


def put(subject: Subject, cover: Array, hu: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Something denser where ``cover`` (0 to 1) says, with the scan's noise; the pixels, and which were touched."""
    sharpness = rng.uniform(0.3, 0.55)
    cover = gaussian_filter(cover, (0, sharpness, sharpness))
    change = np.maximum(hu - subject.smooth, 0) * cover
    return kept_noise(subject, change), (cover > 0.3) & (change > 60)


def kept_noise(subject: Subject, change: Array) -> Array:
    return np.clip(subject.pixels + change, -1024, 3071).astype(np.float32)


def mapped(
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
    outlines = np.array([[map_coordinates(one, index, order=1) for one in each] for each in subject.outlines])
    touched = binary_dilation(outlines[:, 0] > 127, iterations=1)
    return Planted(np.asarray(seen, np.float32), outlines, touched, moves, free)
