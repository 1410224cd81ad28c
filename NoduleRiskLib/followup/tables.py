"""A follow-up as CSV and JSON; positions in RAS mm."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from .. import __version__
from ..grades import DISCLAIMER
from ..results.assessment import Assessment
from ..results.tables import cell
from .comparison import FollowedNodule, FollowUp

#: Left to right: name -> where its value stands in ``nodule_dict``.
COLUMNS: dict[str, tuple[str, ...]] = {
    "label": ("label",),
    "kind": ("growth", "kind"),
    "prior_label": ("prior", "label"),
    "located": ("located",),
    **{f"prior_{axis}": ("place_ras_mm", "prior", axis) for axis in "ras"},
    **{axis: ("place_ras_mm", "current", axis) for axis in "ras"},
    "diameter_before_mm": ("growth", "before", "diameter_mm"),
    "diameter_after_mm": ("growth", "after", "diameter_mm"),
    "volume_before_mm3": ("growth", "before", "volume_mm3"),
    "volume_after_mm3": ("growth", "after", "volume_mm3"),
    "volume_change_percent": ("growth", "volume_change_percent"),
    "limit_percent": ("growth", "limit_percent"),
    "doubling_time_days": ("growth", "doubling_time_days"),
    "mass_before_mg": ("growth", "before", "mass_mg"),
    "mass_after_mg": ("growth", "after", "mass_mg"),
    "mass_change_percent": ("growth", "mass_change_percent"),
    "mass_doubling_time_days": ("growth", "mass_doubling_time_days"),
    "days": ("growth", "days"),
    "prior_date": ("growth", "prior_date"),
    "current_date": ("growth", "current_date"),
    "doubts": ("doubts",),
    "sentence": ("sentence",),
}


def csv_text(followed: FollowUp) -> str:
    """One row a nodule, columns as ``COLUMNS``; empty where there is no such value."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(COLUMNS)
    for one in followed.nodules:
        values = nodule_dict(one) | {"doubts": "; ".join(one.doubts)}
        writer.writerow(cell(_at(values, path)) for path in COLUMNS.values())
    return lines.getvalue()


def json_text(followed: FollowUp) -> str:
    """All of a follow-up but the assessments themselves, as the JSON standard has it."""
    overlap = followed.alignment.overlap
    values = {
        "disclaimer": DISCLAIMER,
        "version": __version__,
        "days": followed.days,
        "prior_date": followed.prior_date and followed.prior_date.isoformat(),
        "current_date": followed.current_date and followed.current_date.isoformat(),
        "warnings": list(followed.warnings),
        "prior_to_current_ras": followed.alignment.prior_to_current.tolist(),
        # Not a number where no lungs were seen, which JSON does not know.
        "lungs_overlap": overlap if overlap == overlap else None,
        "nodules": [nodule_dict(one) for one in followed.nodules],
    }
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def nodule_dict(one: FollowedNodule) -> dict[str, Any]:
    """One nodule as JSON takes it; ``growth`` is null where the other CT does not show its place."""
    return {
        "label": one.label,
        "sentence": one.sentence,
        "prior": _named(one.prior),
        "current": _named(one.current),
        "located": one.located,
        "place_ras_mm": {which: dict(zip("ras", place, strict=True)) for which, place in one.place_ras.items()},
        "growth": one.growth and one.growth.to_dict(),
        "doubts": list(one.doubts),
        "warnings": [warning.text for warning in one.warnings],
    }


def _named(assessment: Assessment | None) -> dict[str, Any] | None:
    return None if assessment is None else {"label": assessment.point.label, "model_id": assessment.model_id}


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = None if values is None else values.get(key)
    return values
