"""What a child process of the benchmark does: ``cold``, ``warm`` or ``hundred`` FILE DEVICE; prints JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from NoduleRiskLib.imaging.points import Point
    from NoduleRiskLib.imaging.volume import Volume

ROUNDS = 3


def cold(file: str, device: str, begun: str) -> dict[str, float]:
    """Seconds of each step from ``begun``, before this process was started, to the first grades.

    Reading the CT is left out.
    """
    at = {"": float(begun), "start Python": time.time()}
    import torch  # noqa: F401

    at["import torch"] = time.time()
    import NoduleRiskLib.networks.nodule_vit  # noqa: F401

    at["import timm and the model"] = time.time()
    from NoduleRiskLib.assessor import Assessor

    at["import the rest"] = time.time()
    volume, points = _read(file)
    at["(read the CT)"] = time.time()
    assessor = Assessor(device=device)
    at["load the package"] = time.time()
    list(assessor.assess(volume, points[:1], heatmaps=False))
    at["first grades"] = time.time()
    steps = {name: at[name] - before for name, before in zip(list(at)[1:], at.values(), strict=False)}
    del steps["(read the CT)"]
    return steps | {"all": sum(steps.values())}


def warm(file: str, device: str) -> dict[str, float]:
    """Median seconds of a click, with and without heatmaps, once one click has gone before."""
    from NoduleRiskLib.assessor import Assessor

    volume, points = _read(file)
    assessor = Assessor(device=device)
    list(assessor.assess(volume, points[:1]))
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for point in points:
            for heatmaps, seconds in times.items():
                begun = time.perf_counter()
                list(assessor.assess(volume, [point], heatmaps))
                seconds.append(time.perf_counter() - begun)
    return {"nine grades": median(times[False]), "nine heatmaps": median(times[True]), "rounds": ROUNDS}


def hundred(file: str, device: str) -> dict[str, float]:
    """Seconds and peak memory (bytes, without the CT's own) of all points at once."""
    from NoduleRiskLib.assessor import Assessor

    volume, points = _read(file)
    assessor = Assessor(device=device)
    before = _peak() - volume.array.nbytes
    times = []
    for heatmaps in (False, True):
        begun = time.perf_counter()
        assessments = list(assessor.assess(volume, points, heatmaps))
        times.append(time.perf_counter() - begun)
        assert all(one.nodule for one in assessments), "a nodule was not found"
        # Both times the memory is that of one answer.
        del assessments
    peak = _peak() - volume.array.nbytes if _peak() else 0
    return {"points": len(points), "nine grades": times[0], "nine heatmaps": times[1], "peak": peak, "before": before}


def _read(file: str) -> tuple[Volume, list[Point]]:
    import numpy as np

    from NoduleRiskLib.imaging.points import Point
    from NoduleRiskLib.imaging.volume import Volume

    with np.load(file) as told:
        points = [Point(f"F-{i + 1}", (float(r), float(a), float(s))) for i, (r, a, s) in enumerate(told["points"])]
        return Volume(told["array"], told["ijk_to_ras"]), points


def _peak() -> int:
    """The most memory this process has held so far, bytes; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    ways: dict[str, Any] = {"cold": cold, "warm": warm, "hundred": hundred}
    print(json.dumps(ways[sys.argv[1]](*sys.argv[2:])))
