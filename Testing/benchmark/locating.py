"""Locating: from points to outlines, diameters and volumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.networks.segmentation import SegmentationUNet, segment

from .samples import chest, many_points, package
from .timing import Figure, Part, devices, in_turns, markdown, milliseconds

MANY = 100


def parts() -> Iterator[Part]:
    """One nodule and a hundred, on every device."""
    lines, figures = [], []
    for device in devices():
        segmentation_nets = package().networks(device).segmentation
        one = [seconds for point in chest()[1] for seconds in _times([point], segmentation_nets, device, seconds=2)]
        hundred = _times(many_points(MANY), segmentation_nets, device, seconds=0)
        lines.append([device.upper(), len(segmentation_nets), milliseconds(median(one)), milliseconds(median(hundred))])
        if device == "cpu":
            figures.append(Figure("locate one nodule, CPU", 1e3 * median(one), 60, "ms"))
    header = ["device", "networks", "one nodule (median over seven)", f"{MANY} points"]
    yield Part("Locate", markdown(header, lines), tuple(figures))


def _times(
    points: Sequence[Point], segmentation_nets: list[SegmentationUNet], device: str, seconds: float
) -> list[float]:
    volume, places = chest()[0], np.array([point.ras for point in points])
    return in_turns({"": lambda: segment(volume, places, segmentation_nets, device)}, seconds, least=1)[""]
