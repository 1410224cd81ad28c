"""What someone at a command line would lose: sentences instead of tracebacks, before Ray and networks are started."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_commands import assert_refused, run

from NoduleRiskLib import cohort
from NoduleRiskLib.cli import cohort_commands
from NoduleRiskLib.cohort import running
from NoduleRiskLib.cohort.data_set import DataSet
from NoduleRiskLib.cohort.grading import graded, series_row
from NoduleRiskLib.results import read_cohort


@pytest.fixture
def manifest(tmp_path: Path, ct: Path) -> Path:
    path = tmp_path / "manifest.csv"
    path.write_text(f"id,ct,points\na,{ct},points.csv\nb,{ct},points.csv\nc,missing.nrrd,points.csv\n")
    (tmp_path / "points.csv").write_text("r,a,s\n-10,-10,20\n")
    return path


def test_a_dry_run_starts_nothing_and_writes_nothing(manifest: Path, tmp_path: Path) -> None:
    answer = run("cohort", manifest, "--out", tmp_path / "out", "--dry-run")
    assert answer.code == 1 and "2 can be tried, 1 would be refused" in answer.out
    assert "missing.nrrd does not exist" in answer.err and not (tmp_path / "out").exists()
    assert run("cohort", manifest, "--out", tmp_path / "out", "--dry-run", "--limit", "2").code == 0


@pytest.fixture
def begun(quick: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The series that are graded, here and without networks; those that are called so fail."""
    names: list[str] = []

    def graded_here(series: Any, data_set: DataSet, wanted: Any, *how: Any) -> None:
        *_, done = how
        for one in series:
            names.append(one.id)
            result = graded(quick(RuntimeError("fails") if one.id.startswith("fails") else None), one, wanted)
            data_set.add(result.series, result.nodules)
            done(result.series)
        data_set.commit()

    monkeypatch.setattr(running, "run", graded_here)
    return names


def test_a_run_goes_on_where_the_last_one_ended(manifest: Path, tmp_path: Path, begun: list[str]) -> None:
    out = tmp_path / "out"
    assert run("cohort", manifest, "--out", out, "--limit", "1").code == 0
    answer = run("cohort", manifest, "--out", out)
    assert answer.code == 0 and "2 done, 1 refused" in answer.out and "1 of 3 series" in answer.err
    run("cohort", manifest, "--out", out, "--again", "refused")
    assert begun == ["a", "b", "c", "c"]
    assert sorted(read_cohort(out).series.id) == ["a", "b", "c"]
    assert "2</b>done" in (out / "summary.html").read_text()
    assert_refused(run("cohort", manifest, "--out", out, "--no-resume"), "holds results")
    assert_refused(run("cohort", manifest, "--out", out, "--again", "done"), "--again takes failed or refused")


def test_corrected_points_are_graded_again(tmp_path: Path, ct: Path, begun: list[str]) -> None:
    """They were taken for done: the tables then told of nodules that nobody marks any more."""
    manifest, points, out = tmp_path / "m.csv", tmp_path / "p.csv", tmp_path / "out"
    (tmp_path / "b.csv").write_text("r,a,s\n-10,-10,20\n")
    manifest.write_text(f"id,ct,points\na,{ct},\nb,{ct},b.csv\nc,{ct},\n")
    points.write_text("id,r,a,s\na,-10,-10,20\na,-12,-10,20\nc,-10,-10,20\n")
    given = ("cohort", manifest, "--points", points, "--out", out)
    assert run(*given).code == run(*given).code == 0 and begun == ["a", "b", "c"]
    points.write_text("id,r,a,s\na,-11,-10,20\nc,-10,-10,20\n")
    (tmp_path / "b.csv").write_text("r,a,s\n-10,-10,20\n-12,-10,20\n")
    answer = run(*given)
    assert "2 series have another CT, points or outlines" in answer.err and begun[3:] == ["a", "b"]
    cohort = read_cohort(out)
    assert sorted(zip(cohort.nodules.id, cohort.nodules.r, strict=True)) == [
        ("a", -11),
        ("b", -12),
        ("b", -10),
        ("c", -10),
    ]
    assert sorted(zip(cohort.series.id, cohort.series.nodules, strict=True)) == [("a", 1), ("b", 2), ("c", 1)]
    # The same cohort at another place is the same.
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("m.csv", "p.csv", "b.csv", "out", ct.name):
        (tmp_path / name).rename(moved / name)
    (moved / "m.csv").write_text((moved / "m.csv").read_text().replace(str(ct), str(moved / ct.name)))
    run("cohort", moved / "m.csv", "--points", moved / "p.csv", "--out", moved / "out")
    assert len(begun) == 5


def test_what_failed_and_is_not_of_this_run_stays(tmp_path: Path, ct: Path, begun: list[str]) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "out"
    manifest.write_text(f"id,ct,points\nfails,{ct},p.csv\nfails-too,{ct},p.csv\n")
    (tmp_path / "p.csv").write_text("r,a,s\n-10,-10,20\n")
    run("cohort", manifest, "--out", out)
    run("cohort", manifest, "--out", out, "--limit", "1", "--again", "failed")
    assert begun == ["fails", "fails-too", "fails"]
    assert sorted(read_cohort(out).series.id) == ["fails", "fails-too"]


def test_a_failed_disk_ends_with_a_sentence(
    manifest: Path, tmp_path: Path, wanted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    def graded_here(series: Any, data_set: DataSet, *more: Any) -> None:
        monkeypatch.setattr(os, "fsync", full)
        data_set.add(series_row(series[0], wanted, status="failed", sentence="Lost."), [])
        data_set.commit()

    monkeypatch.setattr(running, "run", graded_here)
    assert_refused(run("cohort", manifest, "--out", tmp_path / "out"), "No space left", "same command again")


def test_what_is_not_installed_is_named(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "NEEDED", ("ray", "rayless"))
    assert_refused(
        run("cohort", manifest, "--out", tmp_path / "out"), "Cohorts also need rayless", "NoduleRisk[cohort]"
    )


def test_the_time_that_is_left_knows_nothing_of_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = iter([0.0, 3600.0, 3720.0, 3840.0])
    monkeypatch.setattr(cohort_commands, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    with cohort_commands._progress(10) as done:
        for _ in range(3):
            done({"status": "done"})
    assert capsys.readouterr().err.splitlines() == [
        "1 of 10: 1 done",
        "2 of 10: 2 done; about 16 minutes left",
        "3 of 10: 3 done; about 14 minutes left",
    ]


def test_a_demo_is_a_cohort(tmp_path: Path) -> None:
    answer = run("cohort-demo", tmp_path / "demo", "--count", "1")
    assert answer.code == 0 and "nodulerisk cohort" in answer.out
    arguments = (tmp_path / "demo/manifest.csv", "--points", tmp_path / "demo/points.csv", "--out", tmp_path / "out")
    assert "1 series: 1 can be tried" in run("cohort", *arguments, "--dry-run").out
