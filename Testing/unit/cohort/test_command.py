"""What someone at a command line would lose: sentences instead of tracebacks, before Ray and networks are started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_commands import assert_refused, run

from NoduleRiskLib import cohort
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


def test_a_run_goes_on_where_the_last_one_ended(
    manifest: Path, tmp_path: Path, quick: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def graded_here(series: Any, data_set: DataSet, wanted: Any, address: Any, workers: Any, done: Any) -> None:
        for one in series:
            begun.append(one.id)
            result = graded(quick(), one, wanted)
            data_set.add(result.series, result.nodules)
            done(result.series)
        data_set.commit()

    monkeypatch.setattr(running, "run", graded_here)
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


def test_a_demo_is_a_cohort(tmp_path: Path) -> None:
    answer = run("cohort-demo", tmp_path / "demo", "--count", "1")
    assert answer.code == 0 and "nodulerisk cohort" in answer.out
    arguments = (tmp_path / "demo/manifest.csv", "--points", tmp_path / "demo/points.csv", "--out", tmp_path / "out")
    assert "1 series: 1 can be tried" in run("cohort", *arguments, "--dry-run").out
