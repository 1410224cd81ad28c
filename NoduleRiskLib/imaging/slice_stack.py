"""Between the CT and the model: cut a nodule's slices, lay them out as a mosaic, paste values back to RAS."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..errors import NoduleRiskError
from .volume import Array

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
        HU (or the values of the volume that was cut), axis order slice, row, column; 0 where invalid.
    outline : ndarray, float32, shape (S, h, w)
        How likely each pixel is the nodule's, 0 to 1; all 0 if no outline was given.
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

    def per_pixel(self, values: Array) -> Array:
        """Values of each pixel (S, h, w) or of each slice (S,) as float32, shape (S, h, w); raises ``ValueError``."""
        values = np.asarray(values, np.float32)
        if values.shape not in (self.pixels.shape, self.valid.shape):
            raise ValueError(f"values have shape {values.shape}; expected {self.pixels.shape} or {self.valid.shape}")
        return np.broadcast_to(values if values.ndim == 3 else values[:, None, None], self.pixels.shape)


def part(stack: SliceStack, keep: Array) -> SliceStack:
    """The same stack with only the slices ``keep`` (bool, shape (S,)) left valid."""
    return replace(stack, valid=stack.valid & keep)


def _pixel_centres(ijk_to_ras: Array, pixels: int) -> Array:
    at = np.arange(pixels, dtype=np.float64)
    along_columns = at[None, None, :, None] * ijk_to_ras[:, None, None, :3, 0]
    along_rows = at[None, :, None, None] * ijk_to_ras[:, None, None, :3, 1]
    return np.asarray(ijk_to_ras[:, None, None, :3, 3] + along_columns + along_rows)
