"""The places of nodules in a DICOM structured report (TID 1500), ours or another tool's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .dicom_objects import is_in_frame, read_object, refuse_other_patient
from .points import Point
from .shown import shown
from .volume import Array, Volume, lps_ras

#: Concepts of DICOM's own coding scheme (DCM, PS3.16 TID 1411 and TID 1501).
GROUP, TRACKING_IDENTIFIER, TRACKING_UID = "125007", "112039", "112040"
#: Graphic types whose points are corners of one thing.
GRAPHICS = ("POINT", "MULTIPOINT", "POLYLINE", "POLYGON", "ELLIPSE", "ELLIPSOID", "CIRCLE")


@dataclass
class _Group:
    """One measurement group: what it is called, and where its parts lie (RAS mm, shape (3,))."""

    label: str = ""
    uid: str = ""
    places: list[Array] = field(default_factory=list)


def read(path: str | Path, volume: Volume) -> list[Point]:
    """The nodules that a structured report measures, each at the middle of what it marks in the CT.

    A measurement group's place is a 3-D coordinate in the CT's frame of reference, or one on an image of the CT's.
    Groups with neither (on another scan, or a segmentation alone) are left out.

    Parameters
    ----------
    path : path
        A TID 1500 report.
    volume : Volume
        The CT.

    Returns
    -------
    list of Point
        At least one; called by their tracking identifiers, or by their numbers.

    Raises
    ------
    NoduleRiskError
        If the file is no such report, is of another patient, or marks no place on this CT.
    """
    path = Path(path)
    dataset = read_object(path)
    modality = shown(dataset.get("Modality") or "unknown")
    if modality != "SR":
        raise NoduleRiskError(
            f"{path} is DICOM of modality {modality} and no structured report: give a TID 1500 report."
        )
    refuse_other_patient(str(path), dataset, volume)
    if "ContentSequence" not in dataset:
        # Every report has one (PS3.3 C.17.3); pydicom drops what has no end.
        raise NoduleRiskError(f"{path} holds no content: it is cut short or empty; copy it again, or export it again.")
    try:
        groups: list[_Group] = []
        elsewhere = _walk(dataset, None, groups, volume, _slices(volume))
    # What is damaged, or follows no standard, raises whatever its values happen to mean.
    except Exception as error:
        raise NoduleRiskError(
            f"{path} cannot be read as a structured report ({shown(error)}): export it again."
        ) from error
    found = [one for one in groups if one.places]
    if not found and elsewhere:
        raise NoduleRiskError(
            f"{path} marks places on another scan than this CT (another frame of reference): give the CT that was read."
        )
    if not found:
        raise NoduleRiskError(
            f"{path} marks no place in 3-D: give the segmentation that it refers to with --segmentation, or points."
        )
    return [_point(one, number) for number, one in enumerate(found, 1)]


def _point(group: _Group, number: int) -> Point:
    r, a, s = np.mean(group.places, axis=0).tolist()
    return Point(group.label or str(number), (r, a, s), group.uid)


def _slices(volume: Volume) -> dict[str, int]:
    """The CT's slices (k) by their SOPInstanceUID."""
    slices = (volume.dicom.slices if volume.dicom else None) or {}
    return {one.sop_uid: k for k, one in slices.items() if one.sop_uid}


def _walk(item: Any, group: _Group | None, groups: list[_Group], volume: Volume, slices: dict[str, int]) -> bool:
    """Collect the places below a content item; whether any was on another scan."""
    elsewhere = False
    for one in item.get("ContentSequence") or ():
        kind, concept = one.get("ValueType"), _concept(one)
        own = group
        if concept == GROUP and kind == "CONTAINER":
            own = _Group()
            groups.append(own)
        elif concept == TRACKING_IDENTIFIER and kind == "TEXT" and group is not None:
            group.label = shown(one.get("TextValue") or "").strip()
        elif concept == TRACKING_UID and kind == "UIDREF" and group is not None:
            group.uid = shown(one.get("UID") or "")
        elif kind in ("SCOORD3D", "SCOORD"):
            place = _in_patient(one, volume) if kind == "SCOORD3D" else _on_image(one, volume, slices)
            if place is None:
                elsewhere = True
            else:
                if own is None:
                    # Outside of every group each place is a nodule of its own.
                    own = _Group()
                    groups.append(own)
                own.places.append(place)
        elsewhere |= _walk(one, own, groups, volume, slices)
    return elsewhere


def _concept(item: Any) -> str:
    codes = item.get("ConceptNameCodeSequence") or ()
    return next((str(one.get("CodeValue") or "") for one in codes if one.get("CodingSchemeDesignator") == "DCM"), "")


def _in_patient(item: Any, volume: Volume) -> Array | None:
    """The middle of a 3-D coordinate (LPS mm), RAS mm; ``None`` in another frame of reference than the CT's."""
    if not is_in_frame(item.get("ReferencedFrameOfReferenceUID"), volume):
        return None
    return lps_ras(_middle(item, 3))


def _on_image(item: Any, volume: Volume, slices: dict[str, int]) -> Array | None:
    """The middle of a coordinate on one of the CT's images, RAS mm; ``None`` on another image."""
    for uid in _images(item):
        if uid in slices:
            # The corner of the first pixel is (0, 0), and its centre a half (PS3.3 C.18.6).
            column, row = _middle(item, 2) - 0.5
            return volume.to_ras(np.array([column, row, slices[uid]]))
    return None


def _images(item: Any) -> Iterator[str]:
    """SOPInstanceUIDs of the images on which a coordinate lies."""
    for below in item.get("ContentSequence") or ():
        for one in below.get("ReferencedSOPSequence") or ():
            yield str(one.get("ReferencedSOPInstanceUID") or "")


def _middle(item: Any, axes: int) -> Array:
    if item.get("GraphicType") not in GRAPHICS:
        raise ValueError(f"{shown(item.get('GraphicType'))} is no graphic type")
    corners = np.array(item.GraphicData, np.float64).reshape(-1, axes)
    if not len(corners) or not np.isfinite(corners).all():
        raise ValueError("a place is not in numbers")
    # A closed line ends where it began.
    closed = len(corners) > 1 and np.array_equal(corners[0], corners[-1])
    return np.asarray(corners[:-1].mean(0) if closed else corners.mean(0))
