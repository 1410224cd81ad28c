"""What a scene keeps of assessments: a table with a row for each point, and a sequence with each nodule's maps.

The table node has every assessment as JSON (``Assessment.to_dict``) in an attribute that is named after its control
point ID. Its columns are for people and are not read back.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import slicer
import slicer.util
import vtk

from ..imaging.volume import Volume
from . import study
from .inputs import Mark, Node, point_ids
from .records import Record, Row, decoded, readable_row, record_of, renamed, restored

if TYPE_CHECKING:
    from ..results.assessment import Assessment

#: Node reference roles (no character that MRML's "role:id;" lists use) and attributes of our nodes.
CT_ROLE, POINTS_ROLE, MAPS_ROLE = "noduleRiskCT", "noduleRiskPoints", "noduleRiskMaps"
RESULTS, POINT_ID, ASSESSMENT = (f"NoduleRisk.{name}" for name in ("results", "point", "assessment."))
#: Attributes of the user's answers (``answers.py``): this for the patient, followed by a control point ID for a nodule.
ABOUT = "NoduleRisk.about."
#: Value of ``RESULTS``: how a table keeps its assessments. Version 0.1.0, which wrote "1", kept them otherwise.
LAYOUT = "2"
#: How the names of maps begin, before their point's.
MAPS_OF = "Maps of "
#: ``serialization.OUTLINE``; importing that takes a while.
OUTLINE = "outline"
#: Columns beside those of ``results.tables``: name and meaning.
OWN_COLUMNS = {"control_point_id": "the point's ID in its list", "ct_digest": "SHA-256 of the CT that was assessed"}
#: Columns of version 0.1.0 that are written no more: there is one diameter.
FORMER_COLUMNS = ("outline_diameter_mm",)


def table_of(ct: Node, points: Node) -> Node:
    """The table node with the results of this point list on this CT, or ``None``."""
    for table in slicer.util.getNodesByClass("vtkMRMLTableNode"):
        if table.GetAttribute(RESULTS) and _refers(table, CT_ROLE, ct) and _refers(table, POINTS_ROLE, points):
            if table.GetAttribute(RESULTS) != LAYOUT:
                _upgrade(table)
            return table
    return None


def maps_of(table: Node, point_id: str) -> Node:
    """The sequence node with a point's maps (item values: grades' names and "outline"), or ``None``."""
    for n in range(table.GetNumberOfNodeReferences(MAPS_ROLE) if table else 0):
        maps = table.GetNthNodeReference(MAPS_ROLE, n)
        if maps and maps.GetAttribute(POINT_ID) == point_id:
            return maps
    return None


def map_ids(table: Node) -> dict[str, str]:
    """IDs of a table's sequence nodes by control point ID: others after each assessment."""
    nodes = [table.GetNthNodeReference(MAPS_ROLE, n) for n in range(table.GetNumberOfNodeReferences(MAPS_ROLE))]
    return {maps.GetAttribute(POINT_ID): maps.GetID() for maps in nodes if maps}


def map_of(table: Node, point_id: str, item: str) -> Node:
    """One of a point's maps as a volume node, or ``None``."""
    maps = maps_of(table, point_id)
    return _volume(maps, item) if maps is not None else None


def without_maps(table: Node) -> set[str]:
    """Control point IDs of the table's assessments whose outline is not in the scene."""
    lost = set(_point_ids(table))
    for n in range(table.GetNumberOfNodeReferences(MAPS_ROLE) if table else 0):
        maps = table.GetNthNodeReference(MAPS_ROLE, n)
        if maps and _volume(maps, OUTLINE) is not None:
            lost.discard(maps.GetAttribute(POINT_ID))
    return lost


def stored(table: Node) -> dict[str, Row | None]:
    """The assessments of a table by control point ID; ``None`` for one that cannot be read, which is logged once."""
    return {point_id: readable_row(table.GetAttribute(ASSESSMENT + point_id)) for point_id in _point_ids(table)}


def rows(table: Node) -> dict[str, Row]:
    """The assessments of a table that can be read, by control point ID."""
    return {point_id: row for point_id, row in stored(table).items() if row}


def kept(table: Node, point_id: str) -> tuple[dict[str, Any], dict[str, Volume]] | None:
    """The arguments of ``Assessment.from_dict``, for use on any thread; ``None`` if there is no assessment."""
    text = table.GetAttribute(ASSESSMENT + point_id) if table else None
    if not text or not readable_row(text):
        return None
    maps = maps_of(table, point_id)
    items = [maps.GetNthIndexValue(n) for n in range(maps.GetNumberOfDataNodes())] if maps is not None else []
    nodes = {item: _volume(maps, item) for item in items}
    return json.loads(text), {item: _map(node, item) for item, node in nodes.items() if node is not None}


def assessment(table: Node, point_id: str, volume: Volume | None = None) -> Assessment | None:
    """The assessment that the scene holds for a point; ``None`` if there is none.

    With the CT's ``volume``, the graded slices have their pixels again.
    """
    found = kept(table, point_id)
    return restored(*found, volume) if found else None


def store(ct: Node, points: Node, mark: Mark, record: Record) -> None:
    """Put an assessment into the scene: a row of the results table, and a sequence node with the nodule's maps.

    Parameters
    ----------
    ct, points : nodes
    mark : Mark
        The point as it was assessed.
    record : Record
    """
    table = table_of(ct, points)
    if table is None:
        # The old one may have been removed with assessments in it.
        forget_maps_without_table()
        table = _new_table(ct, points)
    with slicer.util.NodeModify(table):
        _write(table, mark.id, record.text)
        _drop_maps(table, mark.id)
        if record.maps:
            table.AddNodeReferenceID(MAPS_ROLE, _new_maps(table, mark, record.maps).GetID())


def forget(table: Node, keep: set[str]) -> None:
    """Drop the results of all points but those whose control point IDs are in ``keep``."""
    for point_id in set(_point_ids(table)) - keep:
        table.RemoveAttribute(ASSESSMENT + point_id)
        table.RemoveAttribute(ABOUT + point_id)
        row = _find(table, point_id)
        if row is not None:
            table.RemoveRow(row)
        _drop_maps(table, point_id)


def forget_removed_points() -> None:
    """Drop the results of all points that are in no list any more."""
    for table in slicer.util.getNodesByClass("vtkMRMLTableNode"):
        points = table.GetNodeReference(POINTS_ROLE) if table.GetAttribute(RESULTS) else None
        if points:
            forget(table, point_ids(points))


def forget_maps_without_table() -> None:
    """Drop the maps that belong to no results table any more."""
    owned = {
        table.GetNthNodeReferenceID(MAPS_ROLE, n)
        for table in slicer.util.getNodesByClass("vtkMRMLTableNode")
        for n in range(table.GetNumberOfNodeReferences(MAPS_ROLE))
    }
    for maps in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
        if maps.GetAttribute(POINT_ID) and maps.GetID() not in owned:
            slicer.mrmlScene.RemoveNode(maps)


def rename(table: Node, mark: Mark) -> None:
    """Give an assessment, its warnings and its maps their point's new name."""
    with slicer.util.NodeModify(table):
        _write(table, mark.id, renamed(table.GetAttribute(ASSESSMENT + mark.id), mark.point.label))
    maps = maps_of(table, mark.id)
    if maps:
        maps.SetName(_name_of_maps(mark))


def show_rows(table: Node, points: Node) -> None:
    """Let the table's rows be those of the points that are in the list now.

    What was said of a removed point is kept in its attribute until the scene is saved: undo brings its row back.
    """
    there = point_ids(points)
    shown = [_cell(table, row, "control_point_id") for row in range(table.GetNumberOfRows())]
    lacking = [point_id for point_id in _point_ids(table) if point_id in there and point_id not in shown]
    for row in reversed(range(len(shown))):
        if shown[row] not in there:
            table.RemoveRow(row)
    for point_id in lacking:
        _write(table, point_id, table.GetAttribute(ASSESSMENT + point_id))


def _refers(table: Node, role: str, node: Node) -> bool:
    return node is not None and table.GetNodeReferenceID(role) == node.GetID()


def _point_ids(table: Node) -> list[str]:
    names = table.GetAttributeNames() if table else ()
    return [name.removeprefix(ASSESSMENT) for name in names if name.startswith(ASSESSMENT)]


def _new_table(ct: Node, points: Node) -> Node:
    name = f"Grades of {points.GetName()} on {ct.GetName()}"
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    table.SetAttribute(RESULTS, LAYOUT)
    table.SetNodeReferenceID(CT_ROLE, ct.GetID())
    table.SetNodeReferenceID(POINTS_ROLE, points.GetID())
    study.put_beside(ct, table, points)
    return table


def _write(table: Node, point_id: str, text: str) -> None:
    """Write a point's assessment: the text that is read back, and a row for people, in today's columns."""
    from ..results.tables import COLUMNS

    table.SetAttribute(ASSESSMENT + point_id, text)
    row, columns = readable_row(text), table.GetTable()
    if row is None:
        return
    # A table of an older version may lack some, and have one that nobody would keep up to date.
    for n in reversed(range(columns.GetNumberOfColumns())):
        if columns.GetColumnName(n) in FORMER_COLUMNS:
            table.RemoveColumn(n)
    for column in COLUMNS:
        _add_column(table, column.name, column.meaning, column.text)
    for name, meaning in OWN_COLUMNS.items():
        _add_column(table, name, meaning, text=True)
    at = _find(table, point_id)
    if at is None:
        at = table.AddEmptyRow()
    columns.GetColumnByName("control_point_id").SetValue(at, point_id)
    columns.GetColumnByName("ct_digest").SetValue(at, row.digest)
    for column in COLUMNS:
        value = row.columns[column.name]
        columns.GetColumnByName(column.name).SetValue(at, ("" if column.text else math.nan) if value is None else value)
    columns.Modified()
    table.Modified()


def _add_column(table: Node, name: str, meaning: str, text: bool) -> None:
    """Add a column where there is none of that name."""
    if table.GetTable().GetColumnByName(name):
        return
    array = vtk.vtkStringArray() if text else vtk.vtkDoubleArray()
    array.SetName(name)
    table.AddColumn(array)
    table.SetColumnType(name, array.GetDataType())
    table.SetColumnDescription(name, meaning)


def _find(table: Node, point_id: str) -> int | None:
    for row in range(table.GetNumberOfRows()):
        if _cell(table, row, "control_point_id") == point_id:
            return row
    return None


def _cell(table: Node, row: int, name: str) -> str:
    columns = table.GetTable()
    return str(columns.GetValueByName(row, name).ToString()) if columns.GetColumnByName(name) else ""


def _new_maps(table: Node, mark: Mark, volumes: Mapping[str, Volume]) -> Node:
    maps = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", _name_of_maps(mark))
    maps.SetIndexType(slicer.vtkMRMLSequenceNode.TextIndex)
    maps.SetIndexName("grade")
    maps.SetIndexUnit("")
    maps.SetAttribute(POINT_ID, mark.id)
    for name, volume in volumes.items():
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(name)
        slicer.util.updateVolumeFromArray(node, volume.array)
        node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(volume.ijk_to_ras))
        maps.SetDataNodeAtValue(node, name)
    # Under the table, a hundred nodules are one line in the Data module.
    study.put_under(table, maps)
    return maps


def _name_of_maps(mark: Mark) -> str:
    return f"{MAPS_OF}{mark.point.label}"


def _drop_maps(table: Node, point_id: str) -> None:
    maps = maps_of(table, point_id)
    if maps is not None:
        # The reference goes with its node.
        slicer.mrmlScene.RemoveNode(maps)


def _volume(maps: Node, item: str) -> Node:
    """A map's node, or ``None`` if it is lost or something else was put in its place."""
    node = maps.GetDataNodeAtValue(item)
    holds_voxels = node is not None and node.IsA("vtkMRMLScalarVolumeNode") and node.GetImageData() is not None
    return node if holds_voxels and node.GetImageData().GetPointData().GetScalars() else None


def _map(node: Node, item: str) -> Volume:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return Volume(slicer.util.arrayFromVolume(node), slicer.util.arrayFromVTKMatrix(matrix), name=item)


def _upgrade(table: Node) -> None:
    """Keep the assessments of a table that version 0.1.0 wrote as today's are kept.

    It had them in an attribute of the maps' node, and where nothing was outlined, in the columns alone.
    """
    for row in range(table.GetNumberOfRows()):
        point_id = _cell(table, row, "control_point_id")
        maps = maps_of(table, point_id)
        text = maps.GetAttribute("NoduleRisk.record") if maps is not None else None
        try:
            values = json.loads(text) if text else _values_of_columns(table, row)
            record = record_of(decoded(values), _cell(table, row, "ct_digest"))
        # Scenes are files that people edit: nothing that stands in one may stop the panel.
        except Exception as error:
            logging.warning("NoduleRisk: %s", error)
            # Unreadable as it is, so that the panel says so.
            table.SetAttribute(ASSESSMENT + point_id, text or "{}")
            continue
        table.SetAttribute(ASSESSMENT + point_id, record.text)
    table.SetAttribute(RESULTS, LAYOUT)


def _values_of_columns(table: Node, row: int) -> dict[str, Any]:
    """An assessment without outline by 0.1.0. Its warnings are one text that cannot be split: a name may be "Nr. 3"."""
    warnings = _cell(table, row, "warnings")
    return {
        "label": _cell(table, row, "label"),
        "point_ras": [float(_cell(table, row, axis)) for axis in "ras"],
        "warnings": [warnings] if warnings else [],
        "model_id": _cell(table, row, "model_id"),
    }
