"""Where nodes of ours stand in the subject hierarchy: in the study of their CT, as the Data module shows it."""

from __future__ import annotations

from typing import Any, TypeAlias

import slicer

#: As ``inputs.Node``, which imports this file.
Node: TypeAlias = Any


def put_beside(ct: Node, *nodes: Node) -> None:
    """Put nodes under what a CT is under (a DICOM study, a folder); those that stand somewhere already stay there."""
    hierarchy, of_ct = _hierarchy(), _item(ct)
    for item in map(_item, nodes):
        # The user's own order of things is not touched.
        if of_ct and item and hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID():
            hierarchy.SetItemParent(item, hierarchy.GetItemParent(of_ct))


def put_under(owner: Node, node: Node) -> None:
    """Put a node under another one."""
    item, of_owner = _item(node), _item(owner)
    if item and of_owner:
        _hierarchy().SetItemParent(item, of_owner)


def _hierarchy() -> Node:
    """The scene's subject hierarchy, or ``None``."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def _item(node: Node) -> int:
    """A node's item; 0 is none: hidden nodes have none, and no node has one where Slicer's own module does not run."""
    hierarchy = _hierarchy()
    return int(hierarchy.GetItemByDataNode(node)) if hierarchy else 0
