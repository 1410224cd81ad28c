"""How far grades move when nothing about the nodule changes: another grid, another axis order, another point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import ndimage

from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.results.assessment import Assessment

from ..data.context_synthesis import at_one_millimetre
from ..data.found_outlines import missed_point

Change = Callable[[Volume], Volume]


def around(volume: Volume, point: Point, half_mm: float = 60.0) -> Volume:
    """The part of a CT within ``half_mm`` of a point along each axis: enough to assess it, quicker to resample."""
    half = np.ceil(half_mm / volume.spacing_mm)
    centre = volume.to_ijk(np.array(point.ras))
    low = np.maximum(np.floor(centre - half), 0).astype(int)
    high = np.minimum(np.ceil(centre + half), np.array(volume.array.shape[::-1])).astype(int)
    i, j, k = (slice(a, b) for a, b in zip(low, high, strict=True))
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = volume.to_ras(low)
    return Volume(volume.array[k, j, i], matrix)


def stored_along(axes: tuple[int, int, int], flipped: tuple[bool, bool, bool], volume: Volume) -> Volume:
    """The same image with new axis n = old axis ``axes[n]``, reversed where ``flipped[n]``; order i, j, k."""
    array = volume.array.transpose([2 - axis for axis in axes[::-1]])
    matrix = volume.ijk_to_ras[:, [*axes, 3]]
    for axis in np.flatnonzero(flipped).tolist():
        array = np.flip(array, 2 - axis)
        matrix[:3, 3] += matrix[:3, axis] * (array.shape[2 - axis] - 1)
        matrix[:3, axis] *= -1
    return Volume(np.ascontiguousarray(array), matrix)


def thinned(volume: Volume) -> Volume:
    """Pairs of slices averaged into one twice as thick."""
    count = len(volume.array) // 2 * 2
    pairs = volume.array[:count].reshape(-1, 2, *volume.array.shape[1:]).mean(1)
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2] / 2
    matrix[:3, 2] *= 2
    return Volume(np.rint(pairs).astype(np.int16), matrix)


CHANGES: dict[str, Change] = {
    "flipped along all axes": partial(stored_along, (0, 1, 2), (True, True, True)),
    "stored as sagittal slices": partial(stored_along, (2, 0, 1), (True, False, False)),
    "resampled to 1 mm": at_one_millimetre,
    "slices twice as thick": thinned,
}


def grades(assessment: Assessment) -> Array:
    """The nine estimates in grade units, diameter as log2 mm; NaN where no nodule was found."""
    if assessment.nodule is None:
        return np.full(len(GRADE_NAMES), np.nan)
    return np.array([np.log2(e.value) if e.grade.logarithmic else e.value for e in assessment.nodule.estimates])


def moves(assessor: Assessor, scans: Sequence[tuple[Volume, Sequence[Point]]], hands: int = 5) -> pd.DataFrame:
    """Mean absolute change of each grade, one row per change.

    Parameters
    ----------
    assessor : Assessor
    scans : sequence of (Volume, points)
        CTs with points on nodules.
    hands : int
        For the row "point moved": how often each point is moved, by up to 3 mm or a quarter of the diameter.

    Returns
    -------
    DataFrame
        One column per grade (grade units; diameter: log2 mm), ``mean`` over the grades, and ``lost``: the share of
        nodules that are no longer found.
    """
    changed: dict[str, list[Array]] = {name: [] for name in (*CHANGES, "point moved")}
    rng = np.random.default_rng(0)
    for volume, points in scans:
        for point in points:
            part = around(volume, point)
            (before,) = assessor.assess(part, [point], heatmaps=False)
            if before.nodule is None:
                continue
            for name, change in CHANGES.items():
                (after,) = assessor.assess(change(part), [point], heatmaps=False)
                changed[name].append(grades(after) - grades(before))
            outline = before.nodule.outline
            off = [outline.centre_ras + missed_point(outline.diameter_mm, rng) for _ in range(hands)]
            moved = [Point(f"hand {n}", (float(r), float(a), float(s))) for n, (r, a, s) in enumerate(off)]
            changed["point moved"] += [grades(one) - grades(before) for one in assessor.assess(part, moved, False)]
    rows = {name: np.abs(np.stack(values)) for name, values in changed.items()}
    table = pd.DataFrame({name: np.nanmean(values, 0) for name, values in rows.items()}, index=list(GRADE_NAMES)).T
    lost = {name: float(np.isnan(values).any(1).mean()) for name, values in rows.items()}
    return table.assign(mean=table.mean(axis=1), lost=pd.Series(lost)).rename_axis("change")


def false_finds(assessor: Assessor, volume: Volume, nodules: Sequence[Point], count: int = 100) -> pd.DataFrame:
    """The answers at points where there is no nodule, one row per kind of tissue.

    Parameters
    ----------
    assessor : Assessor
    volume : Volume
        A whole CT, axial slices.
    nodules : sequence of Point
        Its known nodules: points keep 20 mm away from them.
    count : int
        Points of each kind of tissue.

    Returns
    -------
    DataFrame
        ``points``; ``none``: the share where no nodule is found; ``warned``: the share where none is found or a
        warning about the nodule is given.
    """
    rows = {}
    for name, places in _healthy(volume, nodules, count).items():
        points = [Point(f"{name} {n}", place) for n, place in enumerate(places)]
        assessments = list(assessor.assess(volume, points, heatmaps=False))
        none = [one.nodule is None for one in assessments]
        own = [any(warning.about == "nodule" for warning in one.warnings) for one in assessments]
        rows[name] = {"points": len(assessments), "none": np.mean(none), "warned": np.mean(own)}
    return pd.DataFrame(rows).T.astype({"points": int}).rename_axis("tissue")


def _healthy(volume: Volume, nodules: Sequence[Point], count: int) -> dict[str, list[tuple[float, float, float]]]:
    """RAS points (mm) in lung tissue, in vessels and on the chest wall, drawn at random."""
    spacing = volume.spacing_mm[::-1]
    air = ndimage.label(volume.array < -500)[0]
    sides = np.unique(np.concatenate([air[:, [0, -1]].ravel(), air[:, :, [0, -1]].ravel()]))
    inside = (air > 0) & ~np.isin(air, sides)
    # Without their vessels, lungs have holes; 8 mm close all but the largest.
    steps = np.maximum(1, np.round(8 / spacing)).astype(int)
    field = ndimage.maximum_filter(inside, 2 * steps + 1)
    field = ndimage.minimum_filter(field, 2 * steps + 1)
    depth_mm = ndimage.distance_transform_edt(field, spacing)
    outside_mm = ndimage.distance_transform_edt(~field, spacing)
    tissue = {
        "lung": (depth_mm > 5) & (volume.array > -950) & (volume.array < -750),
        "vessel": (depth_mm > 5) & (volume.array > -150) & (volume.array < 250),
        "chest wall": (outside_mm > 0) & (outside_mm < 4) & (volume.array > -200),
    }
    rng = np.random.default_rng(0)
    drawn: dict[str, list[tuple[float, float, float]]] = {}
    for name, mask in tissue.items():
        places = volume.to_ras(rng.permutation(np.argwhere(mask))[: 4 * count, ::-1])
        far = np.min([np.linalg.norm(places - np.array(one.ras), axis=1) for one in nodules], axis=0) > 20
        drawn[name] = [(float(r), float(a), float(s)) for r, a, s in places[far][:count]]
    return drawn
