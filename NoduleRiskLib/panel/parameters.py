"""The panel's settings, as they are saved with the scene."""

# Without `from __future__ import annotations`: the wrapper reads the annotations themselves.
from typing import Annotated

import slicer
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class NoduleRiskParameterNode:
    """The panel's settings.

    ``outlines`` is a segmentation that another tool drew, ``prior`` an earlier CT of the patient, ``priorPoints`` its
    points, ``nodule`` the chosen point's control point ID, ``grade`` the name of the grade whose heatmap is shown,
    ``package`` the folder of a local model package (empty: the one that ships), ``device`` as ``Assessor`` takes it.
    Saved scenes know these names.
    """

    ct: slicer.vtkMRMLScalarVolumeNode
    points: slicer.vtkMRMLMarkupsFiducialNode
    outlines: slicer.vtkMRMLSegmentationNode
    prior: slicer.vtkMRMLScalarVolumeNode
    priorPoints: slicer.vtkMRMLMarkupsFiducialNode
    assessAsPlaced: bool
    heatmapShown: bool = True
    outlineShown: bool = True
    surfacesShown: bool
    opacity: Annotated[float, WithinRange(0, 1)] = 0.6
    threshold: Annotated[float, WithinRange(0, 1)] = 0.2
    nodule: str
    grade: str = "malignancy"
    package: str
    device: str = "auto"
