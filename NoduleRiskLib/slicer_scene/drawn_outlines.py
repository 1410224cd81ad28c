"""Which outline, drawn by the user or by another tool, is a point's; and points for outlines that have none."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import slicer
import slicer.util
import vtk

from ..imaging.points import Point
from .inputs import Mark, Node, Scan
from .outline_segments import ASIDE, NETWORK, POINT, link, segment_ids, segmentation_of, tag, untouched
from .segment_voxels import SegmentReader, SegmentVoxels, binary_labelmap, to_world

#: A point this near to a segment lies on its nodule (mm), as for ``Assessor.assess``.
NEAR_MM = 3.0
#: ``imaging.outline.LARGEST_MM``; importing that takes a while.
LARGEST_MM = 120.0
#: Attribute of a point list: the segments that had a point, so that none gets another one after the user removed the
#: first. JSON, "segmentation's node ID/segment's ID" each.
GIVEN = "NoduleRisk.given"


@dataclass(frozen=True, eq=False)
class DrawnOutline:
    """A segment that the network did not draw.

    Attributes
    ----------
    node : vtkMRMLSegmentationNode
    segment_id, name : str
    voxels : SegmentVoxels
    point_id : str
        Whose it is, where that is written down; otherwise it is that of the points that lie in it.
    was_network : bool
        Whether the network drew it first: then its point was removed or moved off by the user.
    """

    node: Node
    segment_id: str
    name: str
    voxels: SegmentVoxels
    point_id: str = ""
    was_network: bool = False


@dataclass(frozen=True, eq=False)
class Drawn:
    """The outlines that were drawn on a CT, of which some can be nodules.

    Attributes
    ----------
    chosen : tuple of DrawnOutline
        Those of the segmentation that the user chose.
    own : tuple of DrawnOutline
        Those in the segmentation of the point list, edited or added by the user.
    left_out : tuple of str
        One sentence for each kind of segment of the chosen segmentation that can be no nodule on this CT.
    """

    chosen: tuple[DrawnOutline, ...] = ()
    own: tuple[DrawnOutline, ...] = ()
    left_out: tuple[str, ...] = ()


def drawn_on(
    ct: Node, scan: Scan, points: Node, chosen: Node, reader: SegmentReader, point_ids: Collection[str], anew: bool
) -> Drawn:
    """Everything that was drawn.

    Parameters
    ----------
    ct : node
    scan : Scan
        What the CT holds.
    points : node
    chosen : node or None
        The segmentation that the user chose.
    reader : SegmentReader
    point_ids : collection of str
        Control point IDs of the list; what was drawn for another point is whoever's point lies in it.
    anew : bool
        Whether to read all voxels, though nobody said that they were changed.

    Raises
    ------
    NoduleRiskError
        If a segmentation lies under a non-linear transform that is not the CT's.
    """
    node = segmentation_of(ct, points)
    own, frame = [], to_world(node or ct, ct)
    for segment_id in segment_ids(node):
        voxels = None if tag(node, segment_id, ASIDE) else reader.read(node, segment_id, frame, anew)
        if voxels and not untouched(node, segment_id, voxels):
            point_id = tag(node, segment_id, POINT)
            name = node.GetSegmentation().GetSegment(segment_id).GetName()
            owner = point_id if point_id in point_ids else ""
            own.append(DrawnOutline(node, segment_id, name, voxels, owner, bool(tag(node, segment_id, NETWORK))))
    if chosen is None or chosen is node:
        return Drawn((), tuple(own))
    return _of_chosen(ct, scan, chosen, reader, tuple(own), anew)


def outline_of(mark: Mark, drawn: Drawn, moved: bool) -> DrawnOutline | None:
    """The outline at which a point is graded instead of the network's, or ``None``.

    Parameters
    ----------
    mark : Mark
    drawn : Drawn
    moved : bool
        Whether the point lies elsewhere than when it was assessed: then it has left what it does not lie in. A point
        that stayed where it was keeps its segment, wherever the user draws that.
    """
    for outlines in (drawn.chosen, drawn.own):
        near = []
        for one in outlines:
            if one.point_id in ("", mark.id):
                distance_mm = one.voxels.distance_mm(mark.point.ras)
                if distance_mm <= NEAR_MM or (one.point_id and not moved):
                    near.append((distance_mm, one))
        if near:
            return min(near, key=lambda pair: pair[0])[1]
    return None


def give_points(points: Node, drawn: Drawn, marks: Sequence[Mark]) -> list[str]:
    """Put a point, with the segment's name, into every outline in which none lies; returns their control point IDs.

    A segment that had a point, given here or placed by the user, is given none: whoever removes it does not want it.
    """
    given = _given(points)
    had, new = set(given), []
    for one in (*drawn.chosen, *drawn.own):
        key = f"{one.node.GetID()}/{one.segment_id}"
        has = one.point_id or any(one.voxels.distance_mm(mark.point.ras) <= NEAR_MM for mark in marks)
        if not has and (one.was_network or key in given):
            continue
        had.add(key)
        if not has:
            new.append(one)
    if had != given:
        points.SetAttribute(GIVEN, json.dumps(sorted(had)))
    found = []
    for one in new:
        at = points.AddControlPointWorld(vtk.vtkVector3d(*one.voxels.middle_ras()), one.name)
        found.append(points.GetNthControlPointID(at))
        if one in drawn.own:
            link(one.node, one.segment_id, found[-1])
    return found


def _given(points: Node) -> set[str]:
    text = points.GetAttribute(GIVEN)
    try:
        return {str(key) for key in json.loads(text)} if text else set()
    # Scenes are files that people edit: nothing that stands in one may stop the panel.
    except (ValueError, TypeError):
        return set()


def _of_chosen(
    ct: Node, scan: Scan, chosen: Node, reader: SegmentReader, own: tuple[DrawnOutline, ...], anew: bool
) -> Drawn:
    found, wide, outside, without, frame = [], [], [], [], to_world(chosen, ct)
    for segment_id, name in _named(chosen):
        if not chosen.GetSegmentation().GetSegment(segment_id).GetRepresentation(binary_labelmap()):
            without.append(name)
            continue
        width_mm = reader.width_mm(chosen, segment_id)
        if width_mm is not None and width_mm > LARGEST_MM:
            wide.append(name)
            continue
        voxels = reader.read(chosen, segment_id, frame, anew)
        if voxels and not scan.contains(Point(name, voxels.middle_ras())):
            outside.append(name)
        elif voxels:
            found.append(DrawnOutline(chosen, segment_id, name, voxels))
    reasons = (
        (wide, f"wider than any nodule ({LARGEST_MM:.0f} mm); if it holds several, split it (Segment Editor, Islands)"),
        (outside, "outside this CT"),
        (without, "not made of voxels: create its binary labelmap in the Segmentations module"),
    )
    told = (f"Left out of {chosen.GetName()}, {reason}: {_some(names)}." for names, reason in reasons if names)
    return Drawn(tuple(found), own, tuple(told))


def _named(node: Node) -> Iterator[tuple[str, str]]:
    for segment_id in segment_ids(node):
        yield segment_id, node.GetSegmentation().GetSegment(segment_id).GetName()


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def open_in_segment_editor(node: Node, segment_id: str, ct: Node) -> None:
    """Show Slicer's Segment Editor with a segment chosen, and the CT as what is drawn on."""
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    if editor is None:
        # As the module makes it, which may not have been opened yet.
        editor = slicer.vtkMRMLSegmentEditorNode()
        editor.SetSingletonTag("SegmentEditor")
        editor = slicer.mrmlScene.AddNode(editor)
    # In this order: a new segmentation takes back volume and segment.
    editor.SetAndObserveSegmentationNode(node)
    editor.SetAndObserveSourceVolumeNode(ct)
    editor.SetSelectedSegmentID(segment_id)
    slicer.util.selectModule("SegmentEditor")
