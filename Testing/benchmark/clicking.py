"""The whole way from a click: in a process that has loaded nothing, in a warm one, and for a hundred points."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from .samples import chest, many_points
from .timing import Figure, Part, devices, in_a_child, markdown, milliseconds

MODULE = "Testing.benchmark.click"
COLD = 3
#: Figures to reach (ms): grades, grades and heatmaps.
WARM = {"cpu": (200, 1200), "cuda": (10, 30)}


def parts() -> Iterator[Part]:
    """Children that click, on every device."""
    volume, points = chest()
    with tempfile.TemporaryDirectory(prefix="nodulerisk-benchmark-") as folder:
        file = Path(folder) / "ct.npz"
        np.savez(file, array=volume.array, ijk_to_ras=volume.ijk_to_ras, points=[point.ras for point in points])
        many = Path(folder) / "many.npz"
        np.savez(many, array=volume.array, ijk_to_ras=volume.ijk_to_ras, points=[p.ras for p in many_points(100)])
        for device in devices():
            yield _cold(file, device)
            yield _warm(file, device)
            yield _hundred(many, device)


def _cold(file: Path, device: str) -> Part:
    runs = [in_a_child(MODULE, "cold", str(file), device, str(time.time())) for _ in range(COLD)]
    steps = {step: median(run[step] for run in runs) for step in runs[0]}
    lines = [[step, milliseconds(seconds)] for step, seconds in steps.items()]
    figures = [Figure("cold process to first grades, CPU", steps["all"], 6, "s")] if device == "cpu" else []
    return Part(
        f"First click in a cold process, {device.upper()}, median of {COLD}",
        markdown(["step", "median"], lines),
        tuple(figures),
    )


def _warm(file: Path, device: str) -> Part:
    found = in_a_child(MODULE, "warm", str(file), device)
    grades, heatmaps = WARM[device]
    name = device.upper()
    return Part(
        f"Warm click, median over seven nodules and {found['rounds']} rounds, {name}",
        markdown(["to", "median"], [[what, milliseconds(found[what])] for what in ("nine grades", "nine heatmaps")]),
        (
            Figure(f"warm click to outline and nine grades, {name}", 1e3 * found["nine grades"], grades, "ms"),
            Figure(f"warm click to nine grades and heatmaps, {name}", 1e3 * found["nine heatmaps"], heatmaps, "ms"),
        ),
    )


def _hundred(file: Path, device: str) -> Part:
    found = in_a_child(MODULE, "hundred", str(file), device)
    lines = [
        [f"{found['points']} points, grades", milliseconds(found["nine grades"])],
        [f"{found['points']} points, grades and heatmaps", milliseconds(found["nine heatmaps"])],
    ]
    figures = []
    if found["peak"]:
        lines.append(["peak memory of the process, without the CT", f"{found['peak'] / 1e9:.2f} GB"])
        lines.append(["of that, before the first point", f"{found['before'] / 1e9:.2f} GB"])
    if device == "cpu" and found["peak"]:
        figures = [Figure("peak memory over the CT, 100 points, CPU", found["peak"] / 1e9, 1.5, "GB")]
    if device == "cuda":
        figures = [Figure("100 points with heatmaps, CUDA", found["nine heatmaps"], 1, "s")]
    return Part(f"A hundred points at once, {device.upper()}", markdown(["what", "found"], lines), tuple(figures))
