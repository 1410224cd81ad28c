"""MRML in, MRML out: what a scene holds of CTs, points, results and overlays. The one file here that imports slicer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
import vtk

from ..errors import NoduleRiskError
from ..imaging.points import Point
from ..imaging.volume import Array, Volume, checked_ct
from ..results.grade_card import Row

if TYPE_CHECKING:
    from ..results.assessment import Assessment
    from ..results.serialization import Record

#: Node reference roles (no character that MRML's "role:id;" lists use) and attributes of our nodes.
CT_ROLE, POINTS_ROLE, MAPS_ROLE, HEATMAP_ROLE = (
    "noduleRiskCT",
    "noduleRiskPoints",
    "noduleRiskMaps",
    "noduleRiskHeatmap",
)
USERS_ROLE = "noduleRiskForeground"
RESULTS, POINT_ID, RECORD, SHOWN, WARNINGS = (
    f"NoduleRisk.{name}" for name in ("results", "point", "record", "shown", "warnings")
)
#: The overlay's colours from 0 to 1: share, red, green, blue, opacity. Violet to yellow, brighter step by step, so that
#: order survives colour blindness and grey printing; nothing of the CT's greys among them.
HEAT = (
    (0.0, 0.16, 0.04, 0.35, 0.0),
    (0.2, 0.42, 0.05, 0.43, 0.55),
    (0.45, 0.73, 0.21, 0.33, 0.8),
    (0.7, 0.95, 0.45, 0.10, 0.95),
    (1.0, 0.99, 0.95, 0.45, 1.0),
)
OUTLINE_RGB = (0.18, 0.88, 0.82)


@dataclass(frozen=True, eq=False)
class Scan:
    """What a volume node held when it was looked at; not a voxel was copied.

    Attributes
    ----------
    voxels : ndarray, shape (K, J, I)
        The node's own memory, ``[k, j, i]``.
    ijk_to_ras : ndarray, shape (4, 4)
        Voxel centres (0-based) to world RAS mm, parent transforms included.
    name : str
    identity : dict
    warnings : tuple of str
        What ``add_volume`` was told of the volume.
    """

    voxels: Array
    ijk_to_ras: Array
    name: str
    identity: dict[str, str]
    warnings: tuple[str, ...] = ()

    def read(self) -> Volume:
        """The CT for the library; may take a second, and may be called on any thread.

        Raises
        ------
        NoduleRiskError
            If the image cannot be a chest CT.
        """
        return checked_ct(Volume(self.voxels, self.ijk_to_ras, self.name, self.identity, self.warnings))

    def contains(self, point: Point) -> bool:
        """Whether a point (RAS mm) lies on the image."""
        return bool(Volume(self.voxels, self.ijk_to_ras).contains(np.array(point.ras)))


@dataclass(frozen=True)
class Mark:
    """A point of a point list, known by its control point ID whatever its name and place become."""

    id: str
    point: Point


def scan(node: Any) -> Scan:
    """What a volume node holds.

    Raises
    ------
    NoduleRiskError
        If the node has no scalar 3-D image, or lies under a transform that bends it.
    """
    if node is None or node.IsA("vtkMRMLLabelMapVolumeNode") or not node.GetImageData():
        raise NoduleRiskError("There is no image in the chosen volume: choose a chest CT.")
    if node.GetImageData().GetNumberOfScalarComponents() != 1:
        raise NoduleRiskError(f"{node.GetName()} holds colours: choose a chest CT.")
    to_world = vtk.vtkMatrix4x4()
    parent = node.GetParentTransformNode()
    if parent and not parent.IsTransformToWorldLinear():
        raise NoduleRiskError(f"{node.GetName()} lies under a transform that bends it: harden that transform first.")
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, None, to_world)
    to_ras = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(to_ras)
    ijk_to_ras = slicer.util.arrayFromVTKMatrix(to_world) @ slicer.util.arrayFromVTKMatrix(to_ras)
    identity = {"node": node.GetName()}
    if node.GetAttribute("DICOM.instanceUIDs"):
        identity["dicom_instance_uid"] = node.GetAttribute("DICOM.instanceUIDs").split()[0]
    warnings = tuple((node.GetAttribute(WARNINGS) or "").splitlines())
    return Scan(slicer.util.arrayFromVolume(node), ijk_to_ras, node.GetName(), identity, warnings)


def marks(points_node: Any) -> list[Mark]:
    """The placed points of a list, world RAS mm; one that is still carried by the mouse is none yet."""
    found = []
    for n in range(points_node.GetNumberOfControlPoints() if points_node else 0):
        if points_node.GetNthControlPointPositionStatus(n) == slicer.vtkMRMLMarkupsNode.PositionDefined:
            r, a, s = points_node.GetNthControlPointPositionWorld(n)
            label = points_node.GetNthControlPointLabel(n)
            found.append(Mark(points_node.GetNthControlPointID(n), Point(label, (r, a, s))))
    return found


def results(ct: Any, points_node: Any) -> Any:
    """The table node with the results of this list on this CT, or ``None``."""
    for table in slicer.util.getNodesByClass("vtkMRMLTableNode"):
        if table.GetAttribute(RESULTS) and _refers(table, CT_ROLE, ct) and _refers(table, POINTS_ROLE, points_node):
            return table
    return None


def store(ct: Any, points_node: Any, mark: Mark, assessment: Assessment, record: Record, digest: str) -> None:
    """Put an assessment into the scene: a row of the results table, and a sequence node with the nodule's maps.

    Parameters
    ----------
    ct, points_node : nodes
    mark : Mark
        The point as it was assessed.
    assessment : Assessment
    record : Record
        ``record.pack(assessment)``.
    digest : str
        ``Volume.digest`` of what was assessed.
    """
    table = results(ct, points_node) or _new_table(ct, points_node)
    with slicer.util.NodeModify(table):
        row = _find(table, mark.id)
        if row is None:
            row = table.AddEmptyRow()
        columns = table.GetTable()
        columns.GetColumnByName("control_point_id").SetValue(row, mark.id)
        columns.GetColumnByName("ct_digest").SetValue(row, digest)
        for name, value in _cells(assessment):
            columns.GetColumnByName(name).SetValue(row, value)
        columns.Modified()
        _drop_maps(table, mark.id)
        if record.maps:
            table.AddNodeReferenceID(MAPS_ROLE, _new_maps(table, mark, record).GetID())


def rows(table: Any) -> dict[str, Row]:
    """What a results table says, by control point ID."""
    found: dict[str, Row] = {}
    for row in range(table.GetNumberOfRows() if table else 0):
        number, text = _reader(table, row)
        found[text("control_point_id")] = Row(
            text("label"),
            (number("r"), number("a"), number("s")),
            text("ct_digest"),
            text("nodule_found") == "yes",
            number("malignancy"),
            number("suspicion_probability"),
            number("outline_diameter_mm"),
            number("outline_volume_mm3"),
            text("warnings"),
            text("model_id"),
        )
    return found


def assessment(table: Any, point_id: str, volume: Volume | None = None) -> Assessment | None:
    """The assessment that the scene holds for a point; ``None`` if there is none.

    With the CT's ``volume``, the graded slices have their pixels again. The label is the one it was assessed under.
    """
    from ..results.assessment import Assessment
    from ..results.serialization import unpack

    found = kept(table, point_id)
    if found:
        return unpack(*found, volume)
    row = _find(table, point_id) if table else None
    if row is None:
        return None
    number, text = _reader(table, row)
    place = (number("r"), number("a"), number("s"))
    warnings = tuple(f"{sentence.strip()}." for sentence in text("warnings").split(". ") if sentence.strip(" ."))
    return Assessment(text("label"), place, None, warnings=warnings, model_id=text("model_id"))


def kept(table: Any, point_id: str) -> tuple[str, dict[str, Volume]] | None:
    """What ``record.unpack`` makes a point's assessment of, on any thread; ``None`` where no nodule was found."""
    maps = maps_of(table, point_id)
    if maps is None or not maps.GetNumberOfDataNodes():
        return None
    items = [maps.GetNthIndexValue(n) for n in range(maps.GetNumberOfDataNodes())]
    return maps.GetAttribute(RECORD), {item: _map(maps, item) for item in items}


def forget(table: Any, keep: set[str]) -> None:
    """Drop the results of points that are gone: all but those whose control point IDs are in ``keep``."""
    for row in reversed(range(table.GetNumberOfRows())):
        point_id = table.GetTable().GetValueByName(row, "control_point_id").ToString()
        if point_id not in keep:
            table.RemoveRow(row)
            _drop_maps(table, point_id)


def rename(table: Any, mark: Mark) -> None:
    """Let a point's row have the point's name."""
    row = _find(table, mark.id)
    if row is not None:
        table.GetTable().GetColumnByName("label").SetValue(row, mark.point.label)
        table.GetTable().Modified()
        table.Modified()


def maps_of(table: Any, point_id: str) -> Any:
    """The sequence node with a point's maps (item values: grades' names and "outline"), or ``None``."""
    for n in range(table.GetNumberOfNodeReferences(MAPS_ROLE) if table else 0):
        maps = table.GetNthNodeReference(MAPS_ROLE, n)
        if maps and maps.GetAttribute(POINT_ID) == point_id:
            return maps
    return None


def show_heatmap(ct: Any, table: Any, point_id: str, grade: str, opacity: float, threshold: float) -> Any:
    """Lay a nodule's heatmap of one grade over the CT, in all slice views; returns its volume node, or ``None``.

    There is one such node a CT. What was in the foreground before is kept with it, for ``hide_heatmap``.
    """
    maps = maps_of(table, point_id)
    source = maps.GetDataNodeAtValue(grade) if maps is not None else None
    if source is None:
        hide_heatmap(ct)
        return None
    node = ct.GetNodeReference(HEATMAP_ROLE) or _new_heatmap(ct)
    shown = f"{maps.GetID()} {grade} {maps.GetMTime()}"
    if node.GetAttribute(SHOWN) != shown:
        matrix = vtk.vtkMatrix4x4()
        source.GetIJKToRASMatrix(matrix)
        with slicer.util.NodeModify(node):
            node.SetIJKToRASMatrix(matrix)
            node.SetAndObserveImageData(source.GetImageData())
            node.SetName(f"Heatmap: {grade} of {maps.GetName().removeprefix('Maps of ')}")
            node.SetAttribute(SHOWN, shown)
    display = node.GetDisplayNode()
    with slicer.util.NodeModify(display):
        display.SetAndObserveColorNodeID(_colours().GetID())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0.0, 1.0)
        display.SetThreshold(threshold, 1.0)
        display.SetApplyThreshold(True)
        display.SetInterpolate(True)
    for composite in _composites():
        if composite.GetForegroundVolumeID() != node.GetID():
            role = USERS_ROLE + (composite.GetLayoutName() or "")
            node.SetNodeReferenceID(role, composite.GetForegroundVolumeID())
            node.SetAttribute(f"NoduleRisk.{role}", str(composite.GetForegroundOpacity()))
            composite.SetForegroundVolumeID(node.GetID())
        composite.SetForegroundOpacity(opacity)
    _show_legend(node, grade)
    return node


def hide_heatmap(ct: Any) -> None:
    """Take a CT's heatmap out of the slice views; the user's own foreground comes back."""
    node = ct.GetNodeReference(HEATMAP_ROLE) if ct else None
    if node is None:
        return
    for composite in _composites():
        if composite.GetForegroundVolumeID() == node.GetID():
            role = USERS_ROLE + (composite.GetLayoutName() or "")
            composite.SetForegroundVolumeID(node.GetNodeReferenceID(role))
            composite.SetForegroundOpacity(float(node.GetAttribute(f"NoduleRisk.{role}") or 0))
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend:
        legend.SetVisibility(False)


def show_outline(ct: Any, table: Any, point_id: str, name: str = "", keep: bool = False) -> Any:
    """Show a nodule's outline as a segment; returns the segmentation node, or ``None`` without a nodule.

    Parameters
    ----------
    ct, table : nodes
    point_id : str
    name : str
        The segment's name.
    keep : bool
        ``False``: the one segment of the CT's "shown outline" node, replaced by the next. ``True``: added to the
        CT's "nodules" segmentation, which is the user's from then on.
    """
    outline = _outline(table, point_id)
    role = HEATMAP_ROLE + ("Nodules" if keep else "Outline")
    node = ct.GetNodeReference(role)
    if outline is None:
        if node and not keep:
            node.SetDisplayVisibility(False)
        return None
    if node is None:
        title = f"Nodules on {ct.GetName()}" if keep else f"Outline of the chosen nodule on {ct.GetName()}"
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", title)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
        node.GetDisplayNode().SetOpacity2DFill(0.0 if not keep else 0.3)
        ct.SetNodeReferenceID(role, node.GetID())
    segmentation = node.GetSegmentation()
    segment_id = point_id if keep else "outline"
    if segmentation.GetSegment(segment_id):
        segmentation.RemoveSegment(segment_id)
    segment = slicer.vtkSegment()
    segment.SetName(name or "nodule")
    segment.SetColor(*OUTLINE_RGB)
    segment.AddRepresentation(_binary_labelmap(), outline)
    segmentation.AddSegment(segment, segment_id)
    node.SetDisplayVisibility(True)
    return node


def hide_outline(ct: Any) -> None:
    """Take the chosen nodule's outline out of the views."""
    node = ct.GetNodeReference(f"{HEATMAP_ROLE}Outline") if ct else None
    if node:
        node.SetDisplayVisibility(False)


def jump(point_ras: tuple[float, float, float]) -> None:
    """Bring a place (world RAS mm) to the middle of all slice views."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(
        slicer.mrmlScene, *point_ras, slicer.vtkMRMLSliceNode.CenteredJumpSlice, -1, None
    )


def add_volume(volume: Volume, lung_window: bool = True) -> Any:
    """A volume as a new scalar volume node, shown in the lung window."""
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, volume.name)
    if volume.warnings:
        node.SetAttribute(WARNINGS, "\n".join(volume.warnings))
    node.CreateDefaultDisplayNodes()
    if lung_window:
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(1500, -600)
    return node


def add_points(name: str, points: list[Point]) -> Any:
    """Points (world RAS mm) as a new point list node."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    node.CreateDefaultDisplayNodes()
    # Results are named after their points, so "N-1" reads better than the list's name and a number.
    node.SetControlPointLabelFormat("N-%d")
    for point in points:
        node.AddControlPointWorld(vtk.vtkVector3d(*point.ras), point.label)
    return node


def heat_rgb(share: float) -> tuple[int, int, int]:
    """The overlay's colour (0 to 255 each) for a share of 0 to 1, without its opacity."""
    at = [step[0] for step in HEAT]
    red, green, blue = (round(255 * float(np.interp(share, at, [step[c] for step in HEAT]))) for c in (1, 2, 3))
    return red, green, blue


def _refers(table: Any, role: str, node: Any) -> bool:
    return node is not None and table.GetNodeReferenceID(role) == node.GetID()


def _new_table(ct: Any, points_node: Any) -> Any:
    from ..results.tables import COLUMNS

    name = f"Grades of {points_node.GetName()} on {ct.GetName()}"
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    table.SetAttribute(RESULTS, "1")
    table.SetNodeReferenceID(CT_ROLE, ct.GetID())
    table.SetNodeReferenceID(POINTS_ROLE, points_node.GetID())
    with slicer.util.NodeModify(table):
        for column in COLUMNS:
            _add_column(table, column.name, column.meaning)
        _add_column(table, "control_point_id", "the point's ID in its list")
        _add_column(table, "ct_digest", "SHA-256 of the CT that was assessed")
    return table


def _add_column(table: Any, name: str, meaning: str) -> None:
    array = vtk.vtkStringArray() if _is_text(name) else vtk.vtkDoubleArray()
    array.SetName(name)
    table.AddColumn(array)
    table.SetColumnType(name, array.GetDataType())
    table.SetColumnDescription(name, meaning)


def _is_text(name: str) -> bool:
    return name.endswith(("_word", "_pattern", "_id", "_found", "_digest")) or name in ("label", "warnings")


def _cells(assessment: Assessment) -> Iterator[tuple[str, str | float]]:
    """Column and value; what a missing nodule has no value for is empty or NaN."""
    from ..results.tables import COLUMNS

    for column in COLUMNS:
        if assessment.outline or column.always:
            yield column.name, column.value(assessment)
        else:
            yield column.name, "" if _is_text(column.name) else math.nan


def _reader(table: Any, row: int) -> Any:
    """Two functions of a column's name: its number, and its text, in a row. What is not there is NaN or empty."""
    columns = table.GetTable()

    def cell(name: str) -> Any:
        return columns.GetValueByName(row, name) if columns.GetColumnByName(name) else None

    def number(name: str) -> float:
        value = cell(name)
        try:
            return float(value.ToString()) if value is not None and value.IsString() else float(value.ToDouble())
        except (ValueError, AttributeError):
            return math.nan

    def text(name: str) -> str:
        value = cell(name)
        return str(value.ToString()) if value is not None else ""

    return number, text


def _find(table: Any, point_id: str) -> int | None:
    for row in range(table.GetNumberOfRows()):
        if table.GetTable().GetValueByName(row, "control_point_id").ToString() == point_id:
            return row
    return None


def _new_maps(table: Any, mark: Mark, record: Record) -> Any:
    maps = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", f"Maps of {mark.point.label}")
    maps.SetIndexType(slicer.vtkMRMLSequenceNode.TextIndex)
    maps.SetIndexName("grade")
    maps.SetIndexUnit("")
    maps.SetAttribute(POINT_ID, mark.id)
    maps.SetAttribute(RECORD, record.text)
    for name, volume in record.maps.items():
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(name)
        slicer.util.updateVolumeFromArray(node, volume.array)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.ijk_to_ras))
        maps.SetDataNodeAtValue(node, name)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    items = [hierarchy.GetItemByDataNode(node) for node in (maps, table)] if hierarchy else []
    if items and hierarchy.GetInvalidItemID() not in items:
        # A hundred nodules are one line in the Data module.
        hierarchy.SetItemParent(*items)
    return maps


def _drop_maps(table: Any, point_id: str) -> None:
    maps = maps_of(table, point_id)
    if maps is not None:
        # The reference goes with its node.
        slicer.mrmlScene.RemoveNode(maps)


def _map(maps: Any, item: str) -> Volume:
    node = maps.GetDataNodeAtValue(item)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return Volume(slicer.util.arrayFromVolume(node), slicer.util.arrayFromVTKMatrix(matrix), name=item)


def _new_heatmap(ct: Any) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Heatmap")
    node.CreateDefaultDisplayNodes()
    node.SetNodeReferenceID(CT_ROLE, ct.GetID())
    ct.SetNodeReferenceID(HEATMAP_ROLE, node.GetID())
    return node


def _colours() -> Any:
    """The overlay's colour table: one a scene, made anew where a scene was saved without its colours."""
    node = slicer.mrmlScene.GetSingletonNode("NoduleRiskHeat", "vtkMRMLColorTableNode")
    if node is None:
        node = slicer.vtkMRMLColorTableNode()
        node.SetSingletonTag("NoduleRiskHeat")
        node.SetName("NoduleRisk heat")
        node.SetTypeToUser()
        node = slicer.mrmlScene.AddNode(node)
    rgba = [0.0] * 4
    if node.GetNumberOfColors() != 256 or not node.GetColor(255, rgba) or rgba[0] < 0.9:
        node.SetTypeToUser()
        node.SetNumberOfColors(256)
        at = [step[0] for step in HEAT]
        for n in range(256):
            share = n / 255
            node.SetColor(n, f"{share:.2f}", *(float(np.interp(share, at, [s[c] for s in HEAT])) for c in (1, 2, 3, 4)))
    return node


def _composites() -> list[Any]:
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def _show_legend(heatmap: Any, grade: str) -> None:
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(heatmap)
    legend = legend or slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(heatmap)
    if legend is None:
        return
    with slicer.util.NodeModify(legend):
        legend.SetTitleText(grade)
        legend.SetNumberOfLabels(3)
        legend.SetUseColorNamesForLabels(False)
        legend.SetSize(0.1, 0.3)
        legend.GetTitleTextProperty().SetFontSize(15)
        legend.GetLabelTextProperty().SetFontSize(13)
        legend.SetVisibility(True)
        # A view looks at whether the heatmap is its foreground only when the legend itself is modified.
        legend.Modified()


def _outline(table: Any, point_id: str) -> Any:
    """A nodule's outline as vtkOrientedImageData of 0 and 1, or ``None``."""
    maps = maps_of(table, point_id)
    source = maps.GetDataNodeAtValue("outline") if maps is not None else None
    if source is None:
        return None
    inside = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(inside, (slicer.util.arrayFromVolume(source) > 0.5).astype(np.uint8))
    labelmap = slicer.vtkOrientedImageData()
    labelmap.DeepCopy(inside.GetImageData())
    matrix = vtk.vtkMatrix4x4()
    source.GetIJKToRASMatrix(matrix)
    labelmap.SetImageToWorldMatrix(matrix)
    return labelmap


def _binary_labelmap() -> str:
    return str(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())
