"""The one codec of assessments: a dictionary for JSON, and small volumes for what is an array. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from ..errors import NoduleRiskError
from ..explain.heatmap import Heatmap
from ..grades import GRADES, OTHER_GRADES
from ..imaging.dicom_facts import ImageReference
from ..imaging.outline import Outline
from ..imaging.resampling import paste, sample
from ..imaging.slice_stack import Layout, SliceStack
from ..imaging.solid_part import SolidPart
from ..imaging.volume import Array, Volume
from ..similar.reference_set import SimilarNodule
from .nodule import Account, Calcification, Estimate, Nodule, Term

#: Raised whenever an older NoduleRisk would misread what is written. 1 was written by version 0.1.0.
FORMAT = 2
#: Key of the outline among the maps; the others are grades' names.
OUTLINE = "outline"


def nodule_maps(nodule: Nodule) -> dict[str, Volume]:
    """The arrays over pixels of a nodule as small float32 volumes in RAS, 0 to 1.

    Returns
    -------
    dict
        "outline" and, with heatmaps, every grade's in-slice map by its name. Names of maps of a layout's second and
        third planes end in the plane's name.
    """
    layout = nodule.stack.layout
    arrays = {OUTLINE: nodule.stack.outline} | {name: map_.in_slice for name, map_ in nodule.heatmaps.items()}
    return {
        _key(name, plane, layout): volume
        for name, values in arrays.items()
        for plane, volume in paste(nodule.stack, values).items()
    }


def in_todays_form(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What ``Assessment.to_dict`` of this or an older version gave, as today's gives it.

    Raises
    ------
    NoduleRiskError
        If a newer version wrote it.
    """
    written = int(values.get("format", 1))
    if written > FORMAT:
        raise NoduleRiskError(
            f"This assessment has format {written}, and this NoduleRisk reads up to {FORMAT}: update NoduleRisk."
        )
    return values if written > 1 else _from_format_1(values)


@contextmanager
def damage_told() -> Iterator[None]:
    """Make one sentence of whatever damaged values raise when they are read."""
    try:
        yield
    except NoduleRiskError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise NoduleRiskError("A stored assessment is damaged: assess that point again.") from error


def nodule_to_dict(nodule: Nodule) -> dict[str, Any]:
    """Everything of a nodule but its arrays over pixels, as JSON takes it.

    Returns
    -------
    dict
        ``suspicion_probability`` (0 to 1), ``estimates`` (by grade, grade units), ``calcification``, ``outline``
        (RAS mm, mm, mm3), ``solid_part`` (mm, mm3; or null), ``repeatability`` (``diameter_percent`` and
        ``volume_percent``; or null), ``account`` (log-odds of LIDC's average nodule, by grade the value and what it
        adds, and the probability that they lead to; or null), ``similar`` (the most similar LIDC nodules, as
        ``SimilarNodule`` has them) and ``stack``: the layout and each graded slice with its
        offset (mm) from the nodule's centre, its ``ijk_to_ras`` and, with heatmaps, its slice weights by grade.
    """
    estimates = {
        one.grade.name: {
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "unit": one.grade.unit,
            "word": one.word,
            "percentile": one.percentile,
        }
        for one in nodule.estimates
    }
    # For comparison with published tables alone: a mean over codes is no pattern, so it has no word.
    mean_code = {key: value for key, value in estimates.pop("calcification").items() if key != "word"}
    outline, stack = nodule.outline, nodule.stack
    return {
        "suspicion_probability": nodule.suspicion_probability,
        "estimates": estimates,
        "calcification": {
            **asdict(nodule.calcification),
            "word": nodule.calcification.word,
            "mean_code": mean_code,
        },
        "outline": {
            "centre_ras_mm": outline.centre_ras.tolist(),
            "bounds_ras_mm": outline.bounds_ras.tolist(),
            **{name: getattr(outline, name) for name in (*SIZES, "slices", "drawn_by", "unsure")},
        },
        "solid_part": nodule.solid_part and asdict(nodule.solid_part),
        "repeatability": nodule.repeatability
        and dict(zip(("diameter_percent", "volume_percent"), nodule.repeatability, strict=True)),
        "account": nodule.account and _account_to_dict(nodule.account),
        "similar": [{**asdict(one), "malignancy": list(one.malignancy)} for one in nodule.similar],
        "stack": {
            "layout": asdict(stack.layout) | {"planes": list(stack.layout.planes)},
            "slices": [
                {
                    "index": int(i),
                    "plane": stack.layout.planes[stack.plane[i]],
                    "offset_mm": float(stack.offset_mm[i]),
                    "ijk_to_ras": stack.ijk_to_ras[i].tolist(),
                    "weights": {name: float(map_.slice_weights[i]) for name, map_ in nodule.heatmaps.items()},
                }
                for i in np.flatnonzero(stack.valid)
            ],
        },
    }


#: What is measured on an outline, mm and mm3.
SIZES = ("diameter_mm", "long_axis_mm", "short_axis_mm", "volume_mm3")


def nodule_from_dict(values: Mapping[str, Any], maps: Mapping[str, Volume], volume: Volume | None = None) -> Nodule:
    """The nodule that ``nodule_to_dict`` and ``nodule_maps`` describe; parameters as of ``Assessment.from_dict``."""
    stack = _to_stack(values["stack"], maps, volume)
    calcification = values["calcification"]
    # In the order of the grades, in which the mean code stands before the diameter.
    estimates = values["estimates"] | {"calcification": calcification["mean_code"]}
    outline = values["outline"]
    # None of these was known to what was stored before.
    solid, repeated, account = (values.get(name) for name in ("solid_part", "repeatability", "account"))
    weights: dict[str, Array] = {}
    for one in values["stack"]["slices"]:
        for name, weight in one["weights"].items():
            weights.setdefault(name, np.zeros(len(stack.valid), np.float32))[one["index"]] = weight
    return Nodule(
        outline=Outline(
            centre_ras=np.array(outline["centre_ras_mm"], float),
            bounds_ras=np.array(outline["bounds_ras_mm"], float),
            probability=maps.get(OUTLINE) or next(iter(paste(stack, stack.outline).values())),
            **{name: _size(outline[name]) for name in SIZES},
            slices=int(outline["slices"]),
            drawn_by="user" if outline["drawn_by"] == "user" else "network",
            # Before outlines could be unsure, none was.
            unsure=bool(outline.get("unsure", False)),
        ),
        estimates=tuple(
            Estimate(one, *(float(estimates[one.name][key]) for key in ("value", "low", "high", "percentile")))
            for one in GRADES
        ),
        calcification=Calcification(
            float(calcification["presence"]), calcification["pattern"], float(calcification["pattern_probability"])
        ),
        suspicion_probability=float(values["suspicion_probability"]),
        stack=stack,
        heatmaps={
            name: Heatmap(of_slices, stack.valid, _on_slices(name, stack, maps)[stack.valid])
            for name, of_slices in weights.items()
        },
        solid_part=SolidPart(**{one.name: _size(solid[one.name]) for one in fields(SolidPart)}) if solid else None,
        repeatability=(_size(repeated["diameter_percent"]), _size(repeated["volume_percent"])) if repeated else None,
        account=_to_account(account) if account else None,
        similar=tuple(map(SimilarNodule.from_dict, values.get("similar", ()))),
    )


def image_from_dict(values: Mapping[str, Any]) -> ImageReference:
    """The image that ``Assessment.to_dict`` names."""
    number = values["number"]
    texts = (str(values[name]) for name in ("series_uid", "series_number", "sop_uid"))
    series_uid, series_number, sop_uid = texts
    return ImageReference(series_uid, series_number, None if number is None else int(number), sop_uid)


def _account_to_dict(account: Account) -> dict[str, Any]:
    return {
        "intercept": account.intercept,
        "terms": {term.grade.name: {"value": term.value, "adds": term.adds} for term in account.terms},
        "probability": account.probability,
    }


def _to_account(values: Mapping[str, Any]) -> Account:
    terms = ((grade, values["terms"][grade.name]) for grade in OTHER_GRADES)
    return Account(
        _size(values["intercept"]), tuple(Term(grade, _size(one["value"]), _size(one["adds"])) for grade, one in terms)
    )


def _size(value: Any) -> float:
    """A finite number, as sizes and terms are; raises ``ValueError`` or ``TypeError`` for any other value."""
    size = float(value)
    if not math.isfinite(size):
        raise ValueError("a size without end")
    return size


def _to_stack(values: Mapping[str, Any], maps: Mapping[str, Volume], volume: Volume | None) -> SliceStack:
    layout = Layout(**{**values["layout"], "planes": tuple(values["layout"]["planes"])})
    count = layout.slices * len(layout.planes)
    valid, offset_mm, matrices = np.zeros(count, bool), np.zeros(count), np.tile(np.eye(4), (count, 1, 1))
    for one in values["slices"]:
        valid[one["index"]], offset_mm[one["index"]] = True, one["offset_mm"]
        matrices[one["index"]] = one["ijk_to_ras"]
    pixels = np.zeros((count, layout.pixels, layout.pixels), np.float32)
    plane = np.repeat(np.arange(len(layout.planes)), layout.slices)
    stack = SliceStack(pixels, np.zeros_like(pixels), matrices, plane, offset_mm, valid, layout)
    stack.outline[...] = _on_slices(OUTLINE, stack, maps)
    if volume is not None:
        stack.pixels[valid] = sample(volume, stack.pixels_ras()[valid])
    return stack


def _on_slices(name: str, stack: SliceStack, maps: Mapping[str, Volume]) -> Array:
    """A map's values on the slices of a stack, (S, h, w): ``resampling.paste`` the other way."""
    values = np.zeros((len(stack.valid), stack.layout.pixels, stack.layout.pixels), np.float32)
    for index, plane in enumerate(stack.layout.planes):
        here = np.flatnonzero((stack.plane == index) & stack.valid)
        pasted = maps.get(_key(name, plane, stack.layout))
        if here.size and pasted is not None:
            values[here[0] : here[-1] + 1] = pasted.array
    return values


def _key(name: str, plane: str, layout: Layout) -> str:
    return name if plane == layout.planes[0] else f"{name} {plane}"


def _from_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    """What version 0.1.0 kept of an assessment, in today's form."""
    found = "extent" in values
    return {
        "point_ras_mm": values["point_ras"],
        "label": values["label"],
        # It did not say which of them were about the whole CT.
        "warnings": [{"text": text, "about": "nodule"} for text in values["warnings"]],
        "model_id": values["model_id"],
        "nodule": _nodule_of_format_1(values) if found else None,
    }


def _nodule_of_format_1(values: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("value", "low", "high", "percentile")
    estimates = {name: dict(zip(keys, numbers, strict=True)) for name, numbers in values["estimates"].items()}
    outline, stack = dict(values["extent"]), values["stack"]
    diameter = estimates["diameter"]
    # It showed the graders' diameter beside the outline's; there is one now, the outline's.
    ratio = outline["diameter_mm"] / diameter["value"]
    estimates["diameter"] = diameter | {key: ratio * diameter[key] for key in ("value", "low", "high")}
    planes = stack["layout"]["planes"]
    return {
        "suspicion_probability": values["suspicion_probability"],
        "calcification": values["calcification"] | {"mean_code": estimates.pop("calcification")},
        "estimates": estimates,
        "outline": outline
        | {"drawn_by": "network", "centre_ras_mm": outline["centre_ras"], "bounds_ras_mm": outline["bounds_ras"]},
        "stack": {
            "layout": stack["layout"],
            "slices": [
                {
                    "index": index,
                    "plane": planes[index // stack["layout"]["slices"]],
                    "offset_mm": stack["offset_mm"][n],
                    "ijk_to_ras": stack["ijk_to_ras"][n],
                    "weights": {name: of_slices[n] for name, of_slices in values["slice_weights"].items()},
                }
                for n, index in enumerate(stack["valid"])
            ],
        },
    }
