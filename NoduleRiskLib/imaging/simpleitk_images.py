"""Between SimpleITK's images and volumes, without loss."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .volume import Volume, itk_ijk_to_ras, place_itk


def is_image(value: Any) -> bool:
    """Whether a value is a SimpleITK image; imports nothing, for whoever has one has imported SimpleITK."""
    sitk = sys.modules.get("SimpleITK")
    return sitk is not None and isinstance(value, sitk.Image)


def to_volume(image: Any, voxels: bool = True) -> Volume:
    """A SimpleITK image as a volume; a volume is returned as it is.

    Parameters
    ----------
    image : Volume or SimpleITK.Image
        3-D, one value per voxel.
    voxels : bool
        ``False`` gives the grid alone: an array of zeros that takes no memory.

    Raises
    ------
    NoduleRiskError
        If it is neither, or not a 3-D image with one value per voxel.
    """
    if isinstance(image, Volume):
        return image
    if not is_image(image):
        raise NoduleRiskError(
            f"{type(image).__name__} is not a CT: give a path, a SimpleITK image or a NoduleRiskLib.Volume."
        )
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise NoduleRiskError(
            f"The image has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} values per "
            "voxel, not the 3 and 1 of a CT: give the CT alone, without colour or time."
        )
    if not voxels:
        return Volume(np.broadcast_to(np.int16(0), image.GetSize()[::-1]), itk_ijk_to_ras(image))
    import SimpleITK as sitk

    return Volume(sitk.GetArrayFromImage(image), itk_ijk_to_ras(image), name="SimpleITK image")


def to_image(volume: Volume) -> Any:
    """A volume as a SimpleITK image.

    Raises
    ------
    NoduleRiskError
        If the volume's axes are not at right angles: SimpleITK has no place for a tilted gantry's shear.
    """
    import SimpleITK as sitk

    direction = volume.ijk_to_ras[:3, :3] / volume.spacing_mm
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise NoduleRiskError(
            f"{volume.name or 'The volume'} has skewed axes, as from a tilted gantry, which SimpleITK cannot hold: "
            "use the volume itself."
        )
    image: Any = sitk.GetImageFromArray(np.ascontiguousarray(volume.array))
    place_itk(image, volume)
    return image


def like_input(volume: Volume, given: Any) -> Any:
    """The volume as what was given: as a SimpleITK image with exactly its geometry if it was one."""
    if not is_image(given):
        return volume
    import SimpleITK as sitk

    image: Any = sitk.GetImageFromArray(volume.array)
    image.CopyInformation(given)
    return image
