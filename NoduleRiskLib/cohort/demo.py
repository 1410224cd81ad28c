"""A cohort to try: synthetic chest CTs, their points and a manifest, made on the spot."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from ..imaging.volume import write_nrrd
from ..phantom.chest_ct import chest_ct

MANIFEST, POINTS = "manifest.csv", "points.csv"
#: Nodules of each CT, of the phantom's seven.
NODULES = 5


def write_demo(folder: Path, count: int, done: Callable[[], None] = lambda: None, broken: bool = True) -> Path:
    """Write synthetic CTs with five nodules each, their points and a manifest.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    count : int
        How many CTs, each from a seed of its own.
    done : callable
        Called after each.
    broken : bool
        Break the last two in ways that archives know: a file cut short, a point that lies outside.

    Returns
    -------
    Path
        The manifest.
    """
    (folder / "cts").mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str]] = []
    points: list[tuple[object, ...]] = []
    for seed in range(count):
        name = f"phantom-{seed:03d}"
        volume, nodules = chest_ct(seed)
        file = folder / "cts" / f"{name}.nrrd"
        write_nrrd(file, volume)
        outside = broken and seed == count - 1
        if broken and seed == count - 2:
            with file.open("r+b") as stream:
                stream.truncate(file.stat().st_size // 2)
        rows.append((name, f"cts/{file.name}"))
        for one in nodules[:NODULES]:
            r, a, s = one.point.ras
            points.append((name, one.label, f"{r:.2f}", f"{a:.2f}", f"{s + 2000 * outside:.2f}"))
        done()
    for file_name, header, lines in (
        (MANIFEST, ("id", "ct"), rows),
        (POINTS, ("id", "label", "r", "a", "s"), points),
    ):
        with (folder / file_name).open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows((header, *lines))
    return folder / MANIFEST
