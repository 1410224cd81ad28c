"""Whether ``make bench`` still runs and still compares like with like; how fast anything is, no test asks."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from NoduleRiskLib.networks.nodule_vit import collate
from Testing.benchmark import __main__ as bench
from Testing.benchmark import (
    answering,
    click,
    clicking,
    cutting,
    explaining,
    grading,
    loading,
    locating,
    peers,
    samples,
    timing,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of everything, at the smallest sizes, without what compiles for minutes."""
    monkeypatch.setattr(timing, "MOST_ROUNDS", 1)
    monkeypatch.setattr(timing, "MOST_CALLS", 1)
    monkeypatch.setattr(cutting, "SLICES", (40, 60))
    monkeypatch.setattr(loading, "SLICES", 6)
    monkeypatch.setattr(locating, "MANY", 2)
    for name, value in (("NUMBERS", (1,)), ("BATCH", 2), ("CEILING", 64), ("find_spec", lambda name: None)):
        monkeypatch.setattr(grading, name, value)
    monkeypatch.setattr(peers, "CALIBRATION", 2)
    monkeypatch.setattr(peers, "compiled", lambda graders: lambda x: torch.stack([peers.raw(g, x) for g in graders]))


@pytest.mark.parametrize("subject", [cutting, locating, grading, explaining, loading, answering])
def test_every_subject_tells_whole_tables(subject: ModuleType) -> None:
    for part in subject.parts():
        lines = part.table.splitlines()
        assert len(lines) > 2 and len({line.count("|") for line in lines}) == 1, part.title
        assert all(math.isfinite(figure.measured) and figure.measured >= 0 for figure in part.figures)


def test_clicks_are_timed_from_the_start_to_the_grades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, points = samples.chest()
    file = tmp_path / "ct.npz"
    np.savez(file, array=volume.array, ijk_to_ras=volume.ijk_to_ras, points=[point.ras for point in points[:1]])
    monkeypatch.setattr(click, "ROUNDS", 1)
    monkeypatch.setattr(clicking, "COLD", 1)
    ways = {"cold": click.cold, "warm": click.warm, "hundred": click.hundred}
    monkeypatch.setattr(clicking, "in_a_child", lambda module, way, *arguments: ways[way](*arguments))
    for part in (clicking._cold(file, "cpu"), clicking._warm(file, "cpu"), clicking._hundred(file, "cpu")):
        assert part.figures and all(figure.measured > 0 for figure in part.figures), part.title


def test_rivals_are_asked_for_the_grades_that_ship() -> None:
    graders = list(samples.package().networks().graders)
    batch = collate(list(samples.stacks(3)))
    with torch.inference_mode():
        x = peers.inputs(graders[0], batch)
        theirs = peers.grades(graders, torch.stack([peers.raw(grader, x) for grader in graders]))
        assert torch.allclose(theirs, torch.stack([grader(batch).grades for grader in graders]).mean(0), atol=1e-4)


def test_an_unknown_subject_is_refused() -> None:
    with pytest.raises(SystemExit, match="no subject lung"):
        bench.main(["lung"])
