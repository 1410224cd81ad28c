"""A CT as int16 HU with its place in the patient: the only file where voxel indices and RAS meet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and where they are.

    Attributes
    ----------
    array : ndarray, shape (K, J, I)
        int16 Hounsfield units for a CT; float32 for maps that ``mosaic.paste`` makes. Axis order ``[k, j, i]``.
    ijk_to_ras : ndarray, shape (4, 4)
        Takes homogeneous voxel indices ``(i, j, k, 1)`` of voxel **centres**, 0-based, to RAS millimetres.
        Any invertible matrix: flipped, oblique and sheared ones included.
    name : str
        What people call it: a file, folder or node name.
    identity : dict
        What tells this volume from another (DICOM series UID, path); goes into reports.
    warnings : tuple of str
        What the reader of a result should know about this volume, one sentence each.
    """

    array: Array
    ijk_to_ras: Array
    name: str = ""
    identity: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @cached_property
    def ras_to_ijk(self) -> Array:
        """Inverse of ``ijk_to_ras``, shape (4, 4)."""
        return np.linalg.inv(self.ijk_to_ras)

    @property
    def spacing_mm(self) -> Array:
        """Distance in mm between neighbouring voxel centres along i, j and k, shape (3,)."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    def to_ijk(self, points_ras: Array) -> Array:
        """Continuous voxel indices ``(i, j, k)`` of RAS points (mm), both shape (..., 3)."""
        return np.asarray(points_ras) @ self.ras_to_ijk[:3, :3].T + self.ras_to_ijk[:3, 3]

    def to_ras(self, points_ijk: Array) -> Array:
        """RAS points (mm) of continuous voxel indices ``(i, j, k)``, both shape (..., 3)."""
        return np.asarray(points_ijk) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def contains(self, points_ras: Array) -> Array:
        """Whether RAS points (mm, shape (..., 3)) lie in some voxel (centre plus or minus half a voxel)."""
        ijk = self.to_ijk(points_ras)
        size = np.array(self.array.shape[::-1])
        return np.asarray(np.all((ijk >= -0.5 - 1e-6) & (ijk <= size - 0.5 + 1e-6), axis=-1))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over voxels and ``ijk_to_ras``: equal for equal images, whatever file they came from."""
        sha = hashlib.sha256(np.ascontiguousarray(self.array).tobytes())
        sha.update(np.ascontiguousarray(self.ijk_to_ras, dtype=np.float64).tobytes())
        return sha.hexdigest()
