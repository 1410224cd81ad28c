"""Segmentations that other programs wrote: label maps, Slicer's .seg.nrrd, DICOM, each segment a mask in RAS."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .dicom_outlines import EXPECTED
from .dicom_outlines import read as read_dicom
from .segment import Segment, boxes, chosen, in_box
from .simpleitk_images import is_image
from .volume import Volume, itk_ijk_to_ras

#: What is read as an image; everything else is tried as DICOM.
FILE_TYPES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
#: A file with more segments than this holds something else: a label for each voxel, or an organ segmentation.
MOST_SEGMENTS = 500
#: Labels up to this one are looked up in a list of as many.
LARGEST_LABEL = 65535


def as_segments(segmentation: Any, volume: Volume | None = None) -> list[Segment]:
    """The segments of whatever holds some.

    Parameters
    ----------
    segmentation : path, SimpleITK.Image, Volume or list of Segment
        A file (label map, ``.seg.nrrd``, DICOM SEG, RTSTRUCT) or an image of whole numbers in which 0 is background and
        every other value is a segment.
    volume : Volume, optional
        The CT; see ``read``.

    Raises
    ------
    NoduleRiskError
        If it is none of these, or holds no segment.
    """
    if isinstance(segmentation, str | os.PathLike):
        return read(os.fspath(segmentation), volume)
    if isinstance(segmentation, Volume):
        return _some(list(_of_labels(segmentation, {})), segmentation.name or "The segmentation")
    if is_image(segmentation):
        return _some(list(_of_image(segmentation, "The segmentation")), "The segmentation")
    if isinstance(segmentation, list | tuple) and all(isinstance(one, Segment) for one in segmentation):
        empty = [one.label for one in segmentation if not one.mask.array.any()]
        if empty:
            raise NoduleRiskError(f"{', '.join(empty)}: nothing is drawn there; draw a nodule or leave it out.")
        return _some(list(segmentation), "The list")
    raise NoduleRiskError(
        f"{type(segmentation).__name__} is not a segmentation: give {EXPECTED}, or an image of labels."
    )


def read(path: str | Path, volume: Volume | None = None, only: Sequence[str] = ()) -> list[Segment]:
    """The segments of a file, in the order of their labels.

    Parameters
    ----------
    path : path
    volume : Volume, optional
        The CT. What DICOM says to be another patient's, or in another frame of reference, is refused, and the contours
        of an RTSTRUCT are filled on the CT's slices.
    only : sequence of str, optional
        Labels of those that are meant.

    Raises
    ------
    NoduleRiskError
        If the file is missing, is no segmentation, holds no segment, or is not this CT's.
    """
    path = Path(path)
    if not path.is_file():
        raise NoduleRiskError(f"{path} does not exist or is not a file: check its name, or give {EXPECTED}.")
    if not path.name.lower().endswith(FILE_TYPES):
        return _some(read_dicom(path, volume, only), str(path))
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise NoduleRiskError(
            f"{path} cannot be read: copy it again, or save the segmentation as .seg.nrrd."
        ) from error
    found = _some(list(_of_image(image, str(path))), str(path))
    return [found[at] for at in chosen(str(path), [one.label for one in found], only)]


def _some(segments: list[Segment], name: str) -> list[Segment]:
    if not segments:
        raise NoduleRiskError(f"{name} holds no segment: draw at least one nodule and save it again.")
    return segments


def _of_image(image: Any, name: str) -> Iterator[Segment]:
    """The segments of a SimpleITK image: one per label, in each layer if Slicer wrote several."""
    import SimpleITK as sitk

    # A .seg.nrrd's layers are the components of its voxels.
    if image.GetDimension() != 3:
        raise NoduleRiskError(
            f"{name} has {image.GetDimension()} dimensions, not the 3 of a segmentation: give {EXPECTED}."
        )
    array = sitk.GetArrayFromImage(image)
    layers = np.moveaxis(array, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else array[None]
    ijk_to_ras, named = itk_ijk_to_ras(image), _slicer_names(image)
    for layer, labels in enumerate(layers):
        names = {value: label for (of_layer, value), label in named.items() if of_layer == layer}
        yield from _of_labels(Volume(labels, ijk_to_ras, name), names)


def _slicer_names(image: Any) -> dict[tuple[int, int], str]:
    """What Slicer calls the segments of a ``.seg.nrrd``, by layer and label value (its "Segment0_Name" and so on)."""
    keys = [key for key in image.GetMetaDataKeys() if re.fullmatch(r"Segment\d+_Name", key)]
    named = {}
    for key in keys:
        fields = {}
        for field, usual in (("Layer", "0"), ("LabelValue", "1")):
            other = key.replace("Name", field)
            fields[field] = image.GetMetaData(other) if image.HasMetaDataKey(other) else usual
        # What another program wrote there may be no number: then the name is nobody's.
        if all(re.fullmatch(r"\d+", text, re.ASCII) for text in fields.values()):
            named[int(fields["Layer"]), int(fields["LabelValue"])] = image.GetMetaData(key)
    return named


def _of_labels(labels: Volume, names: dict[int, str]) -> Iterator[Segment]:
    """One segment per value other than 0."""
    array, name = labels.array, labels.name or "The segmentation"
    if array.dtype.kind == "f" and np.array_equal(array, np.rint(array)):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise NoduleRiskError(f"{name} holds other values than whole numbers: give {EXPECTED}.")
    values = np.unique(array)
    if values[0] < 0 or len(values) > MOST_SEGMENTS:
        raise NoduleRiskError(
            f"{name} has {len(values):,} values from {values[0]} to {values[-1]}, and a segmentation has 0 and a few "
            "labels: was the CT itself given as its segmentation?"
        )
    # SciPy makes a list as long as the largest label, which may be any number.
    labelled, values = array, values[values > 0]
    if values.size and values[-1] > LARGEST_LABEL:
        labelled, inside = np.zeros(array.shape, np.int32), array > 0
        labelled[inside] = np.searchsorted(values, array[inside]) + 1
    there = [box for box in boxes(labelled.astype(np.int32)) if box]
    for value, box in zip(values.tolist(), there, strict=True):
        yield Segment(names.get(value, f"segment {value}"), in_box(array[box] == value, box, labels.ijk_to_ras))
