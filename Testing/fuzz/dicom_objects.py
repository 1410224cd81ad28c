"""SEG, RTSTRUCT and structured reports that were changed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from NoduleRiskLib.imaging.dicom_objects import modality
from NoduleRiskLib.imaging.inputs import as_points
from NoduleRiskLib.imaging.segmentation_files import read as read_segments
from NoduleRiskLib.imaging.volume import LPS_TO_RAS
from Testing.unit.imaging import made_objects as made

from .mutations import changed
from .trying import Case

NAMES = ("rtstruct.dcm", "sr.dcm", "seg.dcm")
CT = made.made_ct(np.diag([-0.7, -0.7, 2.0]))


def read(path: Path) -> object:
    """What is tried."""
    return as_points(path, CT) if modality(path) == "SR" else read_segments(path, CT)


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


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One object with a few changes."""
    target = draw(st.sampled_from(NAMES))
    return Case({target: draw(changed(good()[target]))}, target)
