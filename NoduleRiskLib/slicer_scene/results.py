"""What a scene keeps of assessments: a table with a row for each point, and a sequence with each nodule's maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer
import slicer.util
import vtk

from ..imaging.volume import Volume
from .inputs import Mark, Node

if TYPE_CHECKING:
    from ..results.assessment import Assessment
    from ..results.serialization import Record

#: Node reference roles (no character that MRML's "role:id;" lists use) and attributes of our nodes.
CT_ROLE, POINTS_ROLE, MAPS_ROLE = "noduleRiskCT", "noduleRiskPoints", "noduleRiskMaps"
RESULTS, POINT_ID, RECORD = (f"NoduleRisk.{name}" for name in ("results", "point", "record"))
#: A point that moved less than this still marks the same place: tables are saved in six digits.
MOVED_MM = 0.01


@dataclass(frozen=True)
class Row:
    """An assessment as one row of the results table.

    Attributes
    ----------
    label : str
    ras : tuple of float
        Where the point was when it was assessed, RAS mm.
    digest : str
        ``Volume.digest`` of the CT that was assessed.
    found : bool
        Whether a nodule was outlined; if not, the numbers are NaN.
    malignancy, suspicion_probability, diameter_mm, volume_mm3 : float
    warnings : str
    model_id : str
    """

    label: str
    ras: tuple[float, float, float]
    digest: str
    found: bool
    malignancy: float
    suspicion_probability: float
    diameter_mm: float
    volume_mm3: float
    warnings: str
    model_id: str

    def fits(self, ras: tuple[float, float, float], digest: str | None) -> bool:
        """Whether it still holds for a point (RAS mm) and a CT (``None``: not known yet, so not known to differ)."""
        return math.dist(self.ras, ras) < MOVED_MM and digest in (None, self.digest)


def table_of(ct: Node, points: Node) -> Node:
    """The table node with the results of this point list on this CT, or ``None``."""
    for table in slicer.util.getNodesByClass("vtkMRMLTableNode"):
        if table.GetAttribute(RESULTS) and _refers(table, CT_ROLE, ct) and _refers(table, POINTS_ROLE, points):
            return table
    return None


def maps_of(table: Node, point_id: str) -> Node:
    """The sequence node with a point's maps (item values: grades' names and "outline"), or ``None``."""
    for n in range(table.GetNumberOfNodeReferences(MAPS_ROLE) if table else 0):
        maps = table.GetNthNodeReference(MAPS_ROLE, n)
        if maps and maps.GetAttribute(POINT_ID) == point_id:
            return maps
    return None


def rows(table: Node) -> dict[str, Row]:
    """The rows of a results table by control point ID."""
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


def assessment(table: Node, point_id: str, volume: Volume | None = None) -> Assessment | None:
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
    # The column has them as prose, which nobody can split again: a label may be "Nr. 3".
    warnings = (text("warnings"),) if text("warnings") else ()
    return Assessment(text("label"), place, None, warnings=warnings, model_id=text("model_id"))


def kept(table: Node, point_id: str) -> tuple[str, dict[str, Volume]] | None:
    """The arguments of ``serialization.unpack``, for use on any thread; ``None`` where nothing was outlined."""
    maps = maps_of(table, point_id)
    if maps is None or not maps.GetNumberOfDataNodes():
        return None
    items = [maps.GetNthIndexValue(n) for n in range(maps.GetNumberOfDataNodes())]
    return maps.GetAttribute(RECORD), {item: _map(maps, item) for item in items}


def store(ct: Node, points: Node, mark: Mark, assessment: Assessment, record: Record, digest: str) -> None:
    """Put an assessment into the scene: a row of the results table, and a sequence node with the nodule's maps.

    Parameters
    ----------
    ct, points : nodes
    mark : Mark
        The point as it was assessed.
    assessment : Assessment
    record : Record
        ``serialization.pack(assessment)``.
    digest : str
        ``Volume.digest`` of the CT that was assessed.
    """
    table = table_of(ct, points) or _new_table(ct, points)
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


def forget(table: Node, keep: set[str]) -> None:
    """Drop the results of all points but those whose control point IDs are in ``keep``."""
    for row in reversed(range(table.GetNumberOfRows())):
        point_id = table.GetTable().GetValueByName(row, "control_point_id").ToString()
        if point_id not in keep:
            table.RemoveRow(row)
            _drop_maps(table, point_id)


def forget_removed_points() -> None:
    """Drop the results of all points that are in no list any more."""
    for table in slicer.util.getNodesByClass("vtkMRMLTableNode"):
        points = table.GetNodeReference(POINTS_ROLE) if table.GetAttribute(RESULTS) else None
        if points:
            forget(table, {points.GetNthControlPointID(n) for n in range(points.GetNumberOfControlPoints())})


def rename(table: Node, mark: Mark) -> None:
    """Write a point's new name into its row."""
    row = _find(table, mark.id)
    if row is not None:
        table.GetTable().GetColumnByName("label").SetValue(row, mark.point.label)
        table.GetTable().Modified()
        table.Modified()


def _refers(table: Node, role: str, node: Node) -> bool:
    return node is not None and table.GetNodeReferenceID(role) == node.GetID()


def _new_table(ct: Node, points: Node) -> Node:
    from ..results.tables import COLUMNS

    name = f"Grades of {points.GetName()} on {ct.GetName()}"
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    table.SetAttribute(RESULTS, "1")
    table.SetNodeReferenceID(CT_ROLE, ct.GetID())
    table.SetNodeReferenceID(POINTS_ROLE, points.GetID())
    with slicer.util.NodeModify(table):
        for column in COLUMNS:
            _add_column(table, column.name, column.meaning)
        _add_column(table, "control_point_id", "the point's ID in its list")
        _add_column(table, "ct_digest", "SHA-256 of the CT that was assessed")
    return table


def _add_column(table: Node, name: str, meaning: str) -> None:
    array = vtk.vtkStringArray() if _is_text(name) else vtk.vtkDoubleArray()
    array.SetName(name)
    table.AddColumn(array)
    table.SetColumnType(name, array.GetDataType())
    table.SetColumnDescription(name, meaning)


def _is_text(name: str) -> bool:
    return name.endswith(("_word", "_pattern", "_id", "_found", "_digest")) or name in ("label", "warnings")


def _cells(assessment: Assessment) -> Iterator[tuple[str, str | float]]:
    """Column and value; empty or NaN where the value needs a nodule and none was outlined."""
    from ..results.tables import COLUMNS

    for column in COLUMNS:
        if assessment.outline or column.always:
            yield column.name, column.value(assessment)
        else:
            yield column.name, "" if _is_text(column.name) else math.nan


def _reader(table: Node, row: int) -> Any:
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


def _find(table: Node, point_id: str) -> int | None:
    for row in range(table.GetNumberOfRows()):
        if table.GetTable().GetValueByName(row, "control_point_id").ToString() == point_id:
            return row
    return None


def _new_maps(table: Node, mark: Mark, record: Record) -> Node:
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
        # Under the table, a hundred nodules are one line in the Data module.
        hierarchy.SetItemParent(*items)
    return maps


def _drop_maps(table: Node, point_id: str) -> None:
    maps = maps_of(table, point_id)
    if maps is not None:
        # The reference goes with its node.
        slicer.mrmlScene.RemoveNode(maps)


def _map(maps: Node, item: str) -> Volume:
    node = maps.GetDataNodeAtValue(item)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return Volume(slicer.util.arrayFromVolume(node), slicer.util.arrayFromVTKMatrix(matrix), name=item)
