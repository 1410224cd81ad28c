"""What callers may hand in for a CT and for points, made into volumes and points."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from .dicom_objects import is_dicom
from .points import Point
from .simpleitk_images import is_image, to_volume
from .volume import Volume, checked_ct


def as_ct(ct: Any) -> Volume:
    """A chest CT from whatever holds one.

    Parameters
    ----------
    ct : path, SimpleITK.Image or Volume
        A DICOM folder or an image file, an image in HU, or a volume, which is taken as it is.

    Raises
    ------
    NoduleRiskError
        If it is none of these, or what it holds is no chest CT in HU.
    """
    if isinstance(ct, Volume):
        return ct
    if isinstance(ct, str | os.PathLike):
        from .reading import read

        return read(os.fspath(ct))
    volume = to_volume(ct)
    return checked_ct(volume) if is_image(ct) else volume


def as_points(points: Any, volume: Volume | None = None) -> list[Point]:
    """Points from whatever holds some.

    Parameters
    ----------
    points : iterable of Point or of (r, a, s), or path
        RAS mm; a path is a file as ``points.read`` reads it, or a DICOM structured report (``report_points.read``).
        Points without a name are called by their number, from 1.
    volume : Volume, optional
        The CT, which a structured report needs.

    Raises
    ------
    NoduleRiskError
        If one of them is not three finite numbers.

    Examples
    --------
    >>> as_points([(-56.2, -86.2, -115)])
    [Point(label='1', ras=(-56.2, -86.2, -115.0))]
    """
    if isinstance(points, str | os.PathLike):
        from . import points as point_files
        from . import report_points

        if not is_dicom(points):
            return point_files.read(os.fspath(points))
        if volume is None:
            raise NoduleRiskError(f"{os.fspath(points)} is a DICOM report, whose places need its CT: give it, too.")
        return report_points.read(os.fspath(points), volume)
    if isinstance(points, Point) or not isinstance(points, Iterable):
        raise NoduleRiskError("Points come as a list, one per nodule: [(r, a, s), ...] in RAS millimetres.")
    return [_point(one, number) for number, one in enumerate(points, 1)]


def _point(value: Any, number: int) -> Point:
    label, tracking_uid = str(number), ""
    if isinstance(value, Point):
        label, tracking_uid, value = value.label, value.tracking_uid, value.ras
    try:
        place = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        place = np.empty(0)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise NoduleRiskError(
            f"Point {label} is not a position: give three finite numbers, R, A and S in millimetres, not {value!r:.80}."
        )
    r, a, s = place.tolist()
    return Point(label, (r, a, s), tracking_uid)
