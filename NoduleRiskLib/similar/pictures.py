"""The small picture of a nodule, and whether two pictures show the same one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..imaging.hounsfield import LUNG_WINDOW_HU
from ..imaging.resampling import sample
from ..imaging.slice_stack import PLANES
from ..imaging.volume import Array, Volume
from .reference_set import PICTURE_MM, ReferenceSet, SimilarNodule

#: Rows and columns of a picture.
PIXELS = 96
#: Two pictures that correlate as closely show the same nodule (`python -m training similar`).
SAME = 0.97
#: As far apart two pictures of one nodule may be centred: pixels of half the resolution, slices.
SHIFT, SLICES = 4, (0, -1, 1)


def small_picture(volume: Volume, centre_ras: Array, beside: int = 0) -> Array:
    """The axial slice through a nodule's centre, uint8 (96, 96), ``PICTURE_MM`` wide, as radiologists view it.

    Parameters
    ----------
    volume : Volume
        HU; what lies outside of it is black.
    centre_ras : array, shape (3,)
        mm.
    beside : int
        So many slices of the volume further on.
    """
    # On a slice that was scanned: between two of them, small nodules are blurred.
    ijk = volume.to_ijk(np.asarray(centre_ras, np.float64))
    ijk[2] = np.clip(np.round(ijk[2]) + beside, 0, len(volume.array) - 1)
    column, row, _ = (np.array(axis, np.float64) for axis in PLANES["axial"])
    along_mm = (np.arange(PIXELS) - (PIXELS - 1) / 2) * PICTURE_MM / PIXELS
    places = volume.to_ras(ijk) + along_mm[:, None, None] * row + along_mm[None, :, None] * column
    low, high = LUNG_WINDOW_HU
    hu = np.where(volume.contains(places), sample(volume, places), low)
    return np.round(np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def encoded(picture: Array) -> bytes:
    """A picture (uint8) as a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=85, optimize=True)
    return file.getvalue()


def decoded(data: bytes) -> Array:
    """The grey values (uint8) of a JPEG file."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


def likeness(one: Array, other: Array) -> float:
    """The closest correlation (-1 to 1) of two pictures (96, 96) over shifts of up to 3.3 mm."""
    shifted, middle = _half(one), _half(other)[SHIFT:-SHIFT, SHIFT:-SHIFT]
    size = middle.shape
    windows = np.lib.stride_tricks.sliding_window_view(shifted, size).reshape(-1, middle.size)
    windows = windows - windows.mean(1, keepdims=True)
    middle = (middle - middle.mean()).ravel()
    norms = np.linalg.norm(windows, axis=1) * np.linalg.norm(middle)
    return float((windows @ middle / np.maximum(norms, 1e-9)).max())


def recognised(
    volume: Volume, centre_ras: Array, nodules: Sequence[SimilarNodule], reference: ReferenceSet
) -> tuple[SimilarNodule, ...]:
    """The nodules, ``same`` being set of those that are the very nodule at ``centre_ras`` (mm) of the CT."""
    here = [small_picture(volume, centre_ras, beside) for beside in SLICES]
    told = []
    for one in nodules:
        data = reference.picture(one.name)
        same = data is not None and max(likeness(picture, decoded(data)) for picture in here) >= SAME
        told.append(replace(one, same=same))
    return tuple(told)


def _half(picture: Array) -> Array:
    """Half the resolution, float64."""
    rows, columns = picture.shape
    return np.asarray(picture.reshape(rows // 2, 2, columns // 2, 2).mean((1, 3)))
