"""Assessments as CSV and JSON, and the phrases that every way of telling them shares. Needs no torch."""

from __future__ import annotations

import csv
import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import __version__
from ..grades import DISCLAIMER, GRADES, Grade
from ..imaging.volume import Volume
from ..networks.model_package import ModelPackage
from .assessment import Assessment, Calcification, Estimate

T = TypeVar("T")
#: What a results file says it is; raised whenever a reader of older files would misread a new one.
JSON_FORMAT = 1
SUSPICION_MEANS = "chance that at least half of LIDC's readers give malignancy 4 or 5"
CALCIFICATION_MEANS = "share of readers expected to see any"


@dataclass(frozen=True)
class Column:
    """One column of the CSV.

    Attributes
    ----------
    name : str
    meaning : str
        Unit, scale and frame, for people.
    value : callable
        Takes an assessment in which a nodule was found; of another, only ``always`` columns are written.
    always : bool
    """

    name: str
    meaning: str
    value: Callable[[Assessment], str | float]
    always: bool = False


def _of_grade(grade: Grade) -> tuple[Column, ...]:
    name, unit = grade.name, grade.unit or f"{grade.low:g} to {grade.high:g}"
    if name == "calcification":
        # Its codes have no mean, so it has columns of its own.
        return (
            Column("calcification_presence", CALCIFICATION_MEANS, lambda a: known(a.calcification).presence),
            Column(
                "calcification_pattern", "likeliest pattern if there is any", lambda a: known(a.calcification).pattern
            ),
            Column(
                "calcification_pattern_probability",
                "how likely that pattern is among the five",
                lambda a: known(a.calcification).pattern_probability,
            ),
            Column("calcification_word", 'the pattern, or "absent"', lambda a: known(a.calcification).word),
        )
    return (
        Column(name, f"estimate, {unit}", lambda a: a.estimate(name).value),
        Column(f"{name}_low", "lower end of the 80 % interval", lambda a: a.estimate(name).low),
        Column(f"{name}_high", "upper end of the 80 % interval", lambda a: a.estimate(name).high),
        Column(f"{name}_word", "LIDC's word for the estimate", lambda a: a.estimate(name).word),
        Column(f"{name}_percentile", "% of LIDC's nodules with less", lambda a: a.estimate(name).percentile),
    )


#: The CSV's columns, left to right.
COLUMNS = (
    Column("label", "the point's name", lambda a: a.label, always=True),
    Column("r", "the point, RAS mm", lambda a: a.point_ras[0], always=True),
    Column("a", "the point, RAS mm", lambda a: a.point_ras[1], always=True),
    Column("s", "the point, RAS mm", lambda a: a.point_ras[2], always=True),
    Column("nodule_found", "yes or no", lambda a: "no" if a.outline is None else "yes", always=True),
    *(column for grade in GRADES for column in _of_grade(grade)),
    Column("suspicion_probability", SUSPICION_MEANS, lambda a: known(a.suspicion_probability)),
    Column("outline_diameter_mm", "mean of the two axes", lambda a: known(a.outline).diameter_mm),
    Column("outline_long_axis_mm", "longest axial diameter", lambda a: known(a.outline).long_axis_mm),
    Column("outline_short_axis_mm", "the width across it", lambda a: known(a.outline).short_axis_mm),
    Column("outline_volume_mm3", "outlined volume", lambda a: known(a.outline).volume_mm3),
    Column("warnings", "full sentences, a space between", lambda a: " ".join(a.warnings), always=True),
    Column("model_id", "name and hash of the model package", lambda a: a.model_id, always=True),
)


def write_csv(path: Path | str, assessments: Sequence[Assessment]) -> None:
    """One row a nodule, columns as ``COLUMNS`` explains them; cells stay empty where no nodule was found."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in COLUMNS)
        for one in assessments:
            writer.writerow(column.value(one) if one.outline or column.always else "" for column in COLUMNS)


def write_json(path: Path | str, volume: Volume, assessments: Sequence[Assessment], package: ModelPackage) -> None:
    """Write ``as_json`` to a UTF-8 file."""
    Path(path).write_text(dumps(as_json(volume, assessments, package)) + "\n", encoding="utf-8")


def dumps(told: dict[str, Any]) -> str:
    """JSON as the standard has it: what is not finite becomes null."""
    return json.dumps(_finite(told), indent=1, allow_nan=False)


def as_json(volume: Volume, assessments: Sequence[Assessment], package: ModelPackage) -> dict[str, Any]:
    """Everything that is known of the assessments and of what made them, as plain lists, dictionaries and numbers.

    Parameters
    ----------
    volume : Volume
        The CT that was assessed.
    assessments : sequence of Assessment
    package : ModelPackage
        The package that made them.

    Returns
    -------
    dict
        Grade units as in ``grades.GRADES``; lengths in mm, positions in RAS mm. ``nodules[i].slices`` has the slices
        that were graded, each with its offset (mm) from the nodule's centre and, with heatmaps, how much nearer
        (grade units) each grade comes with it alone than with the slice that says least.
    """
    return {
        "format": JSON_FORMAT,
        "disclaimer": DISCLAIMER,
        "versions": _versions(),
        "model": {
            "id": package.model_id,
            "name": package.name,
            "version": package.manifest.version,
            "digest": package.digest,
            "layout": asdict(package.config.layout) | {"planes": list(package.config.layout.planes)},
        },
        "volume": {
            "name": volume.name,
            "identity": volume.identity,
            "digest": volume.digest,
            "shape_kji": list(volume.array.shape),
            "spacing_ijk_mm": volume.spacing_mm.tolist(),
            "ijk_to_ras": volume.ijk_to_ras.tolist(),
            "warnings": list(volume.warnings),
        },
        "nodules": [_nodule(one) for one in assessments],
    }


def size(assessment: Assessment) -> str:
    """Diameter, axes and volume of the outline, for people."""
    outline = known(assessment.outline)
    return (
        f"diameter {outline.diameter_mm:.1f} mm ({outline.long_axis_mm:.1f} × {outline.short_axis_mm:.1f} mm), "
        f"volume {outline.volume_mm3:,.0f} mm³"
    )


def percent(share: float) -> str:
    """A share (0 to 1) as people read it; what is nearly certain never reads as certain."""
    if 0 < share < 0.005 or 0.995 < share < 1:
        return "< 1 %" if share < 0.5 else "> 99 %"
    return f"{100 * share:.0f} %"


def pattern(seen: Calcification) -> str:
    """Calcification's word, and how sure its pattern is where there is one, for people."""
    return seen.word if seen.word == "absent" else f"{seen.word} ({percent(seen.pattern_probability)})"


def along(grade: Grade, value: float) -> float:
    """Where ``value`` (grade units) stands on a drawn scale, 0 to 1; diameters double over equal distances."""
    if grade.logarithmic:
        return math.log(grade.clip(value) / grade.low) / math.log(grade.high / grade.low)
    return grade.fraction(value)


def _nodule(assessment: Assessment) -> dict[str, Any]:
    told: dict[str, Any] = {
        "label": assessment.label,
        "point_ras_mm": list(assessment.point_ras),
        "nodule_found": assessment.outline is not None,
        "warnings": list(assessment.warnings),
        "model_id": assessment.model_id,
    }
    if assessment.outline is None:
        return told
    outline, seen = assessment.outline, known(assessment.calcification)
    estimates = {one.grade.name: _estimate(one) for one in assessment.estimates}
    mean_code = estimates.pop("calcification")
    return {
        **told,
        "suspicion_probability": assessment.suspicion_probability,
        "estimates": estimates,
        "calcification": {
            "presence": seen.presence,
            "pattern": seen.pattern,
            "pattern_probability": seen.pattern_probability,
            "word": seen.word,
            # For comparison with published tables alone: a mean of codes is no pattern, so it has no word.
            "mean_code": {key: value for key, value in mean_code.items() if key != "word"},
        },
        "outline": {
            "centre_ras_mm": outline.centre_ras.tolist(),
            "bounds_ras_mm": outline.bounds_ras.tolist(),
            "diameter_mm": outline.diameter_mm,
            "long_axis_mm": outline.long_axis_mm,
            "short_axis_mm": outline.short_axis_mm,
            "volume_mm3": outline.volume_mm3,
            "slices": outline.slices,
        },
        "slices": _slices(assessment),
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "unit": estimate.grade.unit,
        "word": estimate.word,
        "percentile": estimate.percentile,
    }


def _slices(assessment: Assessment) -> list[dict[str, Any]]:
    stack = known(assessment.stack)
    return [
        {
            "plane": stack.layout.planes[stack.plane[i]],
            "offset_mm": float(stack.offset_mm[i]),
            "weights": {name: float(map_.slice_weights[i]) for name, map_ in assessment.heatmaps.items()},
        }
        for i in np.flatnonzero(stack.valid)
    ]


def _versions() -> dict[str, str | None]:
    """Of everything whose version can change a number; asked of the installed packages, so nothing is imported."""
    return {
        "NoduleRisk": __version__,
        **{name: _version(name) for name in ("torch", "timm", "numpy", "scipy", "SimpleITK")},
        "python": platform.python_version(),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _finite(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _finite(value) for key, value in told.items()}
    if isinstance(told, (list, tuple)):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


def known(value: T | None) -> T:
    """What is always there once a nodule was found."""
    if value is None:
        raise ValueError("no nodule was found at this point: ask for its extent first")
    return value
