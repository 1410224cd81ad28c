"""DICOM series of scans in any orientation, and assessments of the nodules in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from NoduleRiskLib.errors import InputWarning
from NoduleRiskLib.explain.heatmap import Heatmap
from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.outline import Outline, measure
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.solid_part import SolidPart
from NoduleRiskLib.imaging.volume import LPS_TO_RAS, Array, Volume, middle_image
from NoduleRiskLib.results.assessment import Assessment, Calcification, Estimate, Nodule
from Testing.unit.imaging.made_scans import write_slice

#: Where the ball lies: the middle of the scans that ``paint`` makes.
CENTRE = np.array([-37.3, 61.8, -204.6])
LAYOUT = Layout("toy", slices=15, pixels=20, pixel_mm=1.1, step_mm=2.0)
#: A patient whose name needs more than ASCII.
PATIENT = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller^Jürgen",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19601126",
    "PatientSex": "M",
    "PatientAge": "061Y",
    "StudyDate": "20260102",
    "StudyTime": "101112",
    "StudyID": "17",
    "AccessionNumber": "A-99",
    "ReferringPhysicianName": "Arzt^Anna",
    "SeriesNumber": 3,
    "AcquisitionDate": "20260102",
}


def series_of(folder: Path, volume: Volume, reverse: bool = False, **told: Any) -> Volume:
    """Write a scan as a DICOM series and read it again.

    Parameters
    ----------
    folder : Path
    volume : Volume
        HU, in any orientation with i and j at right angles.
    reverse : bool
        Number its images from its last slice down.
    told : elements
        That differ from ``PATIENT`` and a plain chest CT (None leaves one out).
    """
    folder.mkdir(exist_ok=True)
    to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    cosines = (to_lps[:3, :2] / volume.spacing_mm[:2]).T
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    hu = np.rint(volume.array).astype(np.int16)
    for k, one in enumerate(hu):
        number = len(hu) - k if reverse else k + 1
        elements = {
            **uids,
            **PATIENT,
            "PixelSpacing": [f"{x:.8g}" for x in volume.spacing_mm[[1, 0]]],
            "SliceThickness": f"{volume.spacing_mm[2]:.6g}",
            "InstanceNumber": number,
            **told,
        }
        write_slice(folder / f"{number:03}.dcm", one, to_lps[:3, 3] + k * to_lps[:3, 2], cosines, **elements)
    return read(folder)


def lps_of(dataset: Any, frame: int) -> Array:
    """Where the corner of a frame of a multi-frame object lies, LPS mm, shape (3,)."""
    group = dataset.PerFrameFunctionalGroupsSequence[frame]
    return np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)


def found_in(volume: Volume, label: str = "nodule 1", radius_mm: float = 6.0, shift: Array | float = 0.0) -> Assessment:
    """An assessment of a ball around ``CENTRE`` whose grades have decimals that no short number holds."""
    centre = CENTRE + shift
    stack = cut(volume, centre, Layout("outline", slices=25, pixels=32))
    distance_mm = np.linalg.norm(stack.pixels_ras() - centre, axis=-1)
    outline = measure(stack, np.clip(0.5 + radius_mm - distance_mm, 0, 1).astype(np.float32))
    assert outline is not None
    one = toy_nodule(volume, outline)
    r, a, s = (centre + 0.3).tolist()
    return Assessment(
        Point(label, (r, a, s)),
        (InputWarning("The nodule touches a vessel.", "nodule", "vessel?"),),
        "toy@0123456789ab",
        one,
        middle_image(volume, outline.centre_ras),
    )


def toy_nodule(volume: Volume, outline: Outline) -> Nodule:
    """A nodule with that outline, grades of many decimals, a solid part and heatmaps."""
    stack = cut(volume, outline.centre_ras, LAYOUT, outline.bounds_ras, outline.probability)
    rng = np.random.default_rng(1)
    values = {
        one.name: outline.diameter_mm if one.name == "diameter" else rng.uniform(one.low, one.high) for one in GRADES
    }
    heat = (stack.outline * rng.uniform(0, 1, stack.outline.shape)).astype(np.float32)
    return Nodule(
        outline=outline,
        estimates=tuple(
            Estimate(one, values[one.name], values[one.name] - 1 / 7, values[one.name] + 1 / 3, 100 / 3)
            for one in GRADES
        ),
        calcification=Calcification(2 / 3, "central", 5 / 9),
        suspicion_probability=6 / 7,
        stack=stack,
        heatmaps={
            name: Heatmap(np.ones(len(stack.valid), np.float32), stack.valid, heat[stack.valid])
            for name in ("malignancy", "texture")
        },
        solid_part=SolidPart(long_axis_mm=4.1, short_axis_mm=3.3, diameter_mm=3.7, volume_mm3=29.9),
    )


def sentences(report: Any) -> list[str]:
    """All texts of a report."""
    return [str(item.TextValue) for item in _items(report) if item.ValueType == "TEXT"]


def _items(parent: Any) -> Iterator[Any]:
    for item in parent.get("ContentSequence", ()):
        yield item
        yield from _items(item)
