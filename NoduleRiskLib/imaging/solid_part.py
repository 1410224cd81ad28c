"""The solid part of a part-solid nodule, told by a threshold, and what is measured on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .outline import INSIDE, Outline, widest
from .resampling import sample_grid
from .volume import Array, Volume

#: Solid is what is brighter (HU). In 115 subsolid nodules -300 HU told those with a solid part as two radiologists did,
#: with a sensitivity of .90 and a specificity of .88 (Scholten et al. 2015, doi 10.1007/s00330-014-3427-z). Higher ones
#: miss invasive parts: -160 HU found 55 of 100, and -400 HU 93, with more false ones (Lee et al. 2018, doi
#: 10.1371/journal.pone.0205490). -300 also lies midway between soft tissue and ground glass of -650 HU.
SOLID_HU = -300.0
#: Standard deviation of the smoothing within each slice, mm: about a pixel, against noise.
SMOOTH_MM = 0.6
#: Thinner than this (mm) is a vessel that runs through; morphology takes vessels off subsolid nodules in Lassen et al.
#: 2015 (Phys Med Biol 60:1307), too.
VESSEL_MM = 2.8
#: What is attached to a larger solid part and thinner than this share of its width is a vessel or spicule, too.
VESSEL_SHARE = 0.4
#: Between solid and not, the edge is a slope this wide (HU): it lies between pixels.
SLOPE_HU = 400.0


@dataclass(frozen=True)
class SolidPart:
    """What is measured on a nodule's solid part.

    Attributes
    ----------
    diameter_mm : float
        Mean of long and short axis in the axial slice where that mean is largest, as of the whole nodule: what
        Lung-RADS v2022 and the Fleischner Society (2017) ask for.
    long_axis_mm, short_axis_mm : float
    volume_mm3 : float
    """

    diameter_mm: float
    long_axis_mm: float
    short_axis_mm: float
    volume_mm3: float


def solid_part(volume: Volume, outline: Outline) -> SolidPart | None:
    """Measure the largest connected part within an outline that is brighter than ``SOLID_HU`` and no vessel.

    Parameters
    ----------
    volume : Volume
        The CT, HU.
    outline : Outline
        Everything is measured on its own grid.

    Returns
    -------
    SolidPart or None
        ``None``: nothing in the outline is solid, or it is so thin that it may be a vessel: solid parts under 5 mm are
        often missed, and vessels thicker than ``VESSEL_MM`` count as solid.
    """
    solid = solid_pixels(volume, outline)
    if not (solid > INSIDE).any():
        return None
    pixel_mm, _, step_mm = outline.probability.spacing_mm.tolist()
    long_axis, short_axis = widest(solid, pixel_mm)
    volume_mm3 = float((solid > INSIDE).sum() * pixel_mm**2 * step_mm)
    return SolidPart((long_axis + short_axis) / 2, long_axis, short_axis, volume_mm3)


def solid_pixels(volume: Volume, outline: Outline) -> Array:
    """Where the solid part is, 0 to 1 with its edge at one half, float32 on the grid of ``outline.probability``."""
    drawn = outline.probability
    pixel_mm = float(drawn.spacing_mm[0])
    hu = sample_grid(volume, drawn.ijk_to_ras, drawn.array.shape)
    hu = ndimage.gaussian_filter(hu, (0, SMOOTH_MM / pixel_mm, SMOOTH_MM / pixel_mm))
    slope = np.clip(INSIDE + (hu - SOLID_HU) / SLOPE_HU, 0, 1)
    opened = _opened((slope > INSIDE) & (drawn.array > INSIDE), pixel_mm)
    parts, count = ndimage.label(opened)
    if not count:
        return np.zeros_like(drawn.array)
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    # One pixel beyond, so that the edge is found between pixels.
    near = ndimage.binary_dilation(largest, ndimage.generate_binary_structure(2, 2)[None])
    return np.where(near, np.minimum(slope, drawn.array), 0).astype(np.float32)


def _opened(mask: Array, pixel_mm: float) -> Array:
    """What discs within the slices of a mask (S, h, w) cover without reaching out of it.

    Their radius is that of a vessel, or ``VESSEL_SHARE`` of the widest place's: the larger.
    """
    opened = np.zeros_like(mask)
    # A nodule is a small part of the grid, and nothing beyond it counts.
    for box in ndimage.find_objects(mask.astype(np.uint8)):
        # So far apart, slices do not count for each other.
        spacing = (1e6, pixel_mm, pixel_mm)
        depth_mm = ndimage.distance_transform_edt(np.pad(mask[box], ((0, 0), (1, 1), (1, 1))), spacing)
        radius_mm = max(VESSEL_MM / 2, VESSEL_SHARE * depth_mm.max())
        middles = depth_mm > radius_mm
        if middles.any():
            near = ndimage.distance_transform_edt(~middles, spacing) <= radius_mm
            opened[box] = np.asarray(near)[:, 1:-1, 1:-1]
    return opened
