"""How far two measurements of an unchanged nodule lie apart: limits of agreement of diameter and volume by size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from NoduleRiskLib.imaging.outline import LARGEST_MM, Outline
from NoduleRiskLib.imaging.volume import Array, Volume

from ..data.context_synthesis import at_one_millimetre

#: Nodules are told apart at these mean diameters, mm.
SIZES_MM = (6.0, 10.0, 15.0)
NOISE_HU = 25.0
#: Of normally distributed differences 95 % lie within so many standard deviations.
Z95 = 1.96
MEASURED = ("diameter", "volume")
MOVED = "point moved"


def every_second_slice(volume: Volume, rng: np.random.Generator) -> Volume:
    """Half of the slices, as they are."""
    matrix = volume.ijk_to_ras.copy()
    first = int(rng.integers(2))
    matrix[:3, 3] += first * matrix[:3, 2]
    matrix[:3, 2] *= 2
    return Volume(volume.array[first::2], matrix)


def noisier(volume: Volume, rng: np.random.Generator) -> Volume:
    """With white noise of ``NOISE_HU`` added, about as much again as a low-dose CT has."""
    noise = rng.normal(size=volume.array.shape) * NOISE_HU
    return Volume(np.rint(volume.array + noise).astype(np.int16), volume.ijk_to_ras)


CHANGES: dict[str, Callable[[Volume, np.random.Generator], Volume]] = {
    "resampled to 1 mm": lambda volume, rng: at_one_millimetre(volume),
    "every second slice": every_second_slice,
    "noise": noisier,
}


def measurements(
    volume: Volume, points: Array, find: Callable[[Volume, Array], list[Outline]], rng: np.random.Generator
) -> list[dict[str, object]]:
    """What is measured again on one nodule, beside what was measured first.

    Parameters
    ----------
    volume : Volume
    points : array, shape (2, 3)
        Two points on the nodule (RAS mm); the second is ``MOVED``.
    find : callable
        Outlines from points.
    rng : Generator

    Returns
    -------
    list of dict
        ``change``, ``size`` (mean of the two diameters, mm), and the ratios ``diameter`` and ``volume`` of the second
        measurement to the first.
    """
    first, moved = find(volume, points)
    again = {MOVED: moved}
    for name, change in CHANGES.items():
        changed = change(volume, rng)
        if changed.contains(points[0]):
            again[name] = find(changed, points[:1])[0]
    return [
        {
            "change": name,
            "size": (first.diameter_mm + other.diameter_mm) / 2,
            "diameter": other.diameter_mm / first.diameter_mm,
            "volume": other.volume_mm3 / first.volume_mm3,
        }
        for name, other in again.items()
    ]


def limits_of_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Bias and 95 % limits of agreement (Bland and Altman 1986, doi 10.1016/S0140-6736(86)90837-8), in percent.

    One row per change and size, and per size over all changes. Differences are of logarithms, so that limits are
    shares of the size.
    """
    rows = []
    for change in [*dict.fromkeys(table.change), "all changes"]:
        of_change = table if change == "all changes" else table[table.change == change]
        stratum = np.digitize(of_change["size"], SIZES_MM)
        for n, name in enumerate(size_names()):
            part = of_change[stratum == n]
            if len(part) < 2:
                continue
            row: dict[str, object] = {"change": change, "size, mm": name, "pairs": len(part)}
            for what in MEASURED:
                ratio = np.log(part[what])
                for of, width in (("bias", 0.0), ("from", -Z95), ("to", Z95)):
                    row[f"{what} {of}, %"] = _percent(ratio.mean() + width * ratio.std())
            rows.append(row)
    return pd.DataFrame(rows).set_index("change")


def repeatability(table: pd.DataFrame) -> list[tuple[float, float, float]]:
    """For each size its upper end (mm) and how far (percent) diameter and volume may differ without any growth.

    95 % of all pairs of measurements, whatever was changed, differ by less.
    """
    stratum = np.digitize(table["size"], SIZES_MM)
    found = []
    for n, end in enumerate((*SIZES_MM, LARGEST_MM)):
        differences = np.abs(np.log(table.loc[stratum == n, list(MEASURED)]))
        if differences.empty:
            continue
        diameter, volume = (_percent(float(one)) for one in differences.quantile(0.95))
        found.append((end, diameter, volume))
    return found


def size_names() -> list[str]:
    """The sizes as tables name them."""
    ends = [f"{end:g}" for end in SIZES_MM]
    return [f"< {ends[0]}", *(f"{a} to {b}" for a, b in pairwise(ends)), f">= {ends[-1]}"]


def _percent(logarithm: float) -> float:
    return 100 * (float(np.exp(logarithm)) - 1)
