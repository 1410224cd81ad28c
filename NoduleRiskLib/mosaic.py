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
        s, rows, columns = np.nonzero(where)
        matrix = self.ijk_to_ras[s]
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
    matrices, planes, offsets = [], [], []
    for index, name in enumerate(layout.planes):
        column, row, normal = (np.array(axis, dtype=np.float64) for axis in PLANES[name])
        first, step = _lattice(volume, centre, normal, layout)
        offset = first + step * (np.arange(layout.slices) - layout.slices // 2)
        half = (layout.pixels - 1) / 2 * layout.pixel_mm
        matrix = np.tile(np.eye(4), (layout.slices, 1, 1))
        matrix[:, :3, 0], matrix[:, :3, 1] = column * layout.pixel_mm, row * layout.pixel_mm
        matrix[:, :3, 2] = normal * step
        matrix[:, :3, 3] = centre + offset[:, None] * normal - half * (column + row)
        matrices.append(matrix)
        planes.append(np.full(layout.slices, index))
        offsets.append(offset)
    ijk_to_ras, plane, offset_mm = map(np.concatenate, (matrices, planes, offsets))

    normals = np.array([PLANES[name][2] for name in layout.planes], dtype=np.float64)[plane]
    middle = centre + offset_mm[:, None] * normals
    valid = volume.contains(middle)
    if bounds_ras is not None:
        low, high = (np.sum(normals * bound, axis=1) for bound in np.asarray(bounds_ras))
        along = np.sum(normals * middle, axis=1)
        # The slices that hold the two ends belong to the nodule, however thick they are.
        half_step = np.linalg.norm(ijk_to_ras[:, :3, 2], axis=1) / 2
        valid &= (along >= low - half_step) & (along <= high + half_step)

    shape = (len(valid), layout.pixels, layout.pixels)
    pixels, outlined = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    centres = _pixel_centres(ijk_to_ras[valid], layout.pixels)
    pixels[valid] = sample(volume, centres)
    if outline is not None:
        outlined[valid] = sample(outline, centres, outside=0.0)
    return SliceStack(pixels, outlined, ijk_to_ras, plane, offset_mm, valid, layout)


def sample(volume: Volume, points_ras: Array, outside: float | None = None) -> Array:
    """Trilinear values (float32, shape (...)) of a volume at RAS points (mm, shape (..., 3)).

    Outside the volume its outermost voxels repeat, or the constant ``outside`` fades in over one voxel.
    """
    if points_ras.size == 0:
        return np.zeros(points_ras.shape[:-1], np.float32)
    coordinates = np.moveaxis(volume.to_ijk(points_ras)[..., ::-1], -1, 0)
    # Rounding keeps points that are meant to lie on voxel centres from leaving the outermost one.
    values = map_coordinates(
        volume.array,
        np.round(coordinates, 7),
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
