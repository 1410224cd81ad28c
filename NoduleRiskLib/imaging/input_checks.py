"""What makes a CT, or the place of a point in it, unlike what the model was trained on: one sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage

from ..errors import InputWarning
from .interpolated import APART_MM, is_interpolated
from .lung_mask import lung_mask
from .outline import INSIDE, Outline, same_nodule
from .points import Point
from .resampling import sample
from .volume import Array, Volume

#: Sizes that LIDC's readers graded: beyond them the model guesses.
TRAINED_MM = (3.0, 40.0)
#: So far from the lungs a point may still be on a nodule of theirs.
AT_LUNG_MM = 6.0
#: Half the side of the cube around a point in which lung is looked for, and its grid.
AROUND_MM, GRID_MM = 20.0, 2.5
#: Aerated lung, emphysema to dependent density (HU); below it is plain air.
LUNG_HU = (-960.0, -600.0)
#: Less lung than this around a point: the point lies outside of it. Less tissue: it lies in free air.
LITTLE_LUNG, LITTLE_TISSUE = 0.05, 0.02
#: Blood with contrast medium: above any unenhanced blood (30 to 70 HU), below metal.
CONTRAST_HU = (130.0, 600.0)
#: Radius and grid for finding heart chambers and large vessels: no bone holds a ball of this radius.
POOL_MM, POOL_GRID_MM = 18.0, 4.0
#: Noise in the lung (HU) from which on single grades are unsure by half a step, and by a whole one: with white noise
#: added to 16 nodules of five CTs, the grade that moved most moved by so much in one nodule of ten.
NOISY_HU, VERY_NOISY_HU = 90.0, 200.0
#: Noise is measured in windows of this side, in so many slices; the quiet ones hold no vessel.
WINDOW_MM, NOISE_SLICES, QUIET_PERCENT, FEW_WINDOWS = 5.0, 12, 20, 100

#: What makes a nodule doubtful, as its own row says it.
VESSEL, OUTSIDE, UNSURE_OUTLINE, SEVERAL_PARTS = "vessel?", "outside the lungs", "outline unsure", "several parts"

_SEEN: WeakKeyDictionary[Volume, bool] = WeakKeyDictionary()


def check_volume(volume: Volume) -> tuple[str, ...]:
    """What holds for every nodule of a CT: contrast medium, noise, interpolation. ``checked_ct`` tells of the rest."""
    found = []
    if has_contrast(volume):
        found.append(
            "The heart or the large vessels look contrast-enhanced: enhancement can pass for calcification "
            "and make a nodule look denser."
        )
    noise_hu = lung_noise_hu(volume)
    if noise_hu is not None and noise_hu >= NOISY_HU:
        steps = "a whole step" if noise_hu >= VERY_NOISY_HU else "half a step"
        found.append(
            f"The CT is noisy ({noise_hu:.0f} HU in the lung; grades are less sure from {NOISY_HU:.0f} HU on): single "
            f"grades may be off by {steps}, and the diameter with them."
        )
    if is_interpolated(volume):
        found.append(
            f"The slices look interpolated from thicker ones: only some, {APART_MM:.0f} mm apart, are graded, and "
            "margin, texture and spiculation are less sure. Better assess the CT as it was reconstructed."
        )
    return tuple(found)


def check_point(volume: Volume, point: Point) -> tuple[InputWarning, ...]:
    """Whether a point lies in or at the lungs.

    Where the volume shows none (a crop around a nodule), whether there is lung or tissue around the point; outside the
    volume counts as what lies at its edge.
    """
    (distance_mm,) = lung_mask(volume).distance_mm(np.array([point.ras]))
    if distance_mm <= AT_LUNG_MM:
        return ()
    side = np.arange(-AROUND_MM, AROUND_MM + 1, GRID_MM)
    around = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1) + np.array(point.ras)
    hu = sample(volume, around)
    if (hu > LUNG_HU[1]).mean() < LITTLE_TISSUE and (hu > LUNG_HU[0]).mean() < LITTLE_LUNG:
        text = f"Around {point.label} there is only air: it lies outside the body or in a large airway."
    elif distance_mm > AT_LUNG_MM:
        text = (
            f"{point.label} lies outside the lungs: the model knows only nodules of the lung. (Points are R A S in mm; "
            "if yours are in LPS, change the signs of the first two numbers.)"
        )
    elif ((hu > LUNG_HU[0]) & (hu < LUNG_HU[1])).mean() < LITTLE_LUNG:
        text = f"No lung lies within {AROUND_MM:.0f} mm of {point.label}: the model knows only nodules of the lung."
    else:
        return ()
    return (InputWarning(text, "nodule", OUTSIDE),)


def check_outline(volume: Volume, point: Point, outline: Outline) -> tuple[InputWarning, ...]:
    """What makes one nodule's grades less sure: cut off by the scan's edge, smaller or larger than any trained on."""
    found = []
    corners = volume.to_ijk(outline.probability.to_ras(_ends(outline.probability.array > INSIDE)))
    size = np.array(volume.array.shape[::-1])
    if (corners.min(0) < 0.6).any() or (corners.max(0) > size - 1.6).any():
        found.append(
            f"The nodule under {point.label} reaches the edge of the scan: beyond it, size and grades are unknown."
        )
    if not TRAINED_MM[0] <= outline.diameter_mm <= TRAINED_MM[1]:
        found.append(
            f"The nodule under {point.label} measures {outline.diameter_mm:.1f} mm; "
            f"the model knows nodules of {TRAINED_MM[0]:.0f} to {TRAINED_MM[1]:.0f} mm."
        )
    return tuple(InputWarning(text, "nodule") for text in found)


def check_likeness(point: Point, probability: float, likely: float) -> tuple[InputWarning, ...]:
    """What false-positive reduction says of an outline: ``probability`` (0 to 1) that it is a nodule's.

    Fewer nodules than one in twenty are less sure than ``likely``, which the model package holds.
    """
    if probability >= likely:
        return ()
    text = (
        f"What is outlined at {point.label} looks more like a vessel or the chest wall than a nodule: "
        "make sure that it is one."
    )
    return (InputWarning(text, "nodule", VESSEL),)


def check_repetition(
    point: Point, outline: Outline, earlier: Sequence[tuple[Point, Outline]]
) -> tuple[InputWarning, ...]:
    """Whether one of the points before lies on the same nodule, which then counts twice."""
    twins = [other.label for other, theirs in earlier if same_nodule(outline, theirs)]
    if not twins:
        return ()
    text = f"{twins[0]} and {point.label} lie on the same nodule: remove one of them, or it counts twice."
    return (InputWarning(text, "nodule"),)


def has_contrast(volume: Volume) -> bool:
    """Whether a ball of blood brighter than unenhanced blood fits into the volume: heart, aorta, pulmonary trunk.

    Asked of the same volume again, it does not look again.
    """
    if volume not in _SEEN:
        _SEEN[volume] = _holds_bright_blood(volume)
    return _SEEN[volume]


def lung_noise_hu(volume: Volume) -> float | None:
    """Standard deviation of the noise in lung without vessels, HU; None where too little lung is seen.

    In each of some slices, the standard deviation in windows whose mean is that of lung; of all windows the one that
    only a fifth is quieter than, since vessels and bronchi add to the others.
    """
    sides = np.maximum(3, np.round(WINDOW_MM / volume.spacing_mm[1::-1])).astype(int)
    every = np.linspace(0, len(volume.array) - 1, min(NOISE_SLICES, len(volume.array))).astype(int)
    found = []
    for hu in volume.array[every].astype(np.float32):
        mean = ndimage.uniform_filter(hu, sides)
        variance = ndimage.uniform_filter((hu - mean.mean()) ** 2, sides) - (mean - mean.mean()) ** 2
        found.append(variance[(mean > LUNG_HU[0]) & (mean < LUNG_HU[1])])
    windows = np.concatenate(found)
    return float(np.sqrt(max(np.percentile(windows, QUIET_PERCENT), 0))) if len(windows) >= FEW_WINDOWS else None


def _holds_bright_blood(volume: Volume) -> bool:
    every = np.maximum(1, np.round(POOL_GRID_MM / volume.spacing_mm)).astype(int)[::-1]
    grid_mm = volume.spacing_mm[::-1] * every
    smooth = ndimage.uniform_filter(volume.array[:: every[0], :: every[1], :: every[2]].astype(np.float32), 3)
    bright = (smooth > CONTRAST_HU[0]) & (smooth < CONTRAST_HU[1])
    return bool(bright.any() and ndimage.distance_transform_edt(bright, grid_mm).max() > POOL_MM)


def _ends(inside: Array) -> Array:
    """The voxels (i, j, k) at the ends of a mask along each of its axes."""
    at = np.argwhere(inside)[:, ::-1]
    return at[np.concatenate([at.argmin(0), at.argmax(0)])]
