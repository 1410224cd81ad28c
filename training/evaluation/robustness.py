"""How far grades move when nothing about the nodule changes: another grid, another axis order, another point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import ndimage

from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.input_checks import TRAINED_MM
from NoduleRiskLib.imaging.lung_mask import lung_mask
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.resampling import sample
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.results.assessment import Assessment

from ..data.context_synthesis import at_one_millimetre
from ..data.found_outlines import missed_point

Change = Callable[[Volume], Volume]
Place = tuple[float, float, float]
#: The row of ``moves`` for another point on the same nodule.
MOVED = "point moved"
#: A pocket of gas in bowel or stomach holds more than this; wall and contents lie within so much of it.
POCKET_MM3, NEAR_MM = 500.0, 8.0


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
    """The nine estimates in grade units, diameter as log2 mm."""
    # Only 0.1.0 outlined nothing at some points.
    assert assessment.nodule is not None
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
        One column per grade (grade units; diameter: log2 mm), ``mean`` over the grades, and ``doubtful``: the share of
        nodules that are doubtful after the change.
    """
    changed: dict[str, list[Array]] = {name: [] for name in (*CHANGES, MOVED)}
    doubtful: dict[str, list[bool]] = {name: [] for name in changed}
    rng = np.random.default_rng(0)
    for volume, points in scans:
        for point in points:
            part = around(volume, point)
            (before,) = assessor.assess(part, [point], heatmaps=False)
            assert before.nodule is not None
            outline = before.nodule.outline
            off = [outline.centre_ras + missed_point(outline.diameter_mm, rng) for _ in range(hands)]
            moved = [Point(f"hand {n}", (float(r), float(a), float(s))) for n, (r, a, s) in enumerate(off)]
            after = {name: assessor.assess(change(part), [point], heatmaps=False) for name, change in CHANGES.items()}
            for name, each in (after | {MOVED: assessor.assess(part, moved, heatmaps=False)}).items():
                for one in each:
                    changed[name].append(grades(one) - grades(before))
                    doubtful[name].append(bool(one.doubts))
    rows = {name: np.abs(np.stack(values)).mean(0) for name, values in changed.items()}
    table = pd.DataFrame(rows, index=list(GRADE_NAMES)).T
    share = pd.Series({name: float(np.mean(values)) for name, values in doubtful.items()})
    return table.assign(mean=table.mean(axis=1), doubtful=share).rename_axis("change")


@dataclass(frozen=True, eq=False)
class Site:
    """A CT with places where there is no nodule.

    Attributes
    ----------
    name : str
        The patient's.
    volume : Volume
    places : dict
        What is there (the row of the table) -> points, RAS mm.
    """

    name: str
    volume: Volume
    places: dict[str, list[Place]]


def false_finds(assessor_of: Callable[[str], Assessor], sites: Sequence[Site]) -> pd.DataFrame:
    """The answers where there is no nodule, one row per kind of place.

    Parameters
    ----------
    assessor_of : function
        From a site's name to an assessor; out of fold, one whose networks never saw that patient.
    sites : sequence of Site

    Returns
    -------
    DataFrame
        ``points``; ``doubtful``: the share whose nodule is doubtful; ``warned``: the share told or warned, that is
        a doubtful nodule, or an outline of a size that the models do not know.
    """
    answers: dict[str, list[tuple[bool, bool]]] = {}
    for site in sites:
        assessor = assessor_of(site.name)
        prepared = assessor.prepare(site.volume)
        for kind, places in site.places.items():
            points = [Point(f"{kind} {n}", place) for n, place in enumerate(places)]
            each = assessor.assess(prepared, points, heatmaps=False) if points else iter(())
            answers.setdefault(kind, []).extend((bool(one.doubts), _told(one)) for one in each)
    rows = {
        kind: {"points": len(given), **dict(zip(("doubtful", "warned"), np.mean(given, axis=0), strict=True))}
        for kind, given in answers.items()
        if given
    }
    return pd.DataFrame(rows).T.astype({"points": int}).rename_axis("place")


def _told(assessment: Assessment) -> bool:
    assert assessment.nodule is not None
    diameter_mm = assessment.nodule.outline.diameter_mm
    return bool(assessment.doubts) or not TRAINED_MM[0] <= diameter_mm <= TRAINED_MM[1]


def tissue_places(volume: Volume, nodules: Sequence[Point], count: int = 100) -> dict[str, list[Place]]:
    """Points drawn at random in lung, in vessels, on the chest wall, and in and on bowel and stomach.

    Parameters
    ----------
    volume : Volume
        A whole CT with the upper abdomen, axial slices.
    nodules : sequence of Point
        Its known nodules: points keep 20 mm away from them.
    count : int
        Points of each kind of tissue.
    """
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
    drawn: dict[str, list[Place]] = {}
    found = {name: volume.to_ras(np.argwhere(mask)[:, ::-1]) for name, mask in tissue.items()}
    for name, places in (found | {"bowel and stomach": _in_bowel(volume)}).items():
        some = rng.permutation(places)[: 4 * count]
        far = np.min([np.linalg.norm(some - np.array(one.ras), axis=1) for one in nodules], axis=0) > 20
        drawn[name] = [(float(r), float(a), float(s)) for r, a, s in some[far][:count]]
    return drawn


def _in_bowel(volume: Volume) -> Array:
    """Places (RAS mm, shape (N, 3)) in and near gas that lies below most of the lungs and does not touch them.

    Near are wall and contents. All lie on the coarse grid of the lung mask.
    """
    lungs = lung_mask(volume).outside_mm
    if lungs is None:
        return np.zeros((0, 3))
    spacing, in_lung = lungs.spacing_mm[::-1], lungs.array == 0
    k, j, i = np.indices(lungs.array.shape)
    ras = lungs.to_ras(np.stack([i, j, k], -1))
    # Under nine tenths of the lungs lies the abdomen.
    low = ras[..., 2] < np.quantile(ras[in_lung][:, 2], 0.1)
    gas, _ = ndimage.label((sample(volume, ras) < -500) & low)
    sides = [gas.take(end, axis) for axis in (1, 2) for end in (0, -1)]
    large = np.bincount(gas.ravel()) * spacing.prod() > POCKET_MM3
    large[np.unique(np.concatenate([gas[in_lung], *(side.ravel() for side in sides)]))] = False
    pockets = large[gas]
    near = pockets | ((ndimage.distance_transform_edt(~pockets, spacing) < NEAR_MM) & (gas == 0) & ~in_lung)
    return np.asarray(ras[near])
