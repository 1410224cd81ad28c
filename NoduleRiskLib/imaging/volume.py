"""A CT as int16 HU with its place in the patient: the only file where voxel indices and RAS meet."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NoduleRiskError
from .dicom_facts import DicomFacts, ImageReference
from .hounsfield import check_hounsfield
from .image_header import LPS_TO_RAS as LPS_TO_RAS
from .series_order import check_slices, refuse_mixed_scans

Array = NDArray[Any]

#: A nodule fills two or three thick slices; with one on either side that is the least there is to look at.
MIN_SLICES = 5
#: The thickest slices among the LIDC-IDRI nodules that the models learn from.
THICK_MM = 3.0
#: Every chest CT has air darker than the first and tissue brighter than the second.
AIR_HU, TISSUE_HU = -500, -100
#: No CT has smaller or larger voxels; lengths in another unit than mm look so.
VOXEL_MM = (0.05, 20.0)


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
    dicom : DicomFacts or None
        What the DICOM headers say beside the voxels, if it came from DICOM.
    acquired : date or None
        The day on which the patient was scanned, if anything says so.
    """

    array: Array
    ijk_to_ras: Array
    name: str = ""
    identity: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    dicom: DicomFacts | None = None
    acquired: date | None = None

    @cached_property
    def ras_to_ijk(self) -> Array:
        """Inverse of ``ijk_to_ras``, shape (4, 4)."""
        return np.linalg.inv(self.ijk_to_ras)

    @cached_property
    def spacing_mm(self) -> Array:
        """Distance in mm between neighbouring voxel centres along i, j and k, shape (3,)."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)

    def to_ijk(self, points_ras: Array) -> Array:
        """Continuous voxel indices ``(i, j, k)`` of RAS points (mm), both shape (..., 3)."""
        return np.asarray(points_ras) @ self.ras_to_ijk[:3, :3].T + self.ras_to_ijk[:3, 3]

    def to_ras(self, points_ijk: Array) -> Array:
        """RAS points (mm) of continuous voxel indices ``(i, j, k)``, both shape (..., 3)."""
        return np.asarray(points_ijk) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def corners_ras(self, beyond: float = 0) -> Array:
        """Where its eight outermost voxels have their centres, RAS mm (8, 3), or so many voxels beyond them."""
        ends = ((-beyond, count - 1 + beyond) for count in self.array.shape[::-1])
        return self.to_ras(np.array(list(product(*ends))))

    def contains(self, points_ras: Array) -> Array:
        """Whether RAS points (mm, shape (..., 3)) lie in some voxel (centre plus or minus half a voxel)."""
        ijk = self.to_ijk(points_ras)
        size = np.array(self.array.shape[::-1])
        return np.asarray(np.all((ijk >= -0.5 - 1e-6) & (ijk <= size - 0.5 + 1e-6), axis=-1))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over voxels and ``ijk_to_ras``: equal for equal images, whatever file they came from."""
        sha = hashlib.sha256(np.ascontiguousarray(self.array).tobytes())
        # Single precision (and no negative zero): files and scenes give a matrix back with rounding in its last digits.
        sha.update((np.ascontiguousarray(self.ijk_to_ras, dtype=np.float32) + np.float32(0)).tobytes())
        return sha.hexdigest()


def middle_image(volume: Volume, ras: Array) -> ImageReference | None:
    """The image nearest to a place (RAS mm, shape (3,)) inside a CT; ``None`` of a CT that is not from DICOM."""
    if volume.dicom is None:
        return None
    return volume.dicom.image_at(float(np.clip(volume.to_ijk(ras)[2], 0, len(volume.array) - 1)))


def checked_ct(
    volume: Volume,
    thickness_mm: float = 0.0,
    slice_names: Sequence[str] = (),
    acquisitions: Sequence[tuple[str, ...]] = (),
) -> Volume:
    """The same volume as a CT that can be assessed: voxels int16 HU, warnings added for what is doubtful about it.

    Parameters
    ----------
    volume : Volume
        Voxels of any number type, in HU.
    thickness_mm : float
        Thickness of the slices, if known: overlapping ones are thicker than the distance between them.
    slice_names : sequence of str, optional
        What sentences call the K slices (their files); numbers from 1 otherwise.
    acquisitions : sequence of tuple of str, optional
        What tells the acquisitions of the K slices apart; see ``series_order.refuse_mixed_scans``.

    Raises
    ------
    NoduleRiskError
        If the voxels cannot be the HU of a chest, are too few, have no place in the patient, were lost in whole slices,
        or are those of two scans.
    """
    array, name = volume.array, volume.name
    if array.ndim != 3 or min(array.shape) < MIN_SLICES:
        raise NoduleRiskError(
            f"{name} has {' x '.join(map(str, array.shape))} voxels, and a CT needs {MIN_SLICES} or more along each of "
            "three axes: choose the whole scan."
        )
    matrix = volume.ijk_to_ras
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3] / np.maximum(volume.spacing_mm, 1e-9))) < 1e-3:
        raise NoduleRiskError(f"{name} has axes that do not span space: export the CT again.")
    # Neighbouring layers of a sheared volume lie closer than its voxel centres.
    distances_mm = 1 / np.linalg.norm(volume.ras_to_ijk[:3, :3], axis=1)
    if distances_mm.min() < VOXEL_MM[0] or distances_mm.max() > VOXEL_MM[1]:
        raise NoduleRiskError(
            f"{name} has voxels of {' x '.join(f'{d:.4g}' for d in distances_mm)} mm, and no CT has: "
            "export it with its spacing in mm."
        )
    if not np.isrealobj(array) or (array.dtype.kind == "f" and not all(np.isfinite(one).all() for one in array)):
        raise NoduleRiskError(f"{name} holds values that are no numbers (NaN or infinite): export the CT in HU again.")
    low, high = float(array.min()), float(array.max())
    if low > AIR_HU or high < TISSUE_HU:
        raise NoduleRiskError(
            f"{name} has values from {low:g} to {high:g}, which are not the HU of a chest (air is near -1000, "
            "tissue near 0): choose a CT, with its rescale slope and intercept applied."
        )
    array = hounsfield(array)
    told = volume.warnings + check_hounsfield(name, array)
    slice_names = slice_names or [f"slice {k} of {len(array)}" for k in range(1, len(array) + 1)]
    told += check_slices(name, array, slice_names)
    fine = bool(distances_mm[2] < 1.2 * distances_mm[:2].min())
    refuse_mixed_scans(name, array, slice_names, acquisitions, fine)
    thick_mm = max(*distances_mm, thickness_mm)
    if thick_mm > THICK_MM + 0.01:
        told += (
            f"The slices are thick ({distances_mm.max():.1f} mm apart"
            + (f", each of {thickness_mm:.1f} mm" if thickness_mm else "")
            + f"): the models learned from slices up to {THICK_MM:g} mm, and small nodules blur.",
        )
    return replace(volume, array=array, warnings=told)


def hounsfield(values: Array) -> Array:
    """HU of any real number type, any shape, rounded and clipped to int16."""
    if values.dtype == np.int16:
        return values
    if values.ndim == 3:
        # Slice by slice: rounded copies of a whole CT would take four times its memory.
        whole = np.empty(values.shape, np.int16)
        for one, hu in zip(whole, values, strict=True):
            one[...] = hounsfield(hu)
        return whole
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(values), limits.min, limits.max).astype(np.int16)


def lps_ras(places: Any) -> Array:
    """Places (mm, shape (..., 3)) in RAS that were in LPS, as ITK and DICOM have them, or the other way round."""
    return np.asarray(np.asarray(places, np.float64) @ LPS_TO_RAS[:3, :3])


def itk_ijk_to_ras(image: Any) -> Array:
    """``ijk_to_ras`` (4, 4) of a 3-D SimpleITK image."""
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return LPS_TO_RAS @ lps


def place_itk(image: Any, grid: Volume) -> None:
    """Put a 3-D SimpleITK image where a volume of its size lies."""
    lps = LPS_TO_RAS @ grid.ijk_to_ras
    image.SetSpacing(grid.spacing_mm.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / grid.spacing_mm).ravel().tolist())


def write_nrrd(path: Path | str, volume: Volume, about: Mapping[str, Any] | None = None) -> None:
    """Write voxels, their place and further fields to a compressed NRRD file, as Slicer and ITK read it."""
    import SimpleITK as sitk

    image: Any = sitk.GetImageFromArray(volume.array)
    place_itk(image, volume)
    for key, value in (about or {}).items():
        image.SetMetaData(key, str(value))
    sitk.WriteImage(image, str(path), useCompression=True)
