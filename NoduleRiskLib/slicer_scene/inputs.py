"""A scene's CT and points as the library takes them, and new nodes for both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import slicer
import slicer.util
import vtk

from ..errors import NoduleRiskError
from ..imaging.dicom_facts import OF_SLICE, DicomFacts, ImageReference, acquired, facts
from ..imaging.hounsfield import LUNG_WINDOW_HU
from ..imaging.points import Point
from ..imaging.volume import Array, Volume, checked_ct
from . import study
from .dicom_database import facts_of, header_text
from .placement import placement

#: A node of the MRML scene; Slicer has no type stubs.
Node: TypeAlias = Any
#: Attribute of a volume node: warnings about the volume, one sentence a line.
WARNINGS = "NoduleRisk.warnings"
#: Attribute of a volume node: the day of the scan as DICOM writes it, where no DICOM database knows the volume.
ACQUIRED = "NoduleRisk.acquisitionDate"


@dataclass(frozen=True, eq=False)
class Scan:
    """What a volume node held when it was read on the main thread; no voxel is copied.

    Attributes
    ----------
    voxels : ndarray, shape (K, J, I)
        The node's own memory, ``[k, j, i]``.
    ijk_to_ras : ndarray, shape (4, 4)
        Voxel centres (0-based) to world RAS mm, parent transforms included.
    name : str
    identity : dict
    warnings : tuple of str
        Warnings that came with the volume (``add_volume``), and about the places of its slices.
    acquired : date or None
        The day of the scan, if the node or Slicer's DICOM database knows it.
    dicom : DicomFacts or None
        What Slicer's DICOM database knows of it, if it came from there; image numbers are not among it.
    """

    voxels: Array
    ijk_to_ras: Array
    name: str
    identity: dict[str, str]
    warnings: tuple[str, ...] = ()
    acquired: date | None = None
    dicom: DicomFacts | None = None

    def read(self) -> Volume:
        """The CT for the library; may take a second, and may be called on any thread.

        Raises
        ------
        NoduleRiskError
            If the image cannot be a chest CT.
        """
        return checked_ct(self._volume)

    def copied(self) -> Scan:
        """The same with voxels of its own, which nothing that happens to the node changes."""
        return replace(self, voxels=self.voxels.copy())

    def contains(self, point: Point) -> bool:
        """Whether a point (RAS mm) lies inside the image."""
        return bool(self._volume.contains(np.array(point.ras)))

    @cached_property
    def _volume(self) -> Volume:
        return Volume(self.voxels, self.ijk_to_ras, self.name, self.identity, self.warnings, self.dicom, self.acquired)


@dataclass(frozen=True)
class Mark:
    """A placed point of a point list; ``id`` is its control point ID, which renaming and moving do not change."""

    id: str
    point: Point


def scan(node: Node) -> Scan:
    """What a volume node holds.

    Raises
    ------
    NoduleRiskError
        If the node has no scalar 3-D image, or its slices do not lie evenly; see ``placement``.
    """
    if node is None or node.IsA("vtkMRMLLabelMapVolumeNode") or not node.GetImageData():
        raise NoduleRiskError("There is no image in the chosen volume: choose a chest CT.")
    if node.GetImageData().GetNumberOfScalarComponents() != 1:
        raise NoduleRiskError(f"{node.GetName()} is a colour image: choose a chest CT.")
    ijk_to_ras, uneven = placement(node)
    identity = {"node": node.GetName()}
    if node.GetAttribute("DICOM.instanceUIDs"):
        identity["dicom_instance_uid"] = node.GetAttribute("DICOM.instanceUIDs").split()[0]
    warnings = (*(node.GetAttribute(WARNINGS) or "").splitlines(), *uneven)
    dicom = facts_of(node)
    if dicom and dicom.series_uid:
        identity["SeriesInstanceUID"] = dicom.series_uid
    day = acquired([node.GetAttribute(ACQUIRED) or ""]) or (dicom.acquired if dicom else None)
    return Scan(slicer.util.arrayFromVolume(node), ijk_to_ras, node.GetName(), identity, warnings, day, dicom)


def image_at(scan: Scan, ras: tuple[float, float, float]) -> ImageReference | None:
    """The DICOM image nearest to a place (RAS mm) and its number, which the DICOM database is asked for."""
    if scan.dicom is None:
        return None
    k = round(float(Volume(scan.voxels, scan.ijk_to_ras).to_ijk(np.array(ras))[2]))
    uid = scan.dicom.slice_at(k).sop_uid
    told = {keyword: header_text(uid, keyword) for keyword in OF_SLICE} if uid else {}
    return replace(scan.dicom, slices=facts({}, {k: told}).slices).image_at(k)


def marks(points_node: Node) -> list[Mark]:
    """The placed points of a list, world RAS mm, without one that the mouse still carries."""
    found = []
    for n in range(points_node.GetNumberOfControlPoints() if points_node else 0):
        if points_node.GetNthControlPointPositionStatus(n) == slicer.vtkMRMLMarkupsNode.PositionDefined:
            r, a, s = points_node.GetNthControlPointPositionWorld(n)
            label = points_node.GetNthControlPointLabel(n)
            found.append(Mark(points_node.GetNthControlPointID(n), Point(label, (r, a, s))))
    return found


def point_ids(points: Node) -> set[str]:
    """Control point IDs of a list, with that of a point that the mouse still carries."""
    return {points.GetNthControlPointID(n) for n in range(points.GetNumberOfControlPoints())}


def add_volume(volume: Volume, lung_window: bool = True) -> Node:
    """A volume as a new scalar volume node, shown in the lung window."""
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, volume.name)
    if volume.warnings:
        node.SetAttribute(WARNINGS, "\n".join(volume.warnings))
    if volume.acquired:
        node.SetAttribute(ACQUIRED, volume.acquired.strftime("%Y%m%d"))
    node.CreateDefaultDisplayNodes()
    if lung_window:
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevelMinMax(*LUNG_WINDOW_HU)
    return node


def add_points(name: str, points: list[Point], ct: Node = None) -> Node:
    """Points (world RAS mm) as a new point list node, in the study of their CT."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    # Results are named after their points, so "N-1" reads better than the list's name and a number.
    node.SetControlPointLabelFormat("N-%d")
    for point in points:
        node.AddControlPointWorld(vtk.vtkVector3d(*point.ras), point.label)
    if ct:
        study.put_beside(ct, node)
    return node
