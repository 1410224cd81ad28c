"""One request to assess some points of a list on a CT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..slicer_scene.inputs import Mark, Node

if TYPE_CHECKING:
    from ..results.assessment import Assessment


def _ignore(*arguments: Any) -> None:
    """Called where nobody listens."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be assessed, with what, and who is told.

    Attributes
    ----------
    ct : vtkMRMLScalarVolumeNode
    points : vtkMRMLMarkupsFiducialNode
    marks : tuple of Mark
        The points of that list to assess, in this order.
    outlines : vtkMRMLSegmentationNode or None
        Outlines that another tool drew.
    package : path or None
        Folder of a model package; empty or ``None``: the one that ships.
    device : str
        As ``Assessor`` takes it.
    heatmaps : bool
    store_nodes : bool
        Whether to put the results table and the maps into the scene.
    assessed : callable
        Called on the main thread with (mark, assessment) as soon as a point is assessed.
    ended : callable
        Called on the main thread, last: with the exception that ended the job, ``Cancelled`` among them, or ``None``.
    """

    ct: Node
    points: Node
    marks: tuple[Mark, ...]
    outlines: Node = None
    package: Path | str | None = None
    device: str = "auto"
    heatmaps: bool = True
    store_nodes: bool = True
    assessed: Callable[[Mark, Assessment], None] = _ignore
    ended: Callable[[BaseException | None], None] = _ignore
