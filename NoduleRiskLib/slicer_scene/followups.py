"""What a scene keeps of a follow-up: each nodule's growth beside its results, and a transform that lays the CTs over.

Growth is JSON (``Growth.to_dict``) in an attribute of the results table, named after the nodule's control point ID;
sentences about nodules that are gone, and about the whole comparison, are in one attribute of their own. Which point of
the earlier CT the user says a nodule is has one too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
import vtk

from ..imaging.volume import Array
from . import inputs
from .inputs import Node, Scan

if TYPE_CHECKING:
    from ..followup.growth import Growth

#: Attributes of the results table, and of the transform that we put on an earlier CT.
GROWTH, PARTNER, NOTES, ALIGNMENT = (f"NoduleRisk.{name}" for name in ("growth.", "partner.", "followUp", "alignment"))
#: The partner of a nodule that the user says is new: no control point has this ID.
NONE = "none"


def keep(table: Node, growths: Mapping[str, Mapping[str, Any]], notes: Sequence[str]) -> None:
    """Put a follow-up into the scene, in place of an earlier one.

    Parameters
    ----------
    table : vtkMRMLTableNode
        The results of the later CT's points.
    growths : mapping of str to mapping
        By control point ID: ``growth`` (``Growth.to_dict`` or ``None``), ``sentence`` and ``doubts``.
    notes : sequence of str
        Sentences about nodules that are gone, and about the whole comparison.
    """
    with slicer.util.NodeModify(table):
        for name in [name for name in table.GetAttributeNames() or () if name.startswith(GROWTH)]:
            table.RemoveAttribute(name)
        for point_id, values in growths.items():
            table.SetAttribute(GROWTH + point_id, json.dumps(values))
        table.SetAttribute(NOTES, json.dumps(list(notes)))


def notes(table: Node) -> tuple[str, ...]:
    """Sentences about nodules that are gone, and about the whole comparison; none if there was none."""
    try:
        return tuple(map(str, json.loads((table and table.GetAttribute(NOTES)) or "[]")))
    except ValueError:
        return ()


def growth(table: Node, point_id: str, volume_mm3: float | None) -> tuple[str, str, Growth | None] | None:
    """What the scene keeps of a nodule's growth.

    Parameters
    ----------
    table : vtkMRMLTableNode or None
    point_id : str
        Its control point ID.
    volume_mm3 : float or None
        Its volume now: what was said of another outline does not hold any more.

    Returns
    -------
    (str, str, Growth or None) or None
        A word or two, a sentence, and the growth; ``None`` where nothing is kept that still holds or can be read.
    """
    from ..followup.growth import Growth

    text = table.GetAttribute(GROWTH + point_id) if table else None
    if not text or volume_mm3 is None:
        return None
    try:
        values = json.loads(text)
        found = None if values["growth"] is None else Growth.from_dict(values["growth"])
        doubts = f" ({', '.join(map(str, values['doubts']))})" if values["doubts"] else ""
        if found is not None and (found.after is None or abs(found.after.volume_mm3 - volume_mm3) > 0.5):
            return None
        word = "not on the earlier CT" if found is None else found.kind
        return word + ("?" if doubts else ""), str(values["sentence"]) + doubts, found
    except (ValueError, KeyError, TypeError):
        return None


def partner(table: Node, point_id: str) -> str:
    """Which point of the earlier CT the user says a nodule is: its control point ID, ``NONE``, or "" as proposed."""
    return str((table and table.GetAttribute(PARTNER + point_id)) or "")


def set_partner(table: Node, point_id: str, partner_id: str) -> None:
    """Keep what the user says; "" takes what the places propose again."""
    if partner_id:
        table.SetAttribute(PARTNER + point_id, partner_id)
    else:
        table.RemoveAttribute(PARTNER + point_id)


def unmoved_marks(prior: Node, points: Node) -> list[inputs.Mark]:
    """The placed points of an earlier CT, RAS mm where its own scanner put it: they lie where the views show it."""
    back = unmoved(prior).ijk_to_ras @ np.linalg.inv(inputs.scan(prior).ijk_to_ras)
    found = []
    for mark in inputs.marks(points):
        r, a, s = (back[:3, :3] @ mark.point.ras + back[:3, 3]).tolist()
        found.append(replace(mark, point=replace(mark.point, ras=(r, a, s))))
    return found


def unmoved(prior: Node) -> Scan:
    """What an earlier CT's node holds where its own scanner put it, without the transform that ``lay_over`` put on it.

    Raises
    ------
    NoduleRiskError
        As ``inputs.scan`` raises it.
    """
    scan, node = inputs.scan(prior), _transform(prior)
    if node is None:
        return scan
    above, ours = _matrix(node.GetParentTransformNode()), _matrix(node, to_world=False)
    return replace(scan, ijk_to_ras=above @ np.linalg.inv(ours) @ np.linalg.inv(above) @ scan.ijk_to_ras)


def lay_over(prior: Node, prior_to_current: Array, points: Node = None) -> None:
    """Show an earlier CT where the later one shows the same places: by a transform on it, which the user can remove.

    Its points go with it.
    """
    node = _transform(prior)
    if node is None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"{prior.GetName()} to the later CT")
        node.SetAttribute(ALIGNMENT, "1")
        # What the user put on it stays in force.
        node.SetAndObserveTransformNodeID(prior.GetTransformNodeID())
        prior.SetAndObserveTransformNodeID(node.GetID())
    if points and points.GetTransformNodeID() == node.GetTransformNodeID():
        # They were marked where the earlier CT is seen now.
        points.ApplyTransformMatrix(_as_vtk(np.linalg.inv(_matrix(node, to_world=False))))
        points.SetAndObserveTransformNodeID(node.GetID())
    above = _matrix(node.GetParentTransformNode())
    node.SetMatrixTransformToParent(_as_vtk(np.linalg.inv(above) @ prior_to_current @ above))


def _as_vtk(values: Array) -> Any:
    matrix = vtk.vtkMatrix4x4()
    for row, column in np.ndindex(4, 4):
        matrix.SetElement(row, column, float(values[row, column]))
    return matrix


def show(prior: Node, shown: bool) -> None:
    """Show an earlier CT over the later one in all slice views, or take it away."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        mine = composite.GetForegroundVolumeID() == prior.GetID()
        if shown and not mine:
            composite.SetForegroundVolumeID(prior.GetID())
        if shown or mine:
            composite.SetForegroundOpacity(1.0 if shown else 0.0)


def _transform(prior: Node) -> Node:
    """Our own transform on an earlier CT, or ``None``."""
    node = slicer.mrmlScene.GetNodeByID(prior.GetTransformNodeID() or "") if prior.GetTransformNodeID() else None
    return node if node is not None and node.GetAttribute(ALIGNMENT) else None


def _matrix(transform: Node, to_world: bool = True) -> Array:
    """A transform node's matrix (4, 4), with those above it or alone; that of no transform for ``None``."""
    matrix = vtk.vtkMatrix4x4()
    if transform is not None and to_world:
        transform.GetMatrixTransformToWorld(matrix)
    elif transform is not None:
        transform.GetMatrixTransformToParent(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
