"""What the slice views show of a nodule: heatmap with its colour legend, and the place they are centred on."""

from __future__ import annotations

import numpy as np
import slicer
import slicer.util
import vtk

from . import study
from .inputs import Node
from .results import CT_ROLE, MAPS_OF, map_of, maps_of

#: Node reference roles and attributes of our nodes.
HEATMAP_ROLE, FOREGROUND_ROLE = "noduleRiskHeatmap", "noduleRiskForeground"
SHOWN = "NoduleRisk.shown"
#: The heatmap's colours from 0 to 1: share, red, green, blue, opacity. Violet to yellow, brighter step by step, so that
#: the order survives colour blindness and grey printing; nothing of the CT's greys among them.
HEAT = (
    (0.0, 0.16, 0.04, 0.35, 0.0),
    (0.2, 0.42, 0.05, 0.43, 0.55),
    (0.45, 0.73, 0.21, 0.33, 0.8),
    (0.7, 0.95, 0.45, 0.10, 0.95),
    (1.0, 0.99, 0.95, 0.45, 1.0),
)


def show_heatmap(ct: Node, table: Node, point_id: str, grade: str, opacity: float, threshold: float) -> Node:
    """Lay a nodule's heatmap of one grade over the CT, in all slice views; returns its volume node, or ``None``.

    There is one such node per CT. The views' own foreground is kept with it, for ``hide_heatmap``.
    """
    maps, source = maps_of(table, point_id), map_of(table, point_id, grade)
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
            node.SetName(f"Heatmap: {grade} of {maps.GetName().removeprefix(MAPS_OF)}")
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
            role = FOREGROUND_ROLE + (composite.GetLayoutName() or "")
            node.SetNodeReferenceID(role, composite.GetForegroundVolumeID())
            node.SetAttribute(f"NoduleRisk.{role}", str(composite.GetForegroundOpacity()))
            composite.SetForegroundVolumeID(node.GetID())
        composite.SetForegroundOpacity(opacity)
    _show_legend(node, grade)
    return node


def hide_heatmap(ct: Node) -> None:
    """Take a CT's heatmap out of the slice views and put their own foreground back."""
    node = ct.GetNodeReference(HEATMAP_ROLE) if ct else None
    if node is None:
        return
    for composite in _composites():
        if composite.GetForegroundVolumeID() == node.GetID():
            role = FOREGROUND_ROLE + (composite.GetLayoutName() or "")
            composite.SetForegroundVolumeID(node.GetNodeReferenceID(role))
            composite.SetForegroundOpacity(float(node.GetAttribute(f"NoduleRisk.{role}") or 0))
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    if legend:
        legend.SetVisibility(False)


def heatmaps() -> list[tuple[Node, Node]]:
    """The scene's CTs that have a heatmap, each with its heatmap, which is no CT though its node is a volume."""
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [(ct, heatmap) for ct in volumes if (heatmap := ct.GetNodeReference(HEATMAP_ROLE))]


def jump(point_ras: tuple[float, float, float]) -> None:
    """Centre all slice views on a place (world RAS mm)."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(
        slicer.mrmlScene, *point_ras, slicer.vtkMRMLSliceNode.CenteredJumpSlice, -1, None
    )


def heat_rgb(share: float) -> tuple[int, int, int]:
    """The heatmap's colour (0 to 255 each) for a share of 0 to 1, without its opacity."""
    at = [step[0] for step in HEAT]
    red, green, blue = (round(255 * float(np.interp(share, at, [step[c] for step in HEAT]))) for c in (1, 2, 3))
    return red, green, blue


def _new_heatmap(ct: Node) -> Node:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Heatmap")
    node.CreateDefaultDisplayNodes()
    node.SetNodeReferenceID(CT_ROLE, ct.GetID())
    ct.SetNodeReferenceID(HEATMAP_ROLE, node.GetID())
    study.put_beside(ct, node)
    return node


def _colours() -> Node:
    """The heatmap's colour table: one per scene, filled again where a scene was saved without its colours."""
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
        shares = np.linspace(0, 1, 256)
        at, *channels = zip(*HEAT, strict=True)
        colours = np.stack([np.interp(shares, at, channel) for channel in channels], 1).tolist()
        for n, (share, colour) in enumerate(zip(shares, colours, strict=True)):
            node.SetColor(n, f"{share:.2f}", *colour)
    return node


def _composites() -> list[Node]:
    return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))


def _show_legend(heatmap: Node, grade: str) -> None:
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
