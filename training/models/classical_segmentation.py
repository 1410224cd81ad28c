"""Outlines without learning (threshold, detach, grow back): what the segmentation network has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from NoduleRiskLib.imaging.outline import Outline, measure
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.segmentation import LAYOUT, LIMIT_MM, REACH_MM

LUNG_HU = -850.0
#: The threshold lies half-way between lung and nodule, but never so low that lung's own texture is above it.
LOWEST_HU, HIGHEST_HU = -650.0, -300.0
#: What is thinner than this share of the nodule's own radius is cut off: vessels, the pleura's rim.
DETACH = 0.6


def segment(volume: Volume, points_ras: Sequence[Array]) -> list[Outline | None]:
    """The nodule under each point (RAS mm) by morphology, as ``NoduleRiskLib.networks.segmentation.segment`` gives it.

    After Kuhnigk et al. 2006, "Morphological segmentation and partial volume analysis for volumetry of solid
    pulmonary lesions in thoracic CT scans", doi 10.1109/TMI.2006.871547: threshold, erode until the vessels are
    gone, keep the part at the point, dilate back inside the threshold.
    """
    outlines = []
    for point in points_ras:
        stack = cut(volume, point, LAYOUT, bounds_ras=np.stack([point - LIMIT_MM, point + LIMIT_MM]))
        outlines.append(measure(stack, _outline(stack, np.asarray(point, np.float64))))
    return outlines


def _outline(stack: SliceStack, point: Array) -> Array:
    """0 or 1, float32 (S, h, w)."""
    spacing = (float(stack.step_mm[0]), stack.layout.pixel_mm, stack.layout.pixel_mm)
    away = np.linalg.norm(stack.pixels_ras() - point, axis=-1)
    near = (away <= max(REACH_MM, spacing[0] / 2 + 0.5)) & stack.valid[:, None, None]
    own = float(np.percentile(stack.pixels[near], 90))
    dense = (stack.pixels > np.clip((own + LUNG_HU) / 2, LOWEST_HU, HIGHEST_HU)) & stack.valid[:, None, None]
    if not (dense & near).any():
        return np.zeros(dense.shape, np.float32)
    depth = ndimage.distance_transform_edt(dense, spacing)
    seed = np.unravel_index(np.argmax(np.where(near, depth, 0)), depth.shape)
    core = depth > DETACH * depth[seed]
    parts, _ = ndimage.label(core)
    kept = parts == parts[seed]
    grown = dense & (ndimage.distance_transform_edt(~kept, spacing) <= DETACH * depth[seed])
    parts, _ = ndimage.label(grown)
    return np.asarray(parts == parts[seed], np.float32)
