"""The core of an outline: its middle where a vessel runs into it, and whether two outlines have one shape."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..imaging.outline import INSIDE, Outline
from ..imaging.resampling import sample_grid
from ..imaging.volume import Array

#: Of the deepest voxel's distance from the edge, what a voxel of the core has at least: vessels are thinner.
DEEP = 0.7
#: Grid on which two outlines are laid on each other, mm.
GRID_MM = 0.8


def core_ras(outline: Outline) -> Array:
    """The middle of the thickest part of an outline, RAS mm, shape (3,).

    The centroid of an outline that runs on into a vessel lies between both, where in the other CT there may be nothing
    or the vessel alone.
    """
    drawn = outline.probability
    inside = drawn.array > INSIDE
    if not inside.any():
        return outline.centre_ras
    # The outline is a small part of its grid.
    (box,) = ndimage.find_objects(inside.astype(np.uint8))
    depth = ndimage.distance_transform_edt(np.pad(inside[box], 1), drawn.spacing_mm[::-1])
    parts, _ = ndimage.label(depth >= DEEP * depth.max())
    core = np.argwhere(parts == parts.flat[depth.argmax()]) - 1 + [one.start for one in box]
    return np.asarray(drawn.to_ras(core[:, ::-1]).mean(0))


def within(one: Outline, other: Outline) -> float:
    """How much of the smaller outline (0 to 1) lies within the larger one, core on core.

    What grows or shrinks keeps its place: less than all of it lies outside only where an outline takes in something
    else.
    """
    cores = [core_ras(each) for each in (one, other)]
    reach = max(np.abs(each.bounds_ras - core).max() for each, core in zip((one, other), cores, strict=True))
    side = 2 * int(np.ceil(reach / GRID_MM)) + 3
    masks = []
    for each, core in zip((one, other), cores, strict=True):
        grid = np.diag((GRID_MM, GRID_MM, GRID_MM, 1.0))
        grid[:3, 3] = core - (side - 1) / 2 * GRID_MM
        masks.append(sample_grid(each.probability, grid, (side,) * 3, outside=0.0) > INSIDE)
    smaller = min(int(mask.sum()) for mask in masks)
    return int((masks[0] & masks[1]).sum()) / smaller if smaller else 0.0
