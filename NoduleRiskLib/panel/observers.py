"""What the panel follows in the scene: the chosen CT and point list, and what the slice views show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import slicer.util
import vtk

from ..slicer_scene import display
from ..slicer_scene.inputs import Node

#: A VTK observer.
Observer = Callable[[Any, Any], None]


class ChosenNodes:
    """Follows the chosen CT, the point list and the outlines, and no other.

    Parameters
    ----------
    observations : slicer.util.VTKObservationMixin
    changed, placed : callable
        Observers: something may look different, a point was placed.
    drawn : callable
        Observer: a segment was edited, added, removed or renamed.
    touched : callable
        Called with the ID of a control point that is clicked or dragged in a view.
    """

    def __init__(
        self,
        observations: Any,
        changed: Observer,
        placed: Observer,
        drawn: Observer,
        touched: Callable[[str], None],
    ) -> None:
        self._observations = observations
        self._changed, self._placed, self._drawn, self._touched = changed, placed, drawn, touched
        self._observed: list[tuple[Node, Any, Observer]] = []

    def follow(self, ct: Node, points: Node, *segmentations: Node) -> None:
        """Observe these nodes (or ``None``) from now on."""
        wanted = self._of_ct(ct) + self._of_points(points)
        for node in dict.fromkeys(segmentations):
            wanted += self._of_segmentation(node)
        for observed in self._observed:
            if observed not in wanted:
                self._observations.removeObserver(*observed)
        for observed in wanted:
            if observed not in self._observed:
                self._observations.addObserver(*observed)
        self._observed = wanted

    def _of_ct(self, ct: Node) -> list[tuple[Node, Any, Observer]]:
        if not ct:
            return []
        events = (ct.ImageDataModifiedEvent, ct.TransformModifiedEvent, vtk.vtkCommand.ModifiedEvent)
        return [(ct, event, self._changed) for event in events]

    def _of_points(self, points: Node) -> list[tuple[Node, Any, Observer]]:
        if not points:
            return []
        kind = slicer.vtkMRMLMarkupsNode
        events = (
            kind.PointModifiedEvent,
            kind.PointAddedEvent,
            kind.PointRemovedEvent,
            kind.TransformModifiedEvent,
            vtk.vtkCommand.ModifiedEvent,
        )
        return [
            *((points, event, self._changed) for event in events),
            (points, kind.PointPositionDefinedEvent, self._placed),
            (points, kind.PointStartInteractionEvent, self._interaction_starts),
        ]

    def _of_segmentation(self, node: Node) -> list[tuple[Node, Any, Observer]]:
        if not node:
            return []
        kind = slicer.vtkSegmentation
        events = (kind.SourceRepresentationModified, kind.SegmentAdded, kind.SegmentRemoved, kind.SegmentModified)
        return [
            *((node, event, self._drawn) for event in events),
            (node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._drawn),
        ]

    def _interaction_starts(self, caller: Any, event: Any) -> None:
        display = caller.GetDisplayNode()
        if display and display.GetActiveComponentType() == slicer.vtkMRMLMarkupsDisplayNode.ComponentControlPoint:
            self._touched(caller.GetNthControlPointID(display.GetActiveComponentIndex()))


class SliceViews:
    """Follows the volume in the slice views and the list that points are placed in.

    Parameters
    ----------
    observations : slicer.util.VTKObservationMixin
    take : callable
        Called with a CT and a point list (or ``None``) when the views show another one.
    """

    def __init__(self, observations: Any, take: Callable[[Node, Node], None]) -> None:
        self._observations, self._take = observations, take
        self._seen: tuple[str | None, str | None] = None, None
        self._ct: Node = None

    def follow(self) -> None:
        """Observe the views that there are; a loaded scene brings views of its own."""
        selection = slicer.app.applicationLogic().GetSelectionNode()
        events = [(composite, vtk.vtkCommand.ModifiedEvent) for composite in _composites()]
        for node, event in [*events, (selection, slicer.vtkMRMLSelectionNode.ActivePlaceNodeIDChangedEvent)]:
            if node and not self._observations.hasObserver(node, event, self._changed):
                self._observations.addObserver(node, event, self._changed)
        self._seen = in_views()

    def shown(self) -> tuple[Node, Node]:
        """The CT that is shown and the list that points are placed in, ``None`` where there is none."""
        return _ct(in_views()[0]), _points(in_views()[1])

    def show(self, ct: Node) -> None:
        """Show a CT (or ``None``) in all slice views, once for each time that another one is chosen."""
        another, self._ct = ct is not self._ct, ct
        if another and ct and in_views()[0] != ct.GetID():
            slicer.util.setSliceViewerLayers(background=ct, fit=True)
            self._seen = in_views()

    def _changed(self, caller: Any, event: Any) -> None:
        before, self._seen = self._seen, in_views()
        ct_id, points_id = (now if now != was else None for now, was in zip(self._seen, before, strict=True))
        self._take(_ct(ct_id), _points(points_id))


def in_views() -> tuple[str | None, str | None]:
    """IDs of the volume in the background of the first view that has one, and of the list that points go into."""
    backgrounds = [composite.GetBackgroundVolumeID() for composite in _composites()]
    selection = slicer.app.applicationLogic().GetSelectionNode()
    return next(filter(None, backgrounds), None), selection.GetActivePlaceNodeID() if selection else None


def _composites() -> list[Node]:
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def _ct(node_id: str | None) -> Node:
    node = slicer.mrmlScene.GetNodeByID(node_id) if node_id else None
    if not node or node.GetClassName() != "vtkMRMLScalarVolumeNode" or not node.GetImageData():
        return None
    return None if any(node is heatmap for _ct, heatmap in display.heatmaps()) else node


def _points(node_id: str | None) -> Node:
    node = slicer.mrmlScene.GetNodeByID(node_id) if node_id else None
    return node if node and node.GetClassName() == "vtkMRMLMarkupsFiducialNode" else None
