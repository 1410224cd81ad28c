"""What someone at a command line would lose: objects on disk, the image that each output names, or a plain refusal."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from rich.console import Console
from test_commands import assert_refused, run
from test_results import PACKAGE

from NoduleRiskLib.cli.terminal import on_terminal
from NoduleRiskLib.imaging.volume import Volume, write_nrrd
from NoduleRiskLib.report.examination import examination
from NoduleRiskLib.report.text import text
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.tables import csv_text, json_text
from Testing.unit.dicom.made_series import sentences

POINT = ("--point", "-37.3", "61.8", "-204.6")


def test_objects_are_written_beside_the_results(graded: Assessment, ct_folder: Path, tmp_path: Path) -> None:
    given = ("assess", ct_folder, *POINT, "--out", tmp_path / "out", "--dicom", tmp_path / "dicom")
    answer = run(*given, "--about", "smoked=yes")
    assert answer.code == 0, answer.err
    names = sorted(path.name for path in (tmp_path / "dicom").iterdir())
    assert [name[:5] for name in names] == ["PM-1-", "SEG-1", "SR-1-"]
    report = pydicom.dcmread(tmp_path / "dicom" / names[2])
    assert report.PatientName == "Müller^Jürgen" and f"SHA-256 {PACKAGE.digest}" in sentences(report)
    assert any(text.startswith("Lung-RADS") for text in sentences(report))
    # The same again changes nothing, and another result lies beside it.
    assert run(*given, "--about", "smoked=yes").code == 0
    assert sorted(path.name for path in (tmp_path / "dicom").iterdir()) == names
    assert run(*given, "--no-names", "--fractional").code == 0
    added = {path for path in (tmp_path / "dicom").iterdir() if path.name not in names}
    assert len(added) == 3
    for path in added:
        read = pydicom.dcmread(path)
        assert not read.PatientName and read.StudyInstanceUID == report.StudyInstanceUID


def test_a_chosen_grades_heatmap_is_written(graded: Assessment, ct_folder: Path, tmp_path: Path) -> None:
    given = ("assess", ct_folder, *POINT, "--out", tmp_path / "out", "--dicom", tmp_path / "dicom")
    assert run(*given, "--grade", "texture").code == 0
    assert [path.name for path in (tmp_path / "out").glob("*-axial.nrrd")] == ["01-nodule-1-texture-axial.nrrd"]
    (path,) = (tmp_path / "dicom").glob("PM-*")
    mapping = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.LUTExplanation == "Heatmap of texture"
    refused = run(*given, "--grade", "beauty")
    assert refused.code == 2 and "'texture'" in refused.err


def test_a_ct_without_dicom_is_refused_before_the_work(ct: Volume, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("NoduleRiskLib.cli.commands.assessed", lambda *given: pytest.fail("it was assessed"))
    write_nrrd(tmp_path / "ct.nrrd", ct)
    answer = run("assess", tmp_path / "ct.nrrd", *POINT, "--out", tmp_path / "out", "--dicom", tmp_path / "dicom")
    assert_refused(answer, "was not read from DICOM")
    assert not (tmp_path / "dicom").exists() and not (tmp_path / "out").exists()


def test_results_are_written_before_a_server_is_asked(
    graded: Assessment, ct_folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    seen = []

    def stop(*given: object, **more: object) -> Any:
        seen.append((tmp_path / "out" / "assessments.json").exists())
        raise KeyboardInterrupt

    monkeypatch.setattr("NoduleRiskLib.cli.running.send", stop)
    where = ("--out", tmp_path / "out", "--store", "http://127.0.0.1:9/dicom-web")
    run("assess", ct_folder, *POINT, *where)
    # Stopped while the server did not answer: everything is there.
    assert seen == [True] and (tmp_path / "out" / "assessments.csv").exists()


def test_objects_that_cannot_be_written_take_no_grade_with_them(
    graded: Assessment, ct_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    answer = run("assess", ct_folder, *POINT, "--out", tmp_path / "out", "--dicom", tmp_path / "file" / "dicom")
    assert answer.code == 1 and "could not be written" in answer.err
    assert (tmp_path / "out" / "assessments.json").exists()


def test_every_output_names_series_image_and_instance(graded: Assessment, ct: Volume) -> None:
    image = graded.image
    assert image is not None and ct.dicom is not None
    assert image == ct.dicom.image_at(round(ct.to_ijk(graded.nodule.outline.centre_ras)[2]))  # type: ignore[union-attr]
    (row,) = csv.DictReader(io.StringIO(csv_text([graded])))
    assert (row["series_uid"], row["series_number"], row["image_number"], row["sop_uid"]) == (
        *(ct.dicom.series_uid, "3", f"{image.number}", image.sop_uid),
    )
    (stored,) = json.loads(json_text(ct, [graded]))["nodules"]
    assert stored["image"] == {
        "series_uid": ct.dicom.series_uid,
        "series_number": "3",
        "number": image.number,
        "sop_uid": image.sop_uid,
    }
    assert Assessment.from_dict(stored, graded.maps()).image == image
    outputs = [text(examination(ct, [graded])), graded._repr_html_()]
    for some in ([graded], [graded, replace(graded)]):
        console = Console(file=io.StringIO(), width=250)
        console.print(on_terminal(some))
        outputs.append(console.file.getvalue())  # type: ignore[attr-defined]
    for output in outputs:
        for words in (f"mage {image.number}", "series 3", image.sop_uid):
            assert words in output, output
    assert csv_text([replace(graded, image=None)]).splitlines()[1].count(image.sop_uid) == 0
