"""SEG, RTSTRUCT and structured reports that were changed, our own report with its segmentation among them."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from NoduleRiskLib.dicom.reading import read_assessments
from NoduleRiskLib.dicom.writing import dicom_objects
from NoduleRiskLib.imaging.dicom_objects import modality
from NoduleRiskLib.imaging.inputs import as_points
from NoduleRiskLib.imaging.reading import read as read_ct
from NoduleRiskLib.imaging.segmentation_files import read as read_segments
from NoduleRiskLib.imaging.volume import LPS_TO_RAS, Volume
from Testing.unit.dicom.made_series import CENTRE, found_in, series_of
from Testing.unit.imaging import made_objects as made

from .mutations import changed
from .trying import Case

NAMES = ("rtstruct.dcm", "sr.dcm", "seg.dcm")
#: What NoduleRisk wrote itself, read together.
OWN = ("own-sr.dcm", "own-seg.dcm")
CT = made.made_ct(np.diag([-0.7, -0.7, 2.0]))


def read(path: Path) -> object:
    """What is tried."""
    if path.name in OWN:
        return read_assessments(path.with_name(OWN[0]), _ct_beside(path))
    return as_points(path, CT) if modality(path) == "SR" else read_segments(path, CT)


def _ct_beside(path: Path) -> Volume:
    """The CT of the case's own files."""
    with tempfile.TemporaryDirectory() as folder:
        for one in path.parent.glob("ct-*"):
            shutil.copy(one, folder)
        return read_ct(folder)


@cache
def good() -> dict[str, bytes]:
    """A good object of each kind."""
    nodule = made.ball(CT, (6, 20, 20), 5.0)
    middle = (CT.to_ras(np.array([20, 20, 6])) * np.diag(LPS_TO_RAS)[:3]).tolist()
    report = made.report(
        [made.tracking("a"), made.place_3d("POINT", middle)],
        [made.measured(made.place_2d("POINT", [20.5, 20.5], f"{made.SERIES_UID}.6"))],
    )
    objects = (made.structure_set({"a": made.contours(CT, nodule)}), report, made.segmentation(CT, {"a": nodule}))
    return {name: made.as_bytes(one) for name, one in zip(NAMES, objects, strict=True)}


@cache
def own() -> dict[str, bytes]:
    """A CT, a good report of our own, and its segmentation."""
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    matrix[:3, 3] = CENTRE - (20, 20, 16)
    hu = np.full((17, 41, 41), -850, np.int16)
    hu[6:11, 15:26, 15:26] = 40
    with tempfile.TemporaryDirectory() as folder:
        ct = series_of(Path(folder), Volume(hu, matrix, "ct"))
        slices = {f"ct-{path.name}": path.read_bytes() for path in Path(folder).iterdir()}
        found = dicom_objects(ct, [found_in(ct, radius_mm=5.0)], heatmap="none")
    by_kind = {one.Modality: made.as_bytes(one) for one in found}
    return slices | {OWN[0]: by_kind["SR"], OWN[1]: by_kind["SEG"]}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One object with a few changes."""
    target = draw(st.sampled_from((*NAMES, *OWN)))
    if target in OWN:
        return Case(own() | {target: draw(changed(own()[target]))}, target)
    return Case({target: draw(changed(good()[target]))}, target)
