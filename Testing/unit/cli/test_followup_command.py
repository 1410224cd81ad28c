"""What someone at a command line would lose of a follow-up: growth on disk, and one sentence instead of a traceback."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_commands import assert_refused, run
from test_comparison import ELSEWHERE, HERE, THERE, assess, chest
from test_results import PACKAGE

from NoduleRiskLib.cli import commands
from NoduleRiskLib.cli.arguments import pairs_of, points_csv
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.followup import comparison
from NoduleRiskLib.followup.alignment import Alignment
from NoduleRiskLib.imaging.points import Point, read
from NoduleRiskLib.imaging.volume import write_nrrd
from NoduleRiskLib.phantom import later_ct


class Standin:
    """An assessor that outlines what is dense."""

    device_name = "CPU"

    def __init__(self, *given: Any) -> None:
        pass

    def prepare(self, volume: Any) -> Any:
        return volume

    def assess(self, volume: Any, points: Any, heatmaps: bool = True) -> Any:
        return iter(assess(volume, points))


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two CTs and their points on disk, and stand-ins for networks and lungs."""
    monkeypatch.setattr("NoduleRiskLib.assessor.Assessor", Standin)
    monkeypatch.setattr(commands.model_package, "load", lambda path: PACKAGE)
    monkeypatch.setattr(comparison, "align", lambda prior, current: Alignment(np.eye(4), 0.97))
    write_nrrd(tmp_path / "prior.nrrd", chest((HERE, 4), (THERE, 4)))
    write_nrrd(tmp_path / "current.nrrd", chest((HERE, 6), (ELSEWHERE, 5)))
    (tmp_path / "prior.csv").write_text(points_csv([Point("a", HERE), Point("b", THERE)]))
    (tmp_path / "current.csv").write_text(points_csv([Point("A", HERE), Point("N", ELSEWHERE)]))
    return tmp_path


def test_growth_is_printed_and_written(scans: Path) -> None:
    both = (scans / "prior.nrrd", scans / "current.nrrd", "--points", scans / "current.csv")
    answer = run("followup", *both, "--prior-points", scans / "prior.csv", "--days", 120, "--out", scans / "out")
    assert answer.code == 0, answer.err
    assert all(word in answer.out for word in ("growing", "new", "resolved", "120 days"))
    with (scans / "out" / "followup.csv").open(newline="") as lines:
        kinds = {row["label"]: row["kind"] for row in csv.DictReader(lines)}
    assert kinds == {"A": "growing", "N": "new", "b": "resolved"}
    assert json.loads((scans / "out" / "followup.json").read_text())["days"] == 120
    listed = json.loads((scans / "out" / "assessments.json").read_text())["files"]
    assert {"followup.csv", "followup.json", "followup.png"} <= set(listed), "removed with the run's other files"


def test_without_days_growth_is_told_but_no_doubling_time(scans: Path) -> None:
    both = (scans / "prior.nrrd", scans / "current.nrrd", "--points", scans / "current.csv")
    answer = run("followup", *both, "--out", scans / "out")
    assert answer.code == 0 and "not known" in answer.out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--days", "-3"), ("days",)),
        (("--days", "120", "--pair", "A"), ("--pair",)),
        (("--days", "120", "--pair", "A=x"), ("'x'",)),
        (("--prior-points", "nowhere.csv"), ("nowhere.csv",)),
    ],
)
def test_bad_input_is_one_sentence(scans: Path, given: tuple[str, ...], words: tuple[str, ...]) -> None:
    both = (scans / "prior.nrrd", scans / "current.nrrd", "--points", scans / "current.csv")
    assert_refused(run("followup", *both, *given, "--out", scans / "out"), *words)
    assert not (scans / "out").exists()


def test_a_ct_is_not_compared_with_itself(scans: Path) -> None:
    both = (scans / "current.nrrd", scans / "current.nrrd", "--points", scans / "current.csv")
    assert_refused(run("followup", *both, "--days", 5, "--out", scans / "out"), "the same")


def test_the_demo_pair_comes_with_its_cts_and_points(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nodule:
        def __init__(self, label: str, ras: tuple[float, float, float]) -> None:
            self.point = Point(label, ras)

    first = chest((HERE, 4), day="20260105"), (Nodule("a", HERE),)
    later = chest((HERE, 6), day="20260505"), (Nodule("A", HERE),)
    monkeypatch.setattr(later_ct, "pair", lambda: (first, later))
    answer = run("demo", "--followup", "--out", scans / "demo", "--no-heatmaps")
    assert answer.code == 0 and "growing" in answer.out, answer.err
    assert read(scans / "demo" / "current.csv") == [Point("A", HERE)]
    assert (scans / "demo" / "prior.nrrd").is_file() and (scans / "demo" / "current.nrrd").is_file()


@pytest.mark.parametrize("text", ["a", "=a", " = ", ""])
def test_pairs_name_two_nodules(text: str) -> None:
    with pytest.raises(NoduleRiskError, match="--pair"):
        pairs_of([text])
    assert pairs_of(["a=b", "c="]) == {"a": "b", "c": ""}
