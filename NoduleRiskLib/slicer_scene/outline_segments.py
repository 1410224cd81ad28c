"""Every nodule's outline as a segment that the user can edit: one segmentation for each CT and point list.

The network's outline of a point is a proposal: as long as its voxels are those that were put there, the next
assessment replaces it. From the first changed voxel on the segment is the user's, and nothing here changes its voxels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote, unquote

import slicer
import slicer.util
import vtk

from ..imaging.colours import OUTLINE_RGB
from ..imaging.volume import Volume
from . import study
from .inputs import Mark, Node, point_ids
from .results import CT_ROLE, POINTS_ROLE
from .segment_voxels import SegmentReader, SegmentVoxels, binary_labelmap, labelmap, same, to_world

#: Attribute of our segmentation nodes.
OUTLINES = "NoduleRisk.outlines"
#: Tags of their segments: the point's control point ID; the network's voxels, as ``SegmentVoxels.own_place``; the name
#: that the segment was given here, quoted, for Slicer writes tags with ":" and "|" between them; the point whose
#: outline the user does not want it to be any more.
POINT, NETWORK, NAMED, ASIDE = (f"NoduleRisk.{name}" for name in ("point", "network", "named", "aside"))
#: What the name of a segment that was set aside ends in.
SET_ASIDE = " (drawn)"
#: How strongly segments are filled in slice views: not at all, so that CT and heatmap under them keep their colours.
FILL = 0.0
#: Context lists and codes as Slicer's Terminologies module serialises them; the codes are DICOM's (CID 7159, CID 7155).
LUNG_NODULE = (
    "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^27925004^Nodule~^^~Anatomic codes - DICOM master list~SCT^39607008^Lung~^^"
)
#: Version 0.1.0 showed the chosen nodule's outline in a node of its own.
FORMER_ROLE = "noduleRiskHeatmapOutline"


def segmentation_of(ct: Node, points: Node) -> Node:
    """The segmentation node with the outlines of this point list on this CT, or ``None``."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if ct and points else ():
        owners = node.GetNodeReferenceID(CT_ROLE), node.GetNodeReferenceID(POINTS_ROLE)
        if node.GetAttribute(OUTLINES) and owners == (ct.GetID(), points.GetID()):
            return node
    return None


def segment_ids(node: Node) -> list[str]:
    """IDs of a segmentation's segments, in their order."""
    segmentation = node.GetSegmentation() if node else None
    return [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())] if segmentation else []


def tag(node: Node, segment_id: str, name: str) -> str:
    """A tag of a segment; nothing where it has none."""
    found = vtk.mutable("")
    return str(found) if node.GetSegmentation().GetSegment(segment_id).GetTag(name, found) else ""


def of_point(node: Node, point_id: str) -> list[str]:
    """IDs of the segments of a point that are not set aside."""
    return [one for one in segment_ids(node) if tag(node, one, POINT) == point_id]


def untouched(node: Node, segment_id: str, voxels: SegmentVoxels | None) -> bool:
    """Whether a segment, which holds these voxels, is as the network drew it; in doubt it is not."""
    network = tag(node, segment_id, NETWORK)
    return bool(network and voxels and same(network, voxels.own_place))


def propose(ct: Node, points: Node, mark: Mark, mask: Volume, reader: SegmentReader) -> tuple[Node, str]:
    """Put the network's outline of a point into its untouched segment, or into a new one beside what the user drew.

    Parameters
    ----------
    ct, points : nodes
    mark : Mark
    mask : Volume
        The outline on the CT's grid (``imaging.outline_labels.on_grid_of``).
    reader : SegmentReader

    Returns
    -------
    node, segment ID
    """
    node = segmentation_of(ct, points) or _new_segmentation(ct, points)
    segmentation, frame, proposal = node.GetSegmentation(), to_world(node, ct), ""
    for segment_id in of_point(node, mark.id):
        if not proposal and untouched(node, segment_id, reader.read(node, segment_id, frame, anew=True)):
            proposal = segment_id
        else:
            # The user's, drawn elsewhere: it waits for a point that is put there.
            segmentation.GetSegment(segment_id).RemoveTag(POINT)
    if proposal:
        # In place: colour, name, order and what the user set for its display stay. First out of an image that it may
        # share with what the user drew, unasked: Slicer's IsSharedBinaryLabelmap answers the wrong way round.
        segmentation.SeparateSegmentLabelmap(proposal)
        segment = segmentation.GetSegment(proposal)
        image = labelmap(mask, ct, node, segment.GetLabelValue())
        segment.GetRepresentation(binary_labelmap()).DeepCopy(image)
    else:
        segment = slicer.vtkSegment()
        _name(segment, mark)
        segment.SetColor(*OUTLINE_RGB)
        segment.AddRepresentation(binary_labelmap(), labelmap(mask, ct, node))
        proposal = segmentation.GenerateUniqueSegmentID(f"nodule_{mark.id}")
        segmentation.AddSegment(segment, proposal)
        segment = segmentation.GetSegment(proposal)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), LUNG_NODULE)
        segment.SetTag(POINT, mark.id)
    voxels = reader.read(node, proposal, frame, anew=True)
    segment.SetTag(NETWORK, voxels.own_place if voxels else "")
    segment.Modified()
    return node, proposal


def withdraw(ct: Node, points: Node, point_ids: Collection[str], reader: SegmentReader) -> None:
    """Remove the network's untouched outlines of some points."""
    node = segmentation_of(ct, points)
    _remove_untouched(node, [one for one in segment_ids(node) if tag(node, one, POINT) in point_ids], ct, reader)


def withdraw_removed(ct: Node, points: Node, reader: SegmentReader) -> None:
    """Remove the network's untouched outlines of points that are not in the list any more.

    What the user drew for them waits for a point that is put there: Slicer gives their IDs to other points.
    """
    node = segmentation_of(ct, points)
    there = point_ids(points) if node else set()
    removed = {tag(node, one, name) for one in segment_ids(node) for name in (POINT, ASIDE)} - there - {""}
    if removed:
        withdraw(ct, points, removed, reader)
        for segment_id in segment_ids(node):
            for name in (POINT, ASIDE):
                if tag(node, segment_id, name) in removed:
                    node.GetSegmentation().GetSegment(segment_id).RemoveTag(name)


def remove_ownerless(reader: SegmentReader) -> None:
    """Remove what the network drew of point lists that are gone, and the segmentations in which nothing is left."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        ct = node.GetNodeReference(CT_ROLE)
        if node.GetAttribute(OUTLINES) and ct and not node.GetNodeReference(POINTS_ROLE):
            _remove_untouched(node, segment_ids(node), ct, reader)
            if not segment_ids(node):
                slicer.mrmlScene.RemoveNode(node)


def link(node: Node, segment_id: str, point_id: str) -> None:
    """Make a segment of ours that of a point."""
    if tag(node, segment_id, POINT) != point_id:
        node.GetSegmentation().GetSegment(segment_id).SetTag(POINT, point_id)


def rename(node: Node, mark: Mark) -> None:
    """Let a point's segment follow its name, unless the user gave it another one."""
    for segment_id in of_point(node, mark.id):
        segment = node.GetSegmentation().GetSegment(segment_id)
        if _has_given_name(node, segment_id) and segment.GetName() != mark.point.label:
            _name(segment, mark)


def set_aside(node: Node, segment_id: str, mark: Mark) -> None:
    """Keep what the user drew, under another name, but grade the network's outline of that point from now on."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    segment.RemoveTag(POINT)
    segment.SetTag(ASIDE, mark.id)
    if _has_given_name(node, segment_id):
        segment.SetName(f"{segment.GetName()}{SET_ASIDE}")


def points_set_aside(node: Node) -> dict[str, str]:
    """IDs of the segments that were set aside, by the control point ID of their point."""
    found = {tag(node, segment_id, ASIDE): segment_id for segment_id in segment_ids(node)}
    found.pop("", None)
    return found


def take_back(node: Node, segment_id: str, mark: Mark) -> None:
    """Undo ``set_aside``."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    segment.RemoveTag(ASIDE)
    segment.SetTag(POINT, mark.id)
    if segment.GetName() == unquote(tag(node, segment_id, NAMED)) + SET_ASIDE:
        _name(segment, mark)


def hide_others(ct: Node, points: Node) -> None:
    """Hide the outlines of other CTs and lists, and what version 0.1.0 drew."""
    chosen = segmentation_of(ct, points)
    former: list[Any] = [
        one.GetNodeReference(FORMER_ROLE) for one in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    ]
    for node in (*former, *slicer.util.getNodesByClass("vtkMRMLSegmentationNode")):
        ours = node and (node.GetAttribute(OUTLINES) or node in former)
        if ours and node is not chosen and node.GetDisplayVisibility():
            node.SetDisplayVisibility(False)


def _remove_untouched(node: Node, some_ids: Sequence[str], ct: Node, reader: SegmentReader) -> None:
    for segment_id in some_ids:
        if untouched(node, segment_id, reader.read(node, segment_id, to_world(node, ct), anew=True)):
            node.GetSegmentation().RemoveSegment(segment_id)


def _has_given_name(node: Node, segment_id: str) -> bool:
    """Whether a segment still has the name that it was given here."""
    return tag(node, segment_id, NAMED) == quote(node.GetSegmentation().GetSegment(segment_id).GetName())


def _name(segment: Any, mark: Mark) -> None:
    segment.SetName(mark.point.label)
    segment.SetTag(NAMED, quote(mark.point.label))


def _new_segmentation(ct: Node, points: Node) -> Node:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{points.GetName()} on {ct.GetName()}")
    node.CreateDefaultDisplayNodes()
    node.SetAndObserveTransformNodeID(ct.GetTransformNodeID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    node.GetDisplayNode().SetOpacity2DFill(FILL)
    node.SetAttribute(OUTLINES, "1")
    node.SetNodeReferenceID(CT_ROLE, ct.GetID())
    node.SetNodeReferenceID(POINTS_ROLE, points.GetID())
    study.put_beside(ct, node)
    return node


def show_surfaces(node: Node, on: bool) -> None:
    """Show the outlines' surfaces in the 3-D views, made again where the voxels were changed since; or drop them."""
    if not node:
        return
    segmentation = node.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    if on and segment_ids(node) and not segmentation.ContainsRepresentation(name):
        node.CreateClosedSurfaceRepresentation()
        node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(name)
        node.GetDisplayNode().SetVisibility3D(True)
    elif not on and segmentation.ContainsRepresentation(name):
        node.RemoveClosedSurfaceRepresentation()
