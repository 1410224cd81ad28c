"""Where nodes of ours stand in the subject hierarchy: in the study of their CT, as the Data module shows it."""

from __future__ import annotations

from typing import Any, TypeAlias

import slicer

#: As ``inputs.Node``, which imports this file.
Node: TypeAlias = Any


def put_beside(ct: Node, *nodes: Node) -> None:
    """Put nodes under what a CT is under (a DICOM study, a folder); those that stand somewhere already stay there."""
    hierarchy, scene_item = _hierarchy()
    of_ct = hierarchy.GetItemByDataNode(ct) if hierarchy else 0
    for item in filter(None, map(hierarchy.GetItemByDataNode, nodes)) if of_ct else ():
        # The user's own order of things is not touched.
        if hierarchy.GetItemParent(item) == scene_item:
            hierarchy.SetItemParent(item, hierarchy.GetItemParent(of_ct))


def put_under(owner: Node, node: Node) -> None:
    """Put a node under another one."""
    hierarchy, _scene_item = _hierarchy()
    items = [hierarchy.GetItemByDataNode(one) for one in (node, owner)] if hierarchy else [0]
    # 0 is no item: hidden nodes have none, and no node has one where Slicer's own module does not run.
    if all(items):
        hierarchy.SetItemParent(*items)


def _hierarchy() -> tuple[Node, int]:
    """The scene's subject hierarchy (or ``None``), and its topmost item."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy, hierarchy.GetSceneItemID() if hierarchy else 0
