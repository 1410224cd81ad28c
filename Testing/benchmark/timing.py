"""How the benchmark measures and tells: contenders run in turns, medians, peak memory, Markdown."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch

#: What the figures depend on beside the machine.
PACKAGES = ("numpy", "scipy", "SimpleITK", "pydicom", "torch", "timm", "onnxruntime", "openvino")
MOST_ROUNDS = 30
#: A turn of a fast contender is as many calls as fit into this, of which the median counts.
TURN_SECONDS, MOST_CALLS = 0.1, 10


@dataclass(frozen=True)
class Missing:
    """A contender that cannot run here, and why."""

    why: str


Contender = Callable[[], object] | Missing


@dataclass(frozen=True)
class Figure:
    """One of the figures to reach: ``measured`` is met if it is at most ``reach`` (at least, with ``more``)."""

    what: str
    measured: float
    reach: float
    unit: str
    more: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure was reached."""
        return self.measured >= self.reach if self.more else self.measured <= self.reach


@dataclass(frozen=True)
class Part:
    """What one subject found: a titled Markdown table and the figures to reach that it answers."""

    title: str
    table: str
    figures: tuple[Figure, ...] = ()


def in_turns(contenders: Mapping[str, Contender], seconds: float, least: int = 3) -> dict[str, list[float]]:
    """Times (s) of contenders that run one after the other, round by round, so that a slow moment meets them all.

    A first round warms up and is not counted. Rounds go on for about ``seconds``, at least ``least`` times; whoever
    took more than a third of ``seconds`` to warm up has one turn only.
    """
    present = {name: run for name, run in contenders.items() if not isinstance(run, Missing)}
    times: dict[str, list[float]] = {name: [] for name in present}
    takes = {name: once(run) for name, run in present.items()}
    begun = time.perf_counter()
    for done in range(MOST_ROUNDS):
        if done >= least and time.perf_counter() - begun > seconds:
            break
        for name, run in present.items():
            if done == 0 or takes[name] < seconds / 3:
                # What the one before left in the caches slows the first of several calls alone.
                calls = min(max(int(TURN_SECONDS / takes[name]), 1), MOST_CALLS)
                times[name].append(median(once(run) for _ in range(calls)))
    return times


def once(run: Callable[[], object]) -> float:
    """Seconds that one call takes, with whatever it left running on a GPU."""
    _wait()
    begun = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - begun


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times longer theirs takes: median over the rounds in which both ran."""
    return median(a / b for a, b in zip(theirs, ours, strict=False))


def race(contenders: Mapping[str, Contender], times: Mapping[str, list[float]], ours: str) -> str:
    """The table of a race: a line a contender, with its ratio to ``ours``."""
    lines: list[list[object]] = []
    for name, run in contenders.items():
        if isinstance(run, Missing):
            lines.append([name, run.why, "", ""])
        else:
            rounds = times[name]
            lines.append([name, milliseconds(median(rounds)), f"{ratio(rounds, times[ours]):.3g}", len(rounds)])
    return markdown(["way", "median", "times ours", "rounds"], lines)


def milliseconds(seconds: float) -> str:
    """Three digits, in the unit that people expect."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def markdown(header: Iterable[object], lines: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    head = list(header)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *lines))


def in_a_child(module: str, *arguments: str) -> dict[str, Any]:
    """What ``python -m module arguments`` prints as JSON: a process that has imported and loaded nothing yet."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def devices() -> tuple[str, ...]:
    """The CPU, and the GPU where there is one."""
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def machine() -> str:
    """Processor, cores, how busy it was before the run, versions."""
    info = Path("/proc/cpuinfo")
    told = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in told if line.startswith("model name")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return markdown(
        ["machine", ""],
        [
            ["processor", models[0] if models else platform.processor() or platform.machine()],
            ["instructions", torch.backends.cpu.get_cpu_capability()],
            ["cores", os.cpu_count()],
            ["threads of PyTorch", torch.get_num_threads()],
            ["load before the run", f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"],
            ["GPU", gpu],
            ["system", f"{platform.system()} {platform.release()}, Python {platform.python_version()}"],
            ["versions", ", ".join(f"{name} {_version(name)}" for name in PACKAGES)],
        ],
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
