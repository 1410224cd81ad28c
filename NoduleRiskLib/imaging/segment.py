"""One segment of a segmentation: what its program calls it, and its voxels in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .shown import shown
from .volume import Array, Volume

#: How many names a sentence lists.
NAMED = 12


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment.

    Attributes
    ----------
    label : str
    mask : Volume
        uint8, 1 inside, on a box around the segment.
    tracking_uid : str
        The DICOM UID under which a SEG knows the nodule; "" elsewhere.
    """

    label: str
    mask: Volume
    tracking_uid: str = ""


def in_box(inside: Array, box: tuple[slice, ...], ijk_to_ras: Array) -> Volume:
    """A mask (shape (k, j, i)) that was cut out of a larger grid, at its place.

    Parameters
    ----------
    inside : ndarray, shape (k, j, i)
        What is cut out already.
    box : tuple of slice
        Where it was cut out, along k, j and i.
    ijk_to_ras : ndarray, shape (4, 4)
        Of the larger grid.
    """
    moved = ijk_to_ras.copy()
    moved[:3, 3] += ijk_to_ras[:3, :3] @ [one.start for one in box[::-1]]
    return Volume(inside.astype(np.uint8), moved)


def boxes(labels: Array) -> list[Any]:
    """For each label from 1 on the smallest box around it, as slices; ``None`` where it has no voxel."""
    from scipy import ndimage

    return list(ndimage.find_objects(labels))


def chosen(name: str, labels: Sequence[str], only: Sequence[str]) -> list[int]:
    """Which segments of those with these labels are meant: those in ``only``, or all where that is empty.

    Raises
    ------
    NoduleRiskError
        If one of ``only`` is not there.
    """
    for one in only:
        if one not in labels:
            raise NoduleRiskError(f"{name} holds no segment {shown(one)}: choose of {listed(labels)}.")
    return [number for number, label in enumerate(labels) if not only or label in only]


def listed(labels: Sequence[str]) -> str:
    """Labels in a sentence."""
    more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    return ", ".join(map(shown, labels[:NAMED])) + more
