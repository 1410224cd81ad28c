"""Between the CT's grid and a nodule's own: cut its slices, sample places, paste values back to RAS."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import map_coordinates

from ..errors import NoduleRiskError
from .slice_stack import PLANES, Layout, SliceStack
from .volume import Array, Volume

#: A grid along which another axis of the volume moves by less than this runs parallel to it.
OBLIQUE_VOXELS = 1e-6


def cut(
    volume: Volume,
    centre_ras: Array,
    layout: Layout,
    bounds_ras: Array | None = None,
    outline: Volume | None = None,
) -> SliceStack:
    """Sample the slices of one nodule straight from the volume, never resampling the whole CT.

    Slices lie in RAS-aligned planes for any orientation of the volume, by trilinear interpolation. Outside
    the volume its outermost voxels are repeated; a slice whose centre line leaves the volume is invalid.

    Parameters
    ----------
    volume : Volume
    centre_ras : array, shape (3,)
        RAS mm. In-plane centre of every slice.
    layout : Layout
    bounds_ras : array, shape (2, 3), optional
        Lowest and highest R, A and S (mm) of the nodule: slices beyond them along their plane's normal are
        invalid.
    outline : Volume, optional
        Values 0 to 1 on any grid of its own; 0 outside of it.

    Raises
    ------
    NoduleRiskError
        If the centre lies outside the volume.
    """
    centre = np.asarray(centre_ras, dtype=np.float64)
    if not volume.contains(centre):
        place = ", ".join(f"{x:.1f}" for x in centre)
        raise NoduleRiskError(f"The point ({place}) mm RAS lies outside the CT: put it on a nodule inside the image.")
    count = layout.slices * len(layout.planes)
    shape = (count, layout.pixels, layout.pixels)
    pixels, outlined = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    ijk_to_ras = np.tile(np.eye(4), (count, 1, 1))
    offset_mm, valid = np.zeros(count), np.zeros(count, bool)
    half_mm = (layout.pixels - 1) / 2 * layout.pixel_mm
    for index, name in enumerate(layout.planes):
        column, row, normal = (np.array(axis, dtype=np.float64) for axis in PLANES[name])
        first, step = _lattice(volume, centre, normal, layout)
        offset = first + step * (np.arange(layout.slices) - layout.slices // 2)
        middle = centre + offset[:, None] * normal
        inside = volume.contains(middle)
        if bounds_ras is not None:
            low, high = np.asarray(bounds_ras) @ normal
            along = middle @ normal
            # The slices that hold the two ends belong to the nodule, however thick they are.
            inside &= (along >= low - step / 2) & (along <= high + step / 2)

        own = slice(index * layout.slices, (index + 1) * layout.slices)
        matrix, offset_mm[own], valid[own] = ijk_to_ras[own], offset, inside
        matrix[:, :3, 0], matrix[:, :3, 1] = column * layout.pixel_mm, row * layout.pixel_mm
        matrix[:, :3, 2] = normal * step
        matrix[:, :3, 3] = middle - half_mm * (column + row)
        here = np.flatnonzero(inside)
        if here.size:
            # Inside the volume and the bounds: the valid slices of a plane follow each other.
            filled = slice(own.start + here[0], own.start + here[-1] + 1)
            size = (len(here), *shape[1:])
            pixels[filled] = sample_grid(volume, matrix[here[0]], size)
            if outline is not None:
                outlined[filled] = sample_grid(outline, matrix[here[0]], size, outside=0.0)
    plane = np.arange(count) // layout.slices
    return SliceStack(pixels, outlined, ijk_to_ras, plane, offset_mm, valid, layout)


def sample(volume: Volume, points_ras: Array, outside: float | None = None) -> Array:
    """Trilinear values (float32, shape (...)) of a volume at RAS points (mm, shape (..., 3)).

    Outside the volume its outermost voxels repeat, or the constant ``outside`` fades in over one voxel.
    """
    if points_ras.size == 0:
        return np.zeros(points_ras.shape[:-1], np.float32)
    return _interpolated(volume.array, np.moveaxis(volume.to_ijk(points_ras)[..., ::-1], -1, 0), outside)


def sample_grid(volume: Volume, grid_to_ras: Array, shape: tuple[int, int, int], outside: float | None = None) -> Array:
    """What ``sample`` gives on a regular grid, but many times faster where its axes run along the volume's own.

    Parameters
    ----------
    volume : Volume
    grid_to_ras : array, shape (4, 4)
        Takes ``(column, row, slice, 1)`` of the grid, 0-based, to RAS mm.
    shape : (slices, rows, columns)
    outside : float, optional
        As in ``sample``.

    Returns
    -------
    ndarray, float32, shape (slices, rows, columns)
    """
    grid_to_ijk = volume.ras_to_ijk @ grid_to_ras
    # Row: i, j, k of the volume; column: column, row, slice of the grid.
    steps, first = grid_to_ijk[:3, :3], grid_to_ijk[:3, 3]
    moves = np.abs(steps) * shape[::-1] > OBLIQUE_VOXELS
    if (moves.sum(0) != 1).any() or (moves.sum(1) != 1).any():
        s, r, c = np.ogrid[tuple(map(slice, shape))]
        kji = [x + a * c + b * r + d * s for x, (a, b, d) in zip(first[::-1], steps[::-1], strict=True)]
        return _interpolated(volume.array, np.array(kji), outside)
    # Trilinear interpolation goes along each axis in turn. Not by products with matrices: they would wake NumPy's
    # threads, which then stand in the way of PyTorch's for as long as they spin.
    axes = moves[::-1].argmax(1)
    windows, *neighbours = zip(
        *(
            _neighbours(start + step[axis] * np.arange(shape[2 - axis]), size, outside)
            for start, step, axis, size in zip(first[::-1], steps[::-1], axes, volume.array.shape, strict=True)
        ),
        strict=True,
    )
    values = volume.array[windows] if not outside else volume.array[windows] - np.float32(outside)
    for axis, (before, after, near, far) in enumerate(zip(*neighbours, strict=True)):
        across = (slice(None), *[None] * (2 - axis))
        values = values.take(before, axis) * near[across] + values.take(after, axis) * far[across]
    if outside:
        values += outside
    return np.ascontiguousarray(values.transpose(np.argsort(2 - axes)))


def _neighbours(at: Array, size: int, outside: float | None) -> tuple[slice, Array, Array, Array, Array]:
    """The voxels before and after evenly spaced voxel indices ``at``, shape (N,), on an axis of that ``size``.

    The window that holds them all; where in it they lie, before and after; how much each counts.
    """
    # Rounding: see ``_interpolated``. Beyond the last voxel its value holds, or nothing is left of it a voxel further.
    at = np.round(at, 7)
    before = np.floor(at)
    far = (at - before).astype(np.float32)
    near = 1 - far
    if outside is not None:
        near[(before < 0) | (before >= size)] = 0
        far[(before < -1) | (before >= size - 1)] = 0
    last = size - 1
    before = np.minimum(np.maximum(before.astype(np.intp), -1), last)
    after = np.minimum(before + 1, last)
    before = np.maximum(before, 0)
    first = min(before[0], before[-1])
    return slice(first, max(after[0], after[-1]) + 1), before - first, after - first, near, far


def _interpolated(array: Array, kji: Array, outside: float | None) -> Array:
    """Trilinear values at voxel indices ``kji``, shape (3, ...)."""
    # Rounding keeps points that are meant to lie on voxel centres from leaving the outermost one.
    values = map_coordinates(
        array,
        np.round(kji, 7),
        output=np.float32,
        order=1,
        mode="nearest" if outside is None else "grid-constant",
        cval=0.0 if outside is None else outside,
    )
    return np.asarray(values)


def paste(stack: SliceStack, values: Array) -> dict[str, Volume]:
    """Values per slice or per pixel put back to where they came from: one small float32 volume a plane.

    ``cut(paste(stack, x)[plane], ...)`` with the same centre and layout gives ``x`` again on valid slices.

    Parameters
    ----------
    stack : SliceStack
    values : array, shape (S, h, w) or (S,)

    Returns
    -------
    dict
        Plane name -> Volume, array shape (slices from first to last valid, h, w), 0 on invalid slices between.
        Planes without a valid slice are left out.
    """
    slices = np.where(stack.valid[:, None, None], stack.per_pixel(values), np.float32(0))
    volumes = {}
    for index, name in enumerate(stack.layout.planes):
        here = np.flatnonzero((stack.plane == index) & stack.valid)
        if here.size:
            block = slice(here[0], here[-1] + 1)
            volumes[name] = Volume(slices[block], stack.ijk_to_ras[here[0]], name=name)
    return volumes


def on_grid(volumes: Sequence[Volume], like: Volume) -> Volume:
    """Small volumes on another volume's grid: trilinear, their maximum where they overlap, 0 outside of them.

    Parameters
    ----------
    volumes : sequence of Volume
        Values of 0 or more; only the box around each is computed, so a whole CT's grid takes a fraction of a second.
    like : Volume
        Whose grid; its voxels are not looked at.

    Returns
    -------
    Volume
        float32, shape and ``ijk_to_ras`` of ``like``, name of the first volume.
    """
    values = np.zeros(like.array.shape, np.float32)
    size = np.array(like.array.shape[::-1])
    for volume in volumes:
        # Beside its outermost voxels a volume fades out over one more.
        corners = like.to_ijk(volume.corners_ras(beyond=1))
        low = np.clip(np.floor(corners.min(0)), 0, size).astype(int)
        high = np.clip(np.ceil(corners.max(0)) + 1, 0, size).astype(int)
        if (high <= low).any():
            continue
        box_to_ras = like.ijk_to_ras.copy()
        box_to_ras[:3, 3] = like.to_ras(low)
        box = tuple(slice(a, b) for a, b in zip(low[::-1], high[::-1], strict=True))
        near = sample_grid(volume, box_to_ras, values[box].shape, outside=0.0)
        values[box] = np.maximum(values[box], near)
    return Volume(values, like.ijk_to_ras, volumes[0].name if volumes else "")


def _lattice(volume: Volume, centre: Array, normal: Array, layout: Layout) -> tuple[float, float]:
    """Offset (mm) along ``normal`` of the middle slice from the centre, and the step between slices (mm)."""
    if layout.step_mm is not None:
        return 0.0, layout.step_mm
    direction = volume.ijk_to_ras[:3, :3] / volume.spacing_mm
    axis = int(np.argmax(np.abs(normal @ direction)))
    index_per_mm = float(volume.ras_to_ijk[axis, :3] @ normal)
    index = float(volume.to_ijk(centre)[axis])
    size = volume.array.shape[2 - axis]
    # Of two slices equally near the lower one, whichever end the scan's own count begins at.
    way = math.copysign(1, index_per_mm)
    nearest = min(max(round(way * math.ceil(way * index - 0.5 - 1e-6)), 0), size - 1)
    # Half a thousandth of a slice must not decide between every and every second slice.
    every = max(1, math.ceil(layout.min_step_mm * abs(index_per_mm) - 5e-4))
    return (nearest - index) / index_per_mm, every / abs(index_per_mm)
