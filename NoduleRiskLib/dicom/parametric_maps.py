"""A grade's heatmap as DICOM Parametric Maps: the map's own pixels, unchanged, where they lie in the CT's space."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np

from ..imaging.volume import LPS_TO_RAS, Volume
from ..results.assessment import Assessment
from .codes import HEATMAP, ONE
from .identity import Tracking, coded, fingerprint, made_by, short
from .library import highdicom
from .source import Source


def parametric_maps(
    source: Source, assessments: Sequence[Assessment], tracked: Sequence[Tracking], grade: str
) -> list[Any]:
    """One map for each nodule that has a heatmap of that grade, and for each plane of its slices."""
    about = [
        (one, of, name, volume)
        for one, of in zip(assessments, tracked, strict=True)
        if one.nodule is not None and grade in one.nodule.heatmaps
        for name, volume in one.nodule.heatmap_volumes(grade).items()
    ]
    content = (grade, *(fingerprint(one) for one, *_ in about))
    return [
        _map(source, one, of, grade, plane, volume, made_by(source, "PM", content, number, one.model_id))
        for number, (one, of, plane, volume) in enumerate(about, 1)
    ]


def _map(
    source: Source,
    assessment: Assessment,
    tracked: Tracking,
    grade: str,
    plane: str,
    volume: Volume,
    about: dict[str, Any],
) -> Any:
    hd = highdicom()
    values = np.ascontiguousarray(volume.array, np.float32)
    to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    columns, rows, _ = (to_lps[:3, axis] / volume.spacing_mm[axis] for axis in range(3))
    places = [to_lps[:3, 3] + k * to_lps[:3, 2] for k in range(len(values))]
    # What the map was made of: every slice of the CT that it reaches.
    ends = [source.slice_of(corner) for corner in volume.corners_ras()]
    images = source.images(range(min(ends), max(ends) + 1))
    written = hd.pm.ParametricMap(
        images,
        values,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            hd.pm.RealWorldValueMapping(
                lut_label=short(grade, 16).upper(),
                lut_explanation=short(f"Heatmap of {grade}", 64),
                unit=coded(ONE),
                value_range=(0.0, 1.0),
                slope=1,
                intercept=0,
                quantity_definition=coded(HEATMAP),
            )
        ],
        **_window(hd),
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=volume.spacing_mm[[1, 0]].tolist(),
            slice_thickness=float(volume.spacing_mm[2]),
            spacing_between_slices=float(volume.spacing_mm[2]),
        ),
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", [*columns.tolist(), *rows.tolist()]),
        plane_positions=[hd.PlanePositionSequence("PATIENT", place.tolist()) for place in places],
        content_label="HEATMAP",
        content_description=short(f"{grade} of {tracked.identifier}, {plane}", 64),
        **about,
    )
    # A chest is no paired part, which whoever reads the object cannot know (PS3.3 C.7.3.1, Laterality).
    written.BodyPartExamined = "CHEST"
    return written


def _window(hd: Any) -> dict[str, Any]:
    """The window from 0 to 1: highdicom before 0.28, which Slicer 5.12 brings along, takes its two numbers."""
    if "voi_lut_transformations" in signature(hd.pm.ParametricMap).parameters:
        return {"voi_lut_transformations": [hd.VOILUTTransformation(window_center=0.5, window_width=1.0)]}
    return {"window_center": 0.5, "window_width": 1.0}
