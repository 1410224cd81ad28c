"""Assessments as tables: CSV, a pandas frame, and JSON with all that is needed to repeat a result. Needs no torch."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..grades import DISCLAIMER, GRADES, OTHER_GRADES, Grade
from .phrases import CALCIFICATION_MEANS, SUSPICION_MEANS
from .serialization import FORMAT

if TYPE_CHECKING:
    import pandas as pd

    from ..imaging.volume import Volume
    from .assessment import Assessment

#: A cell that begins so is a formula to a spreadsheet (OWASP, "CSV injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Column:
    """One column of the tables.

    Attributes
    ----------
    name : str
    meaning : str
        Unit, scale and frame, for people.
    path : tuple of str or int
        Where the value stands in ``Assessment.to_dict``; empty for what the CT tells (``CT_COLUMNS``).
    text : bool
        Whether it is text; the others are numbers.
    optional : bool
        Whether a nodule may lack it.
    """

    name: str
    meaning: str
    path: tuple[str | int, ...]
    text: bool = False
    optional: bool = False


def _of_grade(grade: Grade) -> tuple[Column, ...]:
    name, unit = grade.name, grade.unit or f"{grade.low:g} to {grade.high:g}"
    if name == "calcification":
        # Its codes have no mean, so it has columns of its own.
        at: tuple[str, ...] = ("nodule", "calcification")
        return (
            Column("calcification_presence", CALCIFICATION_MEANS, (*at, "presence")),
            Column("calcification_pattern", "most likely pattern if there is any", (*at, "pattern"), text=True),
            Column(
                "calcification_pattern_probability",
                "how likely that pattern is among the five",
                (*at, "pattern_probability"),
            ),
            Column("calcification_word", 'the pattern, or "absent"', (*at, "word"), text=True),
        )
    at = ("nodule", "estimates", name)
    return (
        Column(name, f"estimate, {unit}", (*at, "value")),
        Column(f"{name}_low", "lower end of the 80 % interval", (*at, "low")),
        Column(f"{name}_high", "upper end of the 80 % interval", (*at, "high")),
        Column(f"{name}_word", "LIDC's word for the estimate", (*at, "word"), text=True),
        Column(f"{name}_percentile", "% of LIDC's nodules with less", (*at, "percentile")),
    )


SOLID_PART, ACCOUNT = ("nodule", "solid_part"), ("nodule", "account")
#: Left to right.
COLUMNS = (
    Column("label", "the point's name", ("label",), text=True),
    *(Column(axis, "the point, RAS mm", ("point_ras_mm", n)) for n, axis in enumerate("ras")),
    Column("nodule_found", "yes or no", ("nodule_found",), text=True),
    Column("doubts", 'what is doubtful about this nodule, between them "; "', ("doubts",), text=True),
    *(column for grade in GRADES for column in _of_grade(grade)),
    Column("suspicion_probability", SUSPICION_MEANS, ("nodule", "suspicion_probability")),
    *(
        Column(
            f"{grade.name}_adds",
            "what it adds to the log-odds of suspicion, against LIDC's average nodule",
            (*ACCOUNT, "terms", grade.name, "adds"),
            optional=True,
        )
        for grade in OTHER_GRADES
    ),
    Column("accounted_probability", "where these terms lead", (*ACCOUNT, "probability"), optional=True),
    Column("similar_nodules", 'the most similar LIDC nodules, between them "; "', ("similar_nodules",), text=True),
    Column("similar_malignancy", "mean of their readers' malignancy", ("similar_malignancy",), optional=True),
    Column("outline_by", "network or user: who drew the outline", ("nodule", "outline", "drawn_by"), text=True),
    Column("outline_unsure", "yes or no", ("outline_unsure",), text=True),
    Column("outline_long_axis_mm", "longest axial diameter", ("nodule", "outline", "long_axis_mm")),
    Column("outline_short_axis_mm", "the width across it", ("nodule", "outline", "short_axis_mm")),
    Column("outline_volume_mm3", "outlined volume", ("nodule", "outline", "volume_mm3")),
    Column("solid_part_diameter_mm", "mean of the two axes, by threshold", (*SOLID_PART, "diameter_mm"), optional=True),
    Column("solid_part_volume_mm3", "solid volume, by threshold", (*SOLID_PART, "volume_mm3"), optional=True),
    Column("series_uid", "SeriesInstanceUID of a CT from DICOM", ("image", "series_uid"), text=True, optional=True),
    Column("series_number", "its SeriesNumber", ("image", "series_number"), text=True, optional=True),
    Column("image_number", "InstanceNumber of the nodule's middle slice", ("image", "number"), optional=True),
    Column("sop_uid", "its SOPInstanceUID", ("image", "sop_uid"), text=True, optional=True),
    Column("warnings", "full sentences about this nodule", ("warnings",), text=True),
    Column("ct_warnings", "full sentences about the whole CT", ("ct_warnings",), text=True),
    Column("model_id", "name and hash of the model package", ("model_id",), text=True),
)
#: Beside them in files, so that rows of several CTs can be put together; no patient's name is among them.
CT_COLUMNS = (
    Column("ct", "the CT: name of its file, folder or node", (), text=True),
    Column("ct_digest", "SHA-256 of the CT's voxels and their place", (), text=True),
)


def _of_ct(volume: Volume | None) -> dict[str, str]:
    """What every row says of its CT, by column: ``CT_COLUMNS``, and the series where it is known."""
    if volume is None:
        return {}
    series_uid = volume.identity.get("SeriesInstanceUID", "")
    of_series = {"series_uid": series_uid} if series_uid else {}
    return {**of_series, "ct": volume.name, "ct_digest": volume.digest}


def _columns(volume: Volume | None) -> tuple[Column, ...]:
    return (*COLUMNS, *CT_COLUMNS) if volume else COLUMNS


def row(assessment: Assessment | Mapping[str, Any]) -> dict[str, str | float | None]:
    """One assessment (or what ``to_dict`` made of it) by column; ``None`` for what a point without a nodule lacks."""
    values = assessment if isinstance(assessment, Mapping) else assessment.to_dict()
    nodule, warnings = values["nodule"], values["warnings"]
    similar = nodule.get("similar", ()) if nodule else ()
    malignancy = [one["grades"]["malignancy"] for one in similar]
    values = {
        # Not known to what was stored before.
        "image": None,
        **values,
        "nodule_found": "no" if nodule is None else "yes",
        "outline_unsure": None if nodule is None else "yes" if nodule["outline"]["unsure"] else "no",
        "doubts": "; ".join(values["doubts"]),
        "similar_nodules": "; ".join(one["name"] for one in similar),
        "similar_malignancy": sum(malignancy) / len(malignancy) if malignancy else None,
        "warnings": " ".join(one["text"] for one in warnings if one["about"] == "nodule"),
        "ct_warnings": " ".join(one["text"] for one in warnings if one["about"] == "ct"),
    }
    return {column.name: _at(values, column.path) for column in COLUMNS}


def to_frame(assessments: Sequence[Assessment], volume: Volume | None = None) -> pd.DataFrame:
    """Assessments as a pandas frame: one row per point, columns as ``COLUMNS`` explains them, numbers as numbers.

    With their CT, each row names it in ``CT_COLUMNS``.
    """
    import pandas as pd

    columns, ct = _columns(volume), _of_ct(volume)
    rows = [{**row(one), **ct} for one in assessments]
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    kinds = {column.name: "object" if column.text else "float64" for column in columns}
    return frame.astype(kinds)


def csv_text(assessments: Sequence[Assessment], volume: Volume | None = None) -> str:
    """A CSV table with one row per point, columns as ``COLUMNS`` explains them; cells without a value stay empty.

    With their CT, each row names it in ``CT_COLUMNS``. Text that a spreadsheet would run as a formula gets an
    apostrophe in front.
    """
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(column.name for column in _columns(volume))
    ct = _of_ct(volume)
    for one in assessments:
        writer.writerow(cell(value) for value in {**row(one), **ct}.values())
    return lines.getvalue()


def json_text(
    volume: Volume,
    assessments: Sequence[Assessment],
    model: Mapping[str, Any] | None = None,
    files: Sequence[str] = (),
) -> str:
    """``as_json`` as the standard has it: what is not finite becomes null."""
    return json.dumps(_finite(as_json(volume, assessments, model, files)), indent=1, allow_nan=False) + "\n"


def as_json(
    volume: Volume,
    assessments: Sequence[Assessment],
    model: Mapping[str, Any] | None = None,
    files: Sequence[str] = (),
) -> dict[str, Any]:
    """The assessments of one CT with everything that made them, as plain lists, dictionaries and numbers.

    Parameters
    ----------
    volume : Volume
        The CT that was assessed.
    assessments : sequence of Assessment
        Each names the model package that graded it.
    model : mapping, optional
        More on that package, where it is at hand.
    files : sequence of str
        Names of the files that were written beside it.

    Returns
    -------
    dict
        ``nodules[i]`` is ``to_dict`` of assessment ``i``: grade units as in ``grades.GRADES``, lengths in mm,
        positions in RAS mm.
    """
    return {
        "format": FORMAT,
        "disclaimer": DISCLAIMER,
        "versions": versions(),
        "model": {"id": ", ".join(sorted({one.model_id for one in assessments})), **(model or {})},
        "volume": {
            "name": volume.name,
            "identity": volume.identity,
            "digest": volume.digest,
            "shape_kji": list(volume.array.shape),
            "spacing_ijk_mm": volume.spacing_mm.tolist(),
            "ijk_to_ras": volume.ijk_to_ras.tolist(),
            "warnings": _about_ct(volume, assessments),
        },
        "nodules": [one.to_dict() for one in assessments],
        "files": list(files),
    }


def _about_ct(volume: Volume, assessments: Sequence[Assessment]) -> list[str]:
    """What is unusual about the whole CT, each sentence once."""
    found = [warning.text for one in assessments for warning in one.warnings if warning.about == "ct"]
    return list(dict.fromkeys([*volume.warnings, *found]))


def _at(values: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        if values is None:
            return None
        values = values[key]
    return values


def cell(value: str | float | None) -> str | float:
    """A value as a table's cell: what is missing is empty, and text that would be a formula gets an apostrophe."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    return "" if value is None else value


def versions() -> dict[str, str | None]:
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


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
