"""What the header of a NIfTI file says (NIfTI-1 and NIfTI-2, one file): sizes, number type and place in the patient."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image_header import NO_SIZE, HeaderError, ImageHeader, Part, place_unknown, size_of

Array = NDArray[Any]

#: Datatype codes of single real numbers (nifti1.h).
TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
#: Datatype codes of several values a voxel: complex numbers and colours.
SEVERAL = {32: 2, 1792: 2, 128: 3, 2304: 4}
#: Codes of xyzt_units, in mm; 0 says nothing and means mm in practice.
UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
#: How far the place that the sform gives a voxel may lie from the qform's, or from one without shear.
APART_MM = 0.1
GZIP = b"\x1f\x8b"


def read_nifti(path: Path, within: Path | None = None) -> ImageHeader:
    """The header of a ``.nii`` or ``.nii.gz`` file; whether it is compressed, its first bytes say. It names no others.

    Raises
    ------
    HeaderError
        If it is no such header, or does not say clearly what and where its voxels are.
    """
    with path.open("rb") as stream:
        start = stream.read(2)
    packed = start == GZIP
    try:
        with gzip.open(path) if packed else path.open("rb") as stream:
            raw = stream.read(544)
    except (EOFError, OSError, zlib.error):
        raise HeaderError("its first bytes cannot be unpacked") from None
    fields = _Fields(raw)
    size = _size(fields)
    datatype, bits = fields.datatype
    if datatype in SEVERAL:
        size_of(size, SEVERAL[datatype])
    if datatype not in TYPES or bits != 8 * int(TYPES[datatype][1]):
        raise HeaderError(f"its number type {datatype} with {bits} bits is unknown")
    offset = fields.offset
    if offset != int(offset) or offset < fields.length:
        raise HeaderError(f"its voxels cannot begin at byte {offset:g}")
    slope, intercept = fields.scale
    if slope == 0 or not math.isfinite(slope):
        # By the standard such a slope means that nothing is rescaled.
        if intercept != 0 and math.isfinite(intercept):
            raise HeaderError(f"it rescales its values by {slope:g} and {intercept:g}")
        slope, intercept = 1.0, 0.0
    if not math.isfinite(intercept):
        raise HeaderError(f"it rescales its values by {slope:g} and {intercept:g}")
    matrix, warnings = _place(fields, size)
    part = Part(path, 0, "gzip", int(offset)) if packed else Part(path, int(offset))
    dtype = np.dtype(f"{fields.order}{TYPES[datatype]}")
    return ImageHeader(size, dtype, matrix, (part,), slope, intercept, warnings)


class _Fields:
    """The fields of either version of the header that are needed (nifti1.h, nifti2.h)."""

    def __init__(self, raw: bytes) -> None:
        versions = {348: (1, 344, b"n+1\0 ni1\0"), 540: (2, 4, b"n+2\0 ni2\0")}
        for self.order in "<>":
            self.length = struct.unpack_from(f"{self.order}i", raw.ljust(4, b"\0"))[0]
            if self.length in versions and len(raw) >= self.length:
                break
        else:
            raise HeaderError("it does not begin as a NIfTI file")
        version, at, words = versions[self.length]
        if raw[at : at + 4] not in words.split(b" "):
            raise HeaderError("it does not begin as a NIfTI file")

        def take(one: tuple[str, int], two: tuple[str, int]) -> tuple[Any, ...]:
            form, start = one if version == 1 else two
            return struct.unpack_from(self.order + form, raw, start)

        self.dim = take(("8h", 40), ("8q", 16))
        self.datatype = take(("2h", 70), ("2h", 12))
        self.pixdim = take(("8f", 76), ("8d", 104))
        self.offset = float(take(("f", 108), ("q", 168))[0])
        self.scale = take(("2f", 112), ("2d", 176))
        self.units = take(("b", 123), ("i", 500))[0]
        self.codes = take(("2h", 252), ("2i", 344))
        self.quaternion = take(("6f", 256), ("6d", 352))
        self.sform = np.array(take(("12f", 280), ("12d", 400)), float).reshape(3, 4)


def _size(fields: _Fields) -> tuple[int, int, int]:
    axes, lengths = fields.dim[0], list(fields.dim[1:])
    if not 1 <= axes <= 7:
        raise HeaderError(f"it has {axes} dimensions")
    lengths = lengths[:axes]
    # A single time point is a volume.
    while len(lengths) > 3 and lengths[-1] == 1:
        lengths.pop()
    return size_of(tuple(lengths))


def _place(fields: _Fields, size: tuple[int, int, int]) -> tuple[Array, tuple[str, ...]]:
    """``ijk_to_ras`` and what is doubtful about it."""
    scale = UNITS_MM.get(fields.units & 7)
    if scale is None:
        raise HeaderError(f"its unit of length ({fields.units & 7}) is unknown")
    to_mm = np.diag((scale, scale, scale, 1.0))
    spacing = np.array(fields.pixdim[1:4], float)
    has_qform, has_sform = (code > 0 for code in fields.codes)
    if not (has_sform or (np.isfinite(spacing).all() and spacing.min() > 0)):
        raise HeaderError("it does not say how large its voxels are (pixdim)", NO_SIZE)
    qform, sform = _qform(fields) if has_qform else np.eye(4), np.vstack([fields.sform, (0, 0, 0, 1)])
    if has_sform:
        clear = _unsheared(sform)
        far = max(_apart(sform, other, size) for other in (clear, *([qform] if has_qform else ())))
        if np.isfinite(spacing).all() and spacing.min() > 0:
            voxels = np.linalg.norm(sform[:3, :3], axis=0)
            far = max(far, float((np.abs(voxels - spacing) * (np.array(size) - 1)).max()))
        if not far * scale <= APART_MM:
            raise HeaderError(
                f"it does not say clearly where its voxels lie (sform and qform differ by {far * scale:.1f} mm, or the "
                "axes are skewed)",
                "read the DICOM series itself, or export it as NRRD",
            )
        return to_mm @ sform, ()
    if has_qform:
        return to_mm @ qform, ()
    # Where ITK and Slicer put such a file: its axes along L, P and S, its first voxel at the origin.
    return to_mm @ np.diag((-spacing[0], -spacing[1], spacing[2], 1.0)), (place_unknown("sform and no qform"),)


def _qform(fields: _Fields) -> Array:
    """``ijk_to_ras`` of the quaternion (nifti1.h, method 2)."""
    b, c, d, *origin = fields.quaternion
    a = math.sqrt(max(0.0, 1 - (b * b + c * c + d * d)))
    norm = math.sqrt(a * a + b * b + c * c + d * d)
    if not (math.isfinite(norm) and norm > 0 and np.isfinite(fields.pixdim[1:4]).all() and min(fields.pixdim[1:4]) > 0):
        raise HeaderError("its qform is no rotation")
    a, b, c, d = (value / norm for value in (a, b, c, d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    flip = -1.0 if fields.pixdim[0] < 0 else 1.0
    matrix = np.eye(4)
    matrix[:3, :3] = turn * (np.array(fields.pixdim[1:4]) * (1, 1, flip))
    matrix[:3, 3] = origin
    return matrix


def _unsheared(matrix: Array) -> Array:
    """The nearest matrix whose axes stand at right angles, with the same voxel size and origin."""
    axes = matrix[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(matrix).all() and spacing.min() > 0):
        raise HeaderError("its sform has axes that do not span space")
    left, _, right = np.linalg.svd(axes / spacing)
    nearest = matrix.copy()
    nearest[:3, :3] = left @ right * spacing
    return nearest


def _apart(one: Array, other: Array, size: tuple[int, int, int]) -> float:
    """The largest distance along an axis between the places that two matrices give a corner, mm."""
    corners = np.stack(np.meshgrid(*((0, n - 1) for n in size), (1,))).reshape(4, -1)
    return float(np.abs((one[:3] - other[:3]) @ corners).max())
