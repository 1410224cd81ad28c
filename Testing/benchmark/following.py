"""Following: matching and doubling times on synthetic pairs, and two halves of a real CT (``docs/followup.md``)."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from scipy.ndimage import zoom

from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.followup.comparison import Examination, FollowedNodule, FollowUp, follow_up
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.reading import read
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.phantom import later_ct
from NoduleRiskLib.results.assessment import Assessment

from .follow_pairs import DAYS, Made, Pair, pair
from .timing import Figure, Part, markdown

#: How many pairs, and the first one's number: every second one has points on the later CT alone.
PAIRS, FIRST = (
    int(os.environ.get(f"NODULERISK_{name}", default)) for name, default in (("PAIRS", "40"), ("FIRST", "0"))
)
#: How far from a nodule's middle its point lies, mm (standard deviation along each axis).
POINT_MM = 0.7
#: A nodule is where it should be if its middle lies no further off, mm.
RIGHT_MM = 5.0
THIN = "LIDC-IDRI-0350"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was said of one nodule, and what is true."""

    made: Made
    told: FollowedNodule | None
    both: bool
    slices_mm: tuple[float, float]

    @property
    def right(self) -> bool:
        """Whether partner, or that there is none, are as they should be."""
        kind = self.told and self.told.growth and self.told.growth.kind
        if self.made.fate in ("new", "gone"):
            return kind == {"new": "new", "gone": "resolved"}[self.made.fate]
        if self.told is None or self.told.prior is None or self.told.current is None:
            return False
        return all(
            np.linalg.norm(np.array(self.told.place_ras[which]) - place) < RIGHT_MM
            for which, place in zip(("prior", "current"), self.made.places, strict=True)
        )


def parts() -> Iterator[Part]:
    """Both tables, and what they cost."""
    assessor = Assessor(device="cpu")
    outcomes: list[Outcome] = []
    for seed in range(FIRST, FIRST + PAIRS):
        outcomes += _outcomes(assessor, pair(seed), both=seed % 2 == 0, seed=seed)
        _log(seed, outcomes)
    yield _matching(outcomes)
    yield _doubling(outcomes)
    yield _halves(assessor)
    yield _long(assessor)


def _log(seed: int, outcomes: Sequence[Outcome]) -> None:
    wrong = [f"{one.made.fate} {one.told and one.told.sentence}" for one in outcomes if not one.right]
    print(f"pair {seed}: {len(outcomes)} nodules so far, not right: {wrong}", file=sys.stderr, flush=True)


def _outcomes(assessor: Assessor, made: Pair, both: bool, seed: int) -> list[Outcome]:
    rng = np.random.default_rng((seed, 1))

    def points(which: int) -> list[Point]:
        gone = ("new", "gone")[which]
        found = []
        for one in made.nodules:
            r, a, s = (one.places[which] + rng.normal(0, POINT_MM, 3)).tolist()
            if one.fate != gone:
                found.append(Point(one.label, (r, a, s)))
        return found

    followed = _follow(assessor, made.prior, made.current, points(0) if both else [], points(1), DAYS)
    told = {one.label: one for one in followed.nodules}
    # Where the earlier CT has no points, nobody asks for what is gone.
    asked = [one for one in made.nodules if both or one.fate != "gone"]
    return [Outcome(one, told.get(one.label), both, made.slices_mm) for one in asked]


def _follow(
    assessor: Assessor, prior: Volume, current: Volume, before: list[Point], now: list[Point], days: float
) -> FollowUp:
    def assess(volume: Volume, points: Sequence[Point]) -> list[Assessment]:
        return list(assessor.assess(volume, points, heatmaps=False)) if points else []

    examinations = (
        Examination(volume, tuple(assess(volume, some))) for volume, some in ((prior, before), (current, now))
    )
    return follow_up(*examinations, assess, days=days)


def _matching(outcomes: Sequence[Outcome]) -> Part:
    lines = []
    for name, both in (("points on both CTs", True), ("points on the later CT alone", False)):
        for fate in ("growing", "stable", "new", "gone"):
            some = [one for one in outcomes if one.both == both and one.made.fate == fate]
            if some:
                right = sum(one.right for one in some)
                lines.append([name, fate, len(some), right, _unflagged(some)])
    share = 100 * sum(one.right for one in outcomes) / len(outcomes)
    unflagged = _unflagged(outcomes)
    return Part(
        f"Matching: {PAIRS} pairs, {len(outcomes)} nodules",
        markdown(["points", "truth", "nodules", "right", "wrong match without a flag"], lines),
        (
            Figure("nodules matched, new or gone as they are", share, 98, "%", more=True),
            Figure("wrong matches without a flag", unflagged, 0, "nodules"),
        ),
    )


def _unflagged(outcomes: Sequence[Outcome]) -> int:
    """Matches with something else than the nodule that nothing warns of."""
    return sum(
        1
        for one in outcomes
        if not one.right and one.told and one.told.prior and one.told.current and not one.told.doubts
    )


def _doubling(outcomes: Sequence[Outcome]) -> Part:
    lines: list[list[object]] = []
    pairs = [one for one in outcomes if one.right and one.told and one.told.growth]
    errors_of_all: list[float] = []
    for low, high in ((6, 8), (8, 12), (12, 20.1)):

        def inside(one: Outcome, low: float = low, high: float = high) -> bool:
            return low <= (one.made.volumes[0] * 6 / np.pi) ** (1 / 3) < high

        growing = [one for one in pairs if one.made.fate == "growing" and inside(one)]
        stable = [one for one in pairs if one.made.fate == "stable" and inside(one)]
        errors = [error for one in growing if (error := _error(one)) is not None]
        errors_of_all += errors
        wrong = sum(_kind(one) == "growing" for one in stable)
        lines.append(
            [
                f"{low:g} to {min(high, 20):g} mm",
                len(growing),
                sum(_kind(one) == "growing" for one in growing),
                f"{100 * median(errors):.0f} %" if errors else "",
                len(stable),
                wrong,
            ]
        )
    stable = [one for one in pairs if one.made.fate == "stable"]
    return Part(
        "Doubling time (300 to 600 days, 365 days apart, slices of 1 to 2.5 mm)",
        markdown(
            ["diameter", "growing", "told as growing", "median error of doubling time", "unchanged", "told as growing"],
            lines,
        ),
        (
            Figure("median error of the doubling time", 100 * median(errors_of_all or [np.inf]), 15, "%"),
            Figure(
                "unchanged nodules told as growing",
                100 * sum(_kind(one) == "growing" for one in stable) / max(len(stable), 1),
                5,
                "%",
            ),
        ),
    )


def _kind(one: Outcome) -> str:
    assert one.told and one.told.growth
    return one.told.growth.kind


def _error(one: Outcome) -> float | None:
    """Relative error of a doubling time; ``None`` where none is told."""
    assert one.told and one.told.growth
    days = one.told.growth.doubling_time_days
    return None if days is None else abs(days / one.made.doubling_days - 1)


def _halves(assessor: Assessor) -> Part:
    """Even and odd slices of a thin CT as two examinations, and what the comparison costs."""
    folder = Path(os.environ.get("NODULERISK_DATA", "../shared/data")) / "ct" / "lungs"
    if not folder.is_dir():
        return Part("Two halves of a CT", f"Skipped: {folder} is not there.")
    whole = read(folder / f"{THIN}.nrrd")
    with (folder / "points.csv").open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["file"] == f"{THIN}.nrrd"]
    points = [Point(f"{n}", (float(row["r"]), float(row["a"]), float(row["s"]))) for n, row in enumerate(rows, 1)]
    even, odd = (_half(whole, first) for first in (0, 1))
    begun = time.process_time()
    followed = _follow(assessor, even, odd, points, points, 365)
    cost = time.process_time() - begun
    table = markdown(
        ["nodule", "told", "volume", "limit"],
        [
            [
                one.label,
                one.growth.kind if one.growth else "place not shown",
                f"{one.growth.volume_change_percent or 0:+.0f} %" if one.growth else "",
                f"{one.growth.limit_percent or 0:.0f} %" if one.growth else "",
            ]
            for one in followed.nodules
        ],
    )
    grown = sum(1 for one in followed.nodules if one.growth and one.growth.kind == "growing")
    return Part(
        f"Two halves of {THIN}: {len(points)} nodules on {len(even.array)} slices each, {cost:.1f} s of CPU",
        table,
        (Figure(f"growth told between two halves of {THIN}", grown, 0, "nodules"),),
    )


def _long(assessor: Assessor) -> Part:
    """What five nodules cost on the demo's pair of CTs, both made as long as a scan may be."""
    count, slices = 5, 300
    ends = [(_resliced(volume, slices), [one.point for one in made][:count]) for volume, made in later_ct.pair()]
    begun = time.process_time()
    followed = _follow(assessor, ends[0][0], ends[1][0], ends[0][1], ends[1][1], later_ct.DAYS)
    cost = time.process_time() - begun
    return Part(
        f"A follow-up of {count} nodules on {slices} slices",
        markdown(["nodule", "told"], [[one.label, one.growth and one.growth.kind] for one in followed.nodules]),
        (Figure("CPU of assessing and comparing both CTs", cost, 20, "s"),),
    )


def _resliced(volume: Volume, slices: int) -> Volume:
    """The same chest in so many slices."""
    before = len(volume.array)
    array = zoom(volume.array.astype(np.float32), (slices / before, 1, 1), order=1).round().astype(np.int16)
    grid = volume.ijk_to_ras @ np.diag((1.0, 1.0, (before - 1) / (slices - 1), 1.0))
    return replace(volume, array=array, ijk_to_ras=grid)


def _half(volume: Volume, first: int) -> Volume:
    """Every second slice from ``first`` on."""
    grid = volume.ijk_to_ras @ np.diag((1.0, 1.0, 2.0, 1.0))
    grid[:3, 3] = volume.to_ras(np.array((0.0, 0.0, first)))
    return Volume(volume.array[first::2].copy(), grid, f"{volume.name}, slices from {first}", {"half": str(first)})
