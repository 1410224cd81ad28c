"""Outlines in DICOM objects: the segments of a SEG, and the regions of an RTSTRUCT filled on the CT's slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .dicom_objects import read_object, refuse_other_frame, refuse_other_patient
from .memory_limit import refuse_beyond_limit
from .outline import LARGEST_MM
from .polygons import filled
from .segment import Segment, boxes, chosen, in_box, listed
from .shown import shown
from .volume import LPS_TO_RAS, Array, Volume, lps_ras

#: ContourGeometricType of what encloses an area (PS3.3 C.8.8.6.1).
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
#: A contour's points may lie so far off its slice, and its slices so far off an even spacing, in slice distances.
OFF_PLANE = 0.25
#: No contour of a nodule has more points, and no nodule more contours.
MOST_POINTS = 20_000
EXPECTED = "a label map (NRRD, NIfTI, MetaImage), Slicer's .seg.nrrd, a DICOM SEG or an RTSTRUCT"


def read(path: Path, volume: Volume | None, only: Sequence[str]) -> list[Segment]:
    """The outlines of a DICOM SEG or RTSTRUCT, in its order; see ``segmentation_files.read``."""
    dataset = read_object(path)
    modality = shown(dataset.get("Modality") or "unknown")
    kind = KINDS.get(modality)
    if kind is None:
        raise NoduleRiskError(f"{path} is DICOM of modality {modality}, neither SEG nor RTSTRUCT: give {EXPECTED}.")
    refuse_other_patient(str(path), dataset, volume)
    try:
        return list(kind(path, dataset, volume, only))
    except NoduleRiskError:
        raise
    # What is damaged, or follows no standard, raises whatever its values happen to mean.
    except Exception as error:
        raise NoduleRiskError(
            f"{path} cannot be read as a DICOM {modality} ({shown(error)}): save it as .seg.nrrd."
        ) from error


def _of_segmentation(path: Path, dataset: Any, volume: Volume | None, only: Sequence[str]) -> Iterator[Segment]:
    """The segments of a SEG: binary, fractional or a label map."""
    try:
        import highdicom
    except ImportError as error:
        raise NoduleRiskError("Reading DICOM SEG needs highdicom: run python -m pip install highdicom.") from error
    refuse_other_frame(str(path), dataset.get("FrameOfReferenceUID"), volume)
    segmentation = highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
    geometry = segmentation.get_volume_geometry()
    if geometry is not None:
        # Two frames a kilometre apart would span a volume that no memory holds.
        refuse_beyond_limit(str(path), int(np.prod(geometry.spatial_shape, dtype=object)), 1)
    numbers = list(segmentation.segment_numbers)
    described = [segmentation.get_segment_description(number) for number in numbers]
    labels = [str(one.SegmentLabel) for one in described]
    for at in chosen(str(path), labels, only):
        found = segmentation.get_volume(segment_numbers=[numbers[at]], skip_overlap_checks=True)
        array = np.squeeze(found.array, -1) if found.array.ndim == 4 else found.array
        # highdicom's axes are k, j, i with an affine in LPS.
        to_lps = np.asarray(found.affine)[:, [2, 1, 0, 3]]
        inside = array > 0.5 * max(float(array.max()), 1)
        if inside.any():
            (box,) = boxes(inside.astype(np.uint8))
            tracked = str(described[at].get("TrackingUID") or "")
            yield Segment(labels[at], in_box(inside[box], box, LPS_TO_RAS @ to_lps), tracked)


def _of_structures(path: Path, dataset: Any, volume: Volume | None, only: Sequence[str]) -> Iterator[Segment]:
    """The regions of an RTSTRUCT that are closed contours."""
    if volume is None:
        raise NoduleRiskError(
            f"{path} holds contours, which have to be filled on the CT's slices: give the CT with it."
        )
    frames = {int(one.ROINumber): one.get("ReferencedFrameOfReferenceUID") for one in dataset.StructureSetROISequence}
    names = {int(one.ROINumber): str(one.get("ROIName") or "") for one in dataset.StructureSetROISequence}
    regions = [
        (names.get(int(one.ReferencedROINumber)) or f"region {int(one.ReferencedROINumber)}", one)
        for one in dataset.get("ROIContourSequence") or ()
    ]
    labels = [label for label, _ in regions]
    for at in chosen(str(path), labels, only):
        label, region = regions[at]
        refuse_other_frame(str(path), frames.get(int(region.ReferencedROINumber)), volume)
        sequence = region.get("ContourSequence") or ()
        contours = [
            lps_ras(np.array(one.ContourData, np.float64).reshape(-1, 3))
            for one in sequence
            if one.get("ContourGeometricType") in CLOSED
        ]
        if contours:
            mask = _filled(f"The region {shown(label)} of {path}", volume, contours, labels)
            if mask.array.any():
                yield Segment(label, mask)


def _filled(name: str, volume: Volume, contours: Sequence[Array], labels: Sequence[str]) -> Volume:
    """Closed contours (RAS mm, shape (N, 3)) as a mask on the CT's pixels and on the slices on which they were drawn.

    Where several lie on one slice, what is inside an odd number of them counts: one within another is a hole.
    """
    if max(len(contours), *(len(one) for one in contours)) > MOST_POINTS:
        raise NoduleRiskError(
            f"{name} has more points than any nodule: choose regions of single nodules, of {listed(labels)}."
        )
    if not all(len(one) >= 3 and np.isfinite(one).all() for one in contours):
        raise NoduleRiskError(f"{name} has a contour without three points in mm: draw it again.")
    placed = [volume.to_ijk(one) for one in contours]
    if max(float(np.ptp(one[:, 2])) for one in placed) > OFF_PLANE:
        raise NoduleRiskError(f"{name} was not drawn on this CT's slices but across them: save it as .seg.nrrd.")
    corners = np.concatenate(placed)
    low, high = np.floor(corners.min(0)).astype(int) - 1, np.ceil(corners.max(0)).astype(int) + 1
    size_mm = float(((high - low - 2) * volume.spacing_mm).max())
    if size_mm > LARGEST_MM:
        raise NoduleRiskError(
            f"{name} is {size_mm:.0f} mm wide, and nodules are up to {LARGEST_MM:.0f}: choose single nodules "
            f"(on the command line with --segment NAME), of {listed(labels)}."
        )
    step, planes = _planes(name, [float(one[:, 2].mean()) for one in placed])
    array = np.zeros((max(planes) + 1, *(high - low + 1)[1::-1]), bool)
    for plane, one in zip(planes, placed, strict=True):
        array[plane] ^= filled(one[:, :2] - low[:2], *array.shape[1:])
    own = np.diag((1.0, 1.0, step, 1.0))
    own[:3, 3] = (*low[:2], min(float(one[:, 2].mean()) for one in placed))
    return Volume(array.astype(np.uint8), volume.ijk_to_ras @ own)


def _planes(name: str, slices: Sequence[float]) -> tuple[float, list[int]]:
    """The distance between the slices with contours, in the CT's own, and for each contour which of them it is on."""
    at = np.array(slices) - min(slices)
    gaps = np.diff(np.unique(at))
    step = float(min(gaps[gaps > OFF_PLANE], default=1.0))
    planes = np.rint(at / step)
    if np.abs(at / step - planes).max() > OFF_PLANE:
        raise NoduleRiskError(f"{name} was drawn on slices that do not lie evenly: save it as .seg.nrrd.")
    return step, planes.astype(int).tolist()


KINDS: dict[str, Callable[[Path, Any, Volume | None, Sequence[str]], Iterator[Segment]]] = {
    "SEG": _of_segmentation,
    "RTSTRUCT": _of_structures,
}
