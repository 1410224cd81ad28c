"""Which outline of the user's belongs to which point."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .dicom_objects import modality
from .dicom_outlines import KINDS as DICOM_OUTLINES
from .image_file import FILE_TYPES
from .outline import INSIDE, Outline, users_outline
from .points import Point
from .resampling import sample
from .segment import Segment
from .simpleitk_images import is_image
from .volume import Volume


@dataclass(frozen=True, eq=False)
class Marked:
    """A point, and the outline that the user drew there, if any: measured, and as it was drawn."""

    point: Point
    outline: Outline | None = None
    drawn: Volume | None = None


def is_segmentation(given: Any) -> bool:
    """Whether what stands where points may stand is a segmentation instead."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given).lower().endswith(FILE_TYPES) or modality(given) in DICOM_OUTLINES
    if isinstance(given, list | tuple):
        return bool(given) and all(isinstance(one, Segment) for one in given)
    return isinstance(given, Volume) or is_image(given)


def matched(volume: Volume, points: Sequence[Point], segments: Sequence[Segment], reach_mm: float) -> list[Marked]:
    """Each point with the segment in or near which it lies, then the segments without a point, each with one.

    Parameters
    ----------
    volume : Volume
        The CT.
    points : sequence of Point
    segments : sequence of Segment
    reach_mm : float
        So far beside a segment a point may lie.

    Raises
    ------
    NoduleRiskError
        If a segment cannot be measured on the CT.
    """
    outlines: dict[int, Outline] = {}
    marked = []
    for point in points:
        own = _nearest(point, segments, reach_mm)
        if own is not None and own not in outlines:
            outlines[own] = _users(volume, segments[own])
        if own is None:
            marked.append(Marked(point))
            continue
        known = replace(point, tracking_uid=point.tracking_uid or segments[own].tracking_uid)
        marked.append(Marked(known, outlines[own], segments[own].mask))
    for number, one in enumerate(segments):
        if number not in outlines:
            outline = _users(volume, one)
            r, a, s = outline.centre_ras.tolist()
            marked.append(Marked(Point(one.label, (r, a, s), one.tracking_uid), outline, one.mask))
    return marked


def _nearest(point: Point, segments: Sequence[Segment], reach_mm: float) -> int | None:
    """Which segment a point lies in or near; of several that it lies in, the one whose middle is nearest."""
    near = []
    for number, one in enumerate(segments):
        voxels_ras = one.mask.to_ras(np.argwhere(one.mask.array)[:, ::-1])
        distance_mm = float(np.linalg.norm(voxels_ras - np.array(point.ras), axis=1).min())
        if distance_mm <= reach_mm:
            inside = float(sample(one.mask, np.array([point.ras]), outside=0.0)[0]) > INSIDE
            middle_mm = float(np.linalg.norm(voxels_ras.mean(0) - np.array(point.ras)))
            near.append((0.0 if inside else distance_mm, middle_mm, number))
    return min(near)[2] if near else None


def _users(volume: Volume, segment: Segment) -> Outline:
    try:
        outline = users_outline(volume, segment.mask)
    except NoduleRiskError as error:
        raise NoduleRiskError(f"{segment.label}: {error}") from error
    if outline is None:
        raise NoduleRiskError(
            f"{segment.label} is too small to be measured, or lies between the CT's slices: draw the nodule on one of "
            "them or more."
        )
    return outline
