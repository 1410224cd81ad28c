"""An assessment as text and small volumes, and back: the form in which a scene keeps it. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..explain.heatmap import Heatmap
from ..grades import grade
from ..imaging.outline import Outline
from ..imaging.resampling import paste, sample
from ..imaging.slice_stack import Layout, SliceStack
from ..imaging.volume import Array, Volume
from .assessment import Assessment, Calcification, Estimate

#: Key of the nodule's outline among the maps; the others are grades' names.
OUTLINE = "outline"


@dataclass(frozen=True, eq=False)
class Record:
    """All of an assessment but the CT's own voxels.

    Attributes
    ----------
    text : str
        JSON: everything that is not an array over pixels.
    maps : dict of str to Volume
        float32, 0 to 1: "outline" and, with heatmaps, every grade's in-slice map, in RAS. Names of maps of a
        layout's second and third planes end in the plane's name. Empty where no nodule was found.
    """

    text: str
    maps: dict[str, Volume]


def pack(assessment: Assessment) -> Record:
    """What is to be kept of an assessment."""
    told: dict[str, Any] = {
        "label": assessment.label,
        "point_ras": list(assessment.point_ras),
        "warnings": list(assessment.warnings),
        "model_id": assessment.model_id,
    }
    outline, stack, seen = assessment.outline, assessment.stack, assessment.calcification
    if outline is None or stack is None or seen is None:
        return Record(json.dumps(told), {})
    told["suspicion_probability"] = assessment.suspicion_probability
    told["estimates"] = {e.grade.name: [e.value, e.low, e.high, e.percentile] for e in assessment.estimates}
    told["calcification"] = asdict(seen)
    told["extent"] = {
        "centre_ras": outline.centre_ras.tolist(),
        "bounds_ras": outline.bounds_ras.tolist(),
        "diameter_mm": outline.diameter_mm,
        "long_axis_mm": outline.long_axis_mm,
        "short_axis_mm": outline.short_axis_mm,
        "volume_mm3": outline.volume_mm3,
        "slices": outline.slices,
    }
    valid = np.flatnonzero(stack.valid)
    told["stack"] = {
        "layout": asdict(stack.layout),
        "valid": valid.tolist(),
        "offset_mm": stack.offset_mm[valid].tolist(),
        "ijk_to_ras": stack.ijk_to_ras[valid].tolist(),
    }
    told["slice_weights"] = {name: map_.slice_weights[valid].tolist() for name, map_ in assessment.heatmaps.items()}
    maps = {
        _key(name, plane, stack.layout): volume
        for name, values in [(OUTLINE, stack.outline), *((n, h.in_slice) for n, h in assessment.heatmaps.items())]
        for plane, volume in paste(stack, values).items()
    }
    return Record(json.dumps(told), maps)


def unpack(text: str, maps: Mapping[str, Volume], volume: Volume | None = None) -> Assessment:
    """The assessment of a record.

    Parameters
    ----------
    text : str
    maps : mapping of str to Volume
        As in ``Record``; a missing one stands for a map of zeros.
    volume : Volume, optional
        The CT: with it the slices have their pixels (HU) again, without they are 0.

    Returns
    -------
    Assessment
        As it was packed, but for this: the outline is known on the graded slices alone.
    """
    told = json.loads(text)
    r, a, s = told["point_ras"]
    kept: dict[str, Any] = {
        "label": told["label"],
        "point_ras": (r, a, s),
        "warnings": tuple(told["warnings"]),
        "model_id": told["model_id"],
    }
    if "extent" not in told:
        return Assessment(outline=None, **kept)
    stack = _stack(told["stack"], maps, volume)
    outline = {**told["extent"], "probability": maps.get(OUTLINE) or next(iter(paste(stack, stack.outline).values()))}
    for name in ("centre_ras", "bounds_ras"):
        outline[name] = np.array(outline[name])
    return Assessment(
        outline=Outline(**outline),
        estimates=tuple(Estimate(grade(name), *values) for name, values in told["estimates"].items()),
        calcification=Calcification(**told["calcification"]),
        suspicion_probability=told["suspicion_probability"],
        stack=stack,
        heatmaps={name: _heatmap(name, weights, stack, maps) for name, weights in told["slice_weights"].items()},
        **kept,
    )


def _stack(told: dict[str, Any], maps: Mapping[str, Volume], volume: Volume | None) -> SliceStack:
    layout = Layout(**{**told["layout"], "planes": tuple(told["layout"]["planes"])})
    count = layout.slices * len(layout.planes)
    valid, offset, matrices = np.zeros(count, bool), np.zeros(count), np.tile(np.eye(4), (count, 1, 1))
    valid[told["valid"]], offset[told["valid"]], matrices[told["valid"]] = True, told["offset_mm"], told["ijk_to_ras"]
    empty = np.zeros((count, layout.pixels, layout.pixels), np.float32)
    plane = np.repeat(np.arange(len(layout.planes)), layout.slices)
    stack = SliceStack(empty.copy(), empty, matrices, plane, offset, valid, layout)
    stack.outline[...] = _on_slices(OUTLINE, stack, maps)
    if volume is not None:
        stack.pixels[valid] = sample(volume, stack.pixels_ras()[valid])
    return stack


def _heatmap(name: str, weights: list[float], stack: SliceStack, maps: Mapping[str, Volume]) -> Heatmap:
    slice_weights = np.zeros(len(stack.valid), np.float32)
    slice_weights[stack.valid] = weights
    return Heatmap(slice_weights, stack.valid, _on_slices(name, stack, maps)[stack.valid])


def _on_slices(name: str, stack: SliceStack, maps: Mapping[str, Volume]) -> Array:
    """A map's values on the slices of a stack, (S, h, w): ``mosaic.paste`` the other way."""
    values = np.zeros((len(stack.valid), stack.layout.pixels, stack.layout.pixels), np.float32)
    for index, plane in enumerate(stack.layout.planes):
        here = np.flatnonzero((stack.plane == index) & stack.valid)
        pasted = maps.get(_key(name, plane, stack.layout))
        if here.size and pasted is not None:
            values[here[0] : here[-1] + 1] = pasted.array
    return values


def _key(name: str, plane: str, layout: Layout) -> str:
    return name if plane == layout.planes[0] else f"{name} {plane}"
