"""Nodes of ours stand in the study of their CT, and a point's new name is everywhere."""

import ast
import json
from pathlib import Path

import pytest
import slicer

from NoduleRiskLib.slicer_scene import display, inputs, outline_segments, records, results

CHECKS = Path(__file__).resolve().parents[2] / "NoduleRiskLib" / "imaging"


@pytest.fixture
def hierarchy(mrml):
    """A subject hierarchy in which every new node has an item at the top, as Slicer's own module gives it one."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(mrml)
    kinds = ("vtkMRMLVolumeNode", "vtkMRMLTableNode", "vtkMRMLSequenceNode", "vtkMRMLSegmentationNode")

    def added(*unused):
        for kind in (*kinds, "vtkMRMLMarkupsNode"):
            for node in slicer.util.getNodesByClass(kind):
                if not hierarchy.GetItemByDataNode(node):
                    hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    tag = mrml.AddObserver(mrml.NodeAddedEvent, added)
    yield hierarchy
    mrml.RemoveObserver(tag)


@pytest.fixture
def study(hierarchy, ct):
    """The item of the study in which the CT is."""
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "patient")
    study = hierarchy.CreateStudyItem(patient, "study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(ct), study)
    return study


def test_what_an_assessment_makes_stands_in_the_cts_study(hierarchy, study, logic, ct, points):
    logic.assess(ct, points)
    table = results.table_of(ct, points)
    mark = inputs.marks(points)[0]
    heatmap = display.show_heatmap(ct, table, mark.id, "malignancy", 0.5, 0.2)
    for node in (table, points, outline_segments.segmentation_of(ct, points), heatmap):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study, node.GetName()
    maps = hierarchy.GetItemByDataNode(results.maps_of(table, mark.id))
    assert hierarchy.GetItemParent(maps) == hierarchy.GetItemByDataNode(table)


def test_a_node_that_the_user_put_into_a_folder_stays_there(hierarchy, study, logic, ct, points):
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "mine")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(points), folder)
    logic.assess(ct, points)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(points)) == folder


def test_a_ct_without_a_study_leaves_everything_at_the_top(hierarchy, logic, ct, points):
    logic.assess(ct, points)
    table = results.table_of(ct, points)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table)) == hierarchy.GetSceneItemID()


# --- names in sentences


def sentences():
    """What stands before the point's name in every sentence about a nodule."""
    for file in ("input_checks.py", "outline_checks.py"):
        for node in ast.walk(ast.parse((CHECKS / file).read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for before, part in zip([None, *parts], parts, strict=False):
                if isinstance(part, ast.FormattedValue) and ast.unparse(part.value) == "point.label":
                    yield before.value if before is not None else ""


def test_renaming_finds_the_name_in_every_sentence_about_a_nodule():
    # Of two points on one nodule nothing is stored.
    found = [text for text in sentences() if not text.startswith(" and ")]
    assert len(found) > 6
    for before in found:
        text = f"{before}nodule looks more like a vessel than a nodule at the nodule's side."
        kept = {"label": "nodule", "warnings": [{"text": text, "about": "nodule"}, {"text": text, "about": "ct"}]}
        renamed = json.loads(records.renamed(json.dumps(kept), r"a\1b"))
        assert renamed["label"] == r"a\1b"
        assert renamed["warnings"][0]["text"] == text.replace(f"{before}nodule", rf"{before}a\1b", 1)
        assert renamed["warnings"][1]["text"] == text
