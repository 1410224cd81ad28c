"""Outlines on the CT's own grid: one as a box of voxels, several as the labels of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .colours import OUTLINE_RGB
from .outline import INSIDE
from .resampling import sample_grid
from .volume import Array, Volume, write_nrrd

#: Of every segment, as Slicer's files have it.
COLOUR = " ".join(map(str, OUTLINE_RGB))


def on_grid_of(ct: Volume, probability: Volume) -> Volume:
    """An outline (0 to 1) on a CT's grid: uint8, 1 inside, on a box; never empty. Any thread.

    Parameters
    ----------
    ct, probability : Volume
    """
    inside = np.argwhere(probability.array > INSIDE)[:, ::-1]
    ends = np.array(np.meshgrid(*zip(inside.min(0), inside.max(0), strict=True))).reshape(3, -1).T
    corners = ct.to_ijk(probability.to_ras(ends))
    size = np.array(ct.array.shape[::-1])
    low = np.clip(np.floor(corners.min(0)) - 1, 0, size - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 2, low + 1, size).astype(int)
    box_to_ras = ct.ijk_to_ras.copy()
    box_to_ras[:3, 3] = ct.to_ras(low)
    shape = (high[2] - low[2], high[1] - low[1], high[0] - low[0])
    mask = sample_grid(probability, box_to_ras, shape, outside=0.0) > INSIDE
    if not mask.any():
        # Smaller than a voxel: there must be something to edit.
        middle = np.rint(ct.to_ijk(probability.to_ras(inside.mean(0)))).astype(int) - low
        i, j, k = np.clip(middle, 0, high - low - 1)
        mask[k, j, i] = True
    return Volume(mask.astype(np.uint8), box_to_ras, "nodule")


def labels_of(ct: Volume, outlines: Sequence[Volume | None]) -> Volume:
    """Outlines (0 to 1) as one image on a CT's grid: the n-th, from 1, has the label n; where two meet, the first.

    Parameters
    ----------
    ct : Volume
    outlines : sequence of Volume or None
        Probabilities; ``None`` leaves its label out.

    Returns
    -------
    Volume
        uint8, uint16 from the 256th outline on.
    """
    labels: Array = np.zeros(ct.array.shape, np.uint8 if len(outlines) < 256 else np.uint16)
    for label, probability in enumerate(outlines, 1):
        if probability is None:
            continue
        mask = on_grid_of(ct, probability)
        i, j, k = np.rint(ct.to_ijk(mask.ijk_to_ras[:3, 3])).astype(int)
        box = labels[tuple(slice(at, at + size) for at, size in zip((k, j, i), mask.array.shape, strict=True))]
        box[(mask.array > 0) & (box == 0)] = label
    return Volume(labels, ct.ijk_to_ras, "outlines")


def write_labels(path: Path, labels: Volume, names: Mapping[int, str]) -> None:
    """Write labels as Slicer's ``.seg.nrrd``, each a segment with its name; ITK reads it as an image of labels."""
    about: dict[str, Any] = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
    }
    for number, (label, name) in enumerate(names.items()):
        # A line break would end the field.
        one: dict[str, Any] = {"ID": f"nodule_{label}", "Name": " ".join(name.split()), "LabelValue": label, "Layer": 0}
        one |= {"Extent": " ".join(f"0 {size - 1}" for size in labels.array.shape[::-1]), "Color": COLOUR}
        about |= {f"Segment{number}_{field}": value for field, value in one.items()}
    write_nrrd(path, labels, about)
