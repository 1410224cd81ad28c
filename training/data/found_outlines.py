"""Every crop as the pipeline meets it: in (synthetic) lung, with the outline that was found from a point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.outline import Outline, measure
from NoduleRiskLib.imaging.resampling import cut, sample
from NoduleRiskLib.imaging.slice_stack import Layout, SliceStack
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.segmentation import REACH_MM

from ..checkpoints import Key, digest, read_arrays, write_arrays
from .context_synthesis import DEPTH_MM, extend
from .crops import SAMPLE_PATIENT, WIDE, Nodule, data_key, read_nodule, slices_of

#: From a volume and points (RAS mm) to the nodule under each point.
Finder = Callable[[Volume, Sequence[Array]], Sequence[Outline | None]]
#: Points tried on each nodule for training; the first is also what the tables score.
TRIES = 3


@dataclass(frozen=True, eq=False)
class FoundOutlines:
    """The nodules of one fold in their surroundings with found outlines: N nodules, T slices in all.

    Attributes
    ----------
    table : DataFrame
        One row per nodule; ``found_diameter``, ``found_slices``, ``found_volume`` (NaN: none found), ``unsure`` (0 or
        1), ``dice``, ``low_error_mm``, ``high_error_mm`` and ``slice_step_mm`` from the first try; ``dice_between`` the
        outlines from the first two points.
    pixels : int16 (T, 96, 96)
        HU.
    share : uint8 (T, 4, 96, 96)
        Readers' outlines times 255.
    found : uint8 (T, TRIES, 96, 96)
        The outline found from each point, times 255.
    offset_mm : float32 (T,)
    first : int (N + 1,)
        Where each nodule's slices begin.
    key : str
        Digest of what the arrays were made from.
    """

    table: pd.DataFrame
    pixels: Array
    share: Array
    found: Array
    offset_mm: Array
    first: Array
    key: str = ""

    @cached_property
    def grades(self) -> Array:
        """Readers' means of the nine grades, (N, 9), diameter in mm."""
        return self.table[list(GRADE_NAMES)].to_numpy(np.float64)

    def without_sample(self) -> FoundOutlines:
        """Without the sample's patient."""
        keep = np.flatnonzero((self.table.patient_id != SAMPLE_PATIENT).to_numpy())
        return self if len(keep) == len(self.table) else self.chosen(keep)

    def chosen(self, rows: Array) -> FoundOutlines:
        """Some of the nodules, copied; the key stays that of all of them."""
        slices = slices_of(self.first, rows)
        return replace(
            self,
            table=self.table.iloc[rows].reset_index(drop=True),
            pixels=self.pixels[slices],
            share=self.share[slices],
            found=self.found[slices],
            offset_mm=self.offset_mm[slices],
            first=np.cumsum([0, *np.diff(self.first)[rows]]),
        )


def find(
    table: pd.DataFrame, data: Path, finder: Finder, made_by: str, folder: Path, cubes: bool = False, seed: int = 0
) -> FoundOutlines:
    """Find the outlines of all nodules of ``table``; the first call writes ``folder``, later ones read it.

    Crops get synthetic lung; cubes have their own.

    Parameters
    ----------
    table : DataFrame
        Some rows of ``crops.load``'s.
    data : Path
    finder : callable
        It must not have been trained on these patients.
    made_by : str
        What the finder depends on, such as a digest of its weights.
    folder : Path
    cubes : bool
        Whether to read the cubes instead of the crops.
    seed : int
    """
    key = data_key(data) | {
        "nodules": f"{len(table)} ({digest(*table.nodule_id)})",
        "found by": made_by,
        "tries": str(TRIES),
        "seed": str(seed),
        "depth_mm": str(DEPTH_MM),
    }
    if not folder.exists():
        _build(table, data, finder, folder, cubes, seed, key)
    kept = read_arrays(folder, ("pixels", "share", "found", "offset_mm"), key)
    return FoundOutlines(kept.table, **kept.slices, first=kept.first, key=digest(key))


def missed_point(diameter_mm: float, rng: np.random.Generator) -> Array:
    """Where a user puts the point of a nodule centred at the origin: up to 3 mm or a quarter diameter off."""
    miss = rng.normal(size=3)
    reach = max(REACH_MM, diameter_mm / 4) * rng.random() ** (1 / 3)
    # A point beside a small nodule would not be on it.
    reach = min(reach, 0.45 * diameter_mm)
    return np.asarray(miss / np.linalg.norm(miss) * reach)


def pipeline_stack(volume: Volume, outline: Outline, layout: Layout) -> SliceStack:
    """The slices that the pipeline grades: those of the outline that it found itself."""
    return cut(volume, outline.centre_ras, layout, outline.bounds_ras, outline.probability)


def oracle_stack(nodule: Nodule, layout: Layout) -> SliceStack | None:
    """The slices of the readers' consensus, with the share of readers as outline; ``None`` if they agree on none."""
    outline = consensus(nodule)
    if outline is None:
        return None
    return cut(nodule.volume, outline.centre_ras, layout, outline.bounds_ras, nodule.share())


def consensus(nodule: Nodule, volume: Volume | None = None) -> Outline | None:
    """The outline of what at least half of the readers marked, on the slices of ``volume`` (default: the crop)."""
    share = nodule.share()
    stack = cut(volume or nodule.volume, np.zeros(3), WIDE, outline=share)
    # Half of the readers is enough; outlines count as inside above one half.
    return measure(stack, np.minimum(stack.outline * 1.02, 1.0))


def agreement(truth: Outline, found: Outline) -> tuple[float, float, float]:
    """Dice of two outlines on the grid of ``truth``, and how far (mm) the lower and the upper end are off."""
    grid = truth.probability
    k, j, i = np.indices(grid.array.shape)
    theirs = sample(found.probability, grid.to_ras(np.stack([i, j, k], -1)), outside=0.0) > 0.5
    ours = grid.array > 0.5
    # What was found beyond the slices of the truth counts as wrong, too.
    area = (found.probability.array > 0.5).sum() * np.prod(found.probability.spacing_mm) / np.prod(grid.spacing_mm)
    dice = 2 * (ours & theirs).sum() / (ours.sum() + max(area, theirs.sum()))
    low, high = np.abs(truth.bounds_ras[:, 2] - found.bounds_ras[:, 2])
    return float(dice), float(low), float(high)


def _build(table: pd.DataFrame, data: Path, finder: Finder, folder: Path, cubes: bool, seed: int, key: Key) -> None:
    parts: dict[str, list[Array]] = {"pixels": [], "share": [], "found": [], "offset_mm": []}
    rows = []
    for row in track(list(table.itertuples()), f"Outlining {folder.name}", transient=True):
        rng = np.random.default_rng([seed, *row.nodule_id.encode()])
        nodule = read_nodule(data, row.nodule_id, cubes)
        volume = nodule.volume if cubes else extend(nodule, rng)
        points = np.stack([missed_point(row.diameter, rng) for _ in range(TRIES)])
        found = finder(volume, list(points))
        stack = cut(volume, np.zeros(3), WIDE)
        valid = stack.valid
        places = stack.pixels_ras()[valid]
        outlines = [
            sample(outline.probability, places, outside=0.0) * 255 if outline else np.zeros(places.shape[:-1])
            for outline in found
        ]
        readers = [sample(reader, places, outside=0.0) for reader in nodule.readers]
        readers += [np.zeros(places.shape[:-1])] * (4 - len(readers))
        for name, part in zip(
            parts,
            (stack.pixels[valid], np.stack(readers, 1), np.stack(outlines, 1), stack.offset_mm[valid]),
            strict=True,
        ):
            kind = {"pixels": np.int16, "offset_mm": np.float32}.get(name, np.uint8)
            parts[name].append(part.astype(kind) if kind == np.float32 else np.round(part).astype(kind))
        rows.append(
            _scores(consensus(nodule, volume), found[0], points[0], float(stack.step_mm[0]))
            | {"dice_between": _dice(*(one > 127 for one in outlines[:2]))}
        )
    scored = table.assign(**pd.DataFrame(rows, index=table.index).to_dict("series"))
    write_arrays(folder, scored, parts, key)


def _dice(one: Array, other: Array) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


def _scores(truth: Outline | None, found: Outline | None, point: Array, step_mm: float) -> dict[str, float]:
    scores = {"slice_step_mm": step_mm, "point_r": point[0], "point_a": point[1], "point_s": point[2]}
    if truth is not None:
        scores["true_diameter"], scores["true_volume"] = truth.diameter_mm, truth.volume_mm3
        scores["dice"] = 0.0
    if found is not None:
        scores |= {
            "found_diameter": found.diameter_mm,
            "found_slices": found.slices,
            "found_volume": found.volume_mm3,
            "unsure": float(found.unsure),
        }
        if truth is not None:
            scores["dice"], scores["low_error_mm"], scores["high_error_mm"] = agreement(truth, found)
    return scores
