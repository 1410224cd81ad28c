"""Between the CT and the model: cut a nodule's slices, lay them out as a mosaic, paste values back to RAS."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import map_coordinates

from .errors import NoduleRiskError
from .volume import Array, Volume

#: For each plane: the RAS directions in which columns, rows and slices run. As radiologists view them:
#: the patient's right on the left, anterior (axial) or superior (coronal, sagittal) on top.
PLANES = {
    "axial": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "coronal": ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
}

#: A grid along which another axis of the volume moves by less than this runs parallel to it.
OBLIQUE_VOXELS = 1e-6


@dataclass(frozen=True)
class Layout:
    """Which slices are cut around a nodule.

    Attributes
    ----------
    name : str
        For people and reports.
    planes : tuple of str
        Keys of ``PLANES``, in the order in which their slices follow each other.
    slices : int
        Places for slices in each plane; those outside the volume or the nodule stay empty (invalid).
    pixels : int
        Rows and columns of a slice.
    pixel_mm : float
        Distance between pixel centres.
    step_mm : float or None
        Distance between slices. ``None`` takes the scan's own slices.
    min_step_mm : float
        With ``step_mm=None``: scans thinner than this are read every second, third, ... slice.
    """

    name: str
    planes: tuple[str, ...] = ("axial",)
    slices: int = 49
    pixels: int = 64
    pixel_mm: float = 0.7
    step_mm: float | None = None
    min_step_mm: float = 1.0

    def __post_init__(self) -> None:
        unknown = set(self.planes) - set(PLANES)
        if unknown or not self.planes:
            raise NoduleRiskError(f"A layout's planes are some of {', '.join(PLANES)}, not {self.planes}.")
        if self.slices < 1 or self.pixels < 1 or self.pixel_mm <= 0 or (self.step_mm is not None and self.step_mm <= 0):
            raise NoduleRiskError(
                f"The layout {self.name!r} needs at least one slice, one pixel and positive spacings."
            )

    @property
    def columns(self) -> int:
        """Slices in a row of the mosaic: the whole is as square as it can be."""
        return math.ceil(math.sqrt(self.slices * len(self.planes)))


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("native"),
        Layout("axial", step_mm=1.5),
        Layout("triplanar", planes=("axial", "coronal", "sagittal"), slices=27, step_mm=1.5),
    )
}


@dataclass(frozen=True, eq=False)
class SliceStack:
    """What is cut for one nodule: the one data structure between the CT and the model.

    Attributes
    ----------
    pixels : ndarray, float32, shape (S, h, w)
        HU (or the values of whatever volume was cut), axis order slice, row, column; 0 where invalid.
    outline : ndarray, float32, shape (S, h, w)
        How surely each pixel belongs to the nodule, 0 to 1; all 0 if no outline was given.
    ijk_to_ras : ndarray, shape (S, 4, 4)
        For each slice: takes ``(column, row, 0, 1)`` of pixel centres, 0-based, to RAS mm. The third column
        is the step to the next slice of the same plane.
    plane : ndarray of int, shape (S,)
        Index into ``layout.planes``.
    offset_mm : ndarray, shape (S,)
        Signed distance of each slice from the nodule's centre along its plane's normal.
    valid : ndarray of bool, shape (S,)
        Whether the slice exists: inside the volume and, if bounds were given, inside the nodule.
    layout : Layout
    """

    pixels: Array
    outline: Array
    ijk_to_ras: Array
    plane: Array
    offset_mm: Array
    valid: Array
    layout: Layout

    def pixels_ras(self, where: Array | None = None) -> Array:
        """RAS position (mm) of pixel centres: of all, shape (S, h, w, 3), or of those in the mask ``where``, (N, 3)."""
        if where is None:
            return _pixel_centres(self.ijk_to_ras, self.layout.pixels)
        # Most slices hold nothing, and looking for what they hold takes long.
        some = np.flatnonzero(where.any((1, 2)))
        s, rows, columns = np.nonzero(where[some])
        matrix = self.ijk_to_ras[some[s]]
        return np.asarray(
            matrix[:, :3, 0] * columns[:, None] + matrix[:, :3, 1] * rows[:, None] + matrix[:, :3, 3], np.float64
        )

    @property
    def step_mm(self) -> Array:
        """Distance in mm from each slice to the next of its plane, shape (S,)."""
        return np.linalg.norm(self.ijk_to_ras[:, :3, 2], axis=1)


def cut(
    volume: Volume,
    centre_ras: Array,
    layout: Layout,
    bounds_ras: Array | None = None,
    outline: Volume | None = None,
) -> SliceStack:
    """Sample the slices of one nodule straight from the volume, never resampling the whole CT.

    Slices lie in RAS-aligned planes, whatever the volume's own axes, by trilinear interpolation. What lies
    beside the volume repeats its outermost voxels; a slice whose centre line leaves the volume is invalid.

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


def mosaic(stack: SliceStack, values: Array | None = None, empty: float = -1024.0) -> Array:
    """The stack as one 2-D image, one slice a patch, row by row: what the paper's transformer reads.

    Parameters
    ----------
    stack : SliceStack
    values : array, shape (S, h, w) or (S,), optional
        What to lay out instead of ``stack.pixels``.
    empty : float
        Value of absent slices and of places after the last slice.

    Returns
    -------
    ndarray, float32, shape (rows * h, columns * w)
        ``columns`` as in ``stack.layout.columns``; as many rows as the slices fill.
    """
    slices = _per_pixel(stack, stack.pixels if values is None else values)
    slices = np.where(stack.valid[:, None, None], slices, np.float32(empty))
    count, h, w = slices.shape
    columns = stack.layout.columns
    rows = math.ceil(count / columns)
    grid = np.full((rows * columns, h, w), empty, np.float32)
    grid[:count] = slices
    return grid.reshape(rows, columns, h, w).swapaxes(1, 2).reshape(rows * h, columns * w)


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
    slices = np.where(stack.valid[:, None, None], _per_pixel(stack, values), np.float32(0))
    volumes = {}
    for index, name in enumerate(stack.layout.planes):
        here = np.flatnonzero((stack.plane == index) & stack.valid)
        if here.size:
            block = slice(here[0], here[-1] + 1)
            volumes[name] = Volume(slices[block], stack.ijk_to_ras[here[0]], name=name)
    return volumes


def part(stack: SliceStack, keep: Array) -> SliceStack:
    """The same stack with only the slices ``keep`` (bool, shape (S,)) left valid."""
    return replace(stack, valid=stack.valid & keep)


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


def _pixel_centres(ijk_to_ras: Array, pixels: int) -> Array:
    at = np.arange(pixels, dtype=np.float64)
    along_columns = at[None, None, :, None] * ijk_to_ras[:, None, None, :3, 0]
    along_rows = at[None, :, None, None] * ijk_to_ras[:, None, None, :3, 1]
    return np.asarray(ijk_to_ras[:, None, None, :3, 3] + along_columns + along_rows)


def _per_pixel(stack: SliceStack, values: Array) -> Array:
    values = np.asarray(values, np.float32)
    if values.shape not in (stack.pixels.shape, stack.valid.shape):
        raise ValueError(f"values have shape {values.shape}; expected {stack.pixels.shape} or {stack.valid.shape}")
    return np.broadcast_to(values if values.ndim == 3 else values[:, None, None], stack.pixels.shape)
