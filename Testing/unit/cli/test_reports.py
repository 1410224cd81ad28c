"""What someone at a command line would lose: a report, what they said for it, and a doubt before an answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from test_results import PACKAGE as TOY
from test_results import doubtful, nodule, nothing, scan

from NoduleRiskLib.results.result_folder import CSV
from Testing.unit.cli.test_commands import assert_refused, faked, run


def test_a_report_is_written_with_what_the_user_knows(tmp_path: Path, monkeypatch: Any) -> None:
    faked(monkeypatch, [nodule(scan()), nothing()])
    files = [tmp_path / "reports" / f"ct.{kind}" for kind in ("txt", "html", "pdf")]
    answer = run(
        *("assess", "ct.nrrd", "--point", "1", "2", "3", "--point", "4", "5", "6", "--out", tmp_path / "out"),
        *("--about", "setting=incidental", "--about", "age=34", "--about", "nodule 1:lobe=upper"),
        *(part for file in files for part in ("--report", file)),
    )
    assert answer.code == 0, answer.err
    assert all(file.stat().st_size > 500 for file in files)
    told = files[0].read_text("utf-8")
    assert "upper lobe" in told and "Fleischner 2017: does not apply. " in told and TOY.digest in told
    shown = " ".join(answer.out.split())
    assert "nodule 1: guidelines and risk models" in shown and "nodule 2: guidelines" not in shown


def test_without_asking_no_guideline_is_printed(tmp_path: Path, monkeypatch: Any) -> None:
    faked(monkeypatch, [nodule(scan())])
    assert "Lung-RADS" not in run("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", tmp_path).out


def test_a_doubt_is_printed_before_the_guidelines(tmp_path: Path, monkeypatch: Any) -> None:
    faked(monkeypatch, [doubtful(nodule(scan()), "vessel?")])
    shown = run("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", tmp_path, "--about", "age=61").out
    assert shown.index("Doubtful (vessel?)") < shown.index("Lung-RADS")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (("--about", "years=61"), "nodulerisk questions"),
        (("--about", "age=old"), "age"),
        (("--about", "nodule 7:lobe=upper"), "nodule 7"),
        (("--about", "nowhere.json"), "nowhere.json"),
        (("--report", "report.doc"), ".html, .pdf or .txt"),
    ],
)
def test_bad_answers_and_reports_are_told_before_the_work(tmp_path: Path, given: Sequence[str], word: str) -> None:
    assert_refused(run("assess", "ct.nrrd", "--point", "1", "2", "3", *given, "--out", tmp_path / "out"), word)


def test_a_report_that_cannot_be_written_takes_no_grade_with_it(tmp_path: Path, monkeypatch: Any) -> None:
    faked(monkeypatch, [nodule(scan())])
    (tmp_path / "file").write_text("")
    answer = run(
        *("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", tmp_path / "out"),
        *("--report", tmp_path / "file" / "report.txt"),
    )
    assert answer.code == 1 and "could not be written" in answer.err
    assert (tmp_path / "out" / CSV).exists()


def test_every_question_is_listed_with_its_answers() -> None:
    answer = run("questions")
    assert answer.code == 0
    for name in ("age", "setting", "lobe", "doubling_time_days"):
        assert f" {name} " in answer.out
    assert "screening" in answer.out
