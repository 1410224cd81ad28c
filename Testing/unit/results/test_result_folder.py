"""What someone would lose if a run were killed, a disk were full or two runs met in one folder."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.image import imread
from test_results import found, named, nothing, rows

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.segmentation_files import read as read_segments
from NoduleRiskLib.imaging.volume import Volume, itk_ijk_to_ras
from NoduleRiskLib.results import result_folder
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.index_page import index_page
from NoduleRiskLib.results.result_folder import (
    CSV,
    INDEX,
    JSON,
    OUTLINES,
    PARTIAL,
    file_stem,
    write_results,
    write_whole,
)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_run_lists_its_files_and_leaves_nothing_else(tmp_path: Path, volume: Volume, assessment: Assessment) -> None:
    replaced, failures = write_results(tmp_path / "out", volume, [assessment, nothing()])
    assert (replaced, failures) == (False, [])
    listed = json.loads((tmp_path / "out" / JSON).read_text(encoding="utf-8"))["files"]
    assert files(tmp_path / "out") == set(listed)
    assert {CSV, JSON, "01-nodule-1.png", "01-nodule-1-outline.nrrd", "02-nodule-2.png"} <= set(listed)


def test_the_index_page_leads_to_every_file_of_the_run(tmp_path: Path, volume: Volume, assessment: Assessment) -> None:
    write_results(tmp_path, volume, [named(assessment, "<i>a & b"), nothing()])
    page = (tmp_path / INDEX).read_text(encoding="utf-8")
    linked = {unquote(target) for target in re.findall(r"(?:href|src)='([^']+)'", page)}
    assert linked == files(tmp_path)
    assert "&lt;i&gt;a &amp; b" in page and "<i>" not in page
    assert "malignancy 3.2" in page and "68 %" in page and "Research use only" in page
    # Each file is explained.
    assert "<td></td>" not in page


def test_every_nodule_has_its_own_picture_on_the_index_page(volume: Volume) -> None:
    assessments = [named(nothing(), f"n{number}") for number in range(1, 121)]
    pages = [f"{file_stem(number, one.point.label)}.png" for number, one in enumerate(assessments, 1)]
    page = index_page(volume, assessments, sorted([*pages, "followup.png"]))
    assert re.findall(r"<img src='([^']+)'.*?<b>([^<]+)</b>", page) == [
        (name, one.point.label) for name, one in zip(pages, assessments, strict=True)
    ]


def test_outlines_come_as_one_label_map_on_the_cts_grid(tmp_path: Path, volume: Volume, assessment: Assessment) -> None:
    write_results(tmp_path, volume, [named(assessment, "upper: lobe"), nothing(), named(assessment, "again")])
    image = sitk.ReadImage(str(tmp_path / OUTLINES))
    assert image.GetSize() == volume.array.shape[::-1]
    assert np.allclose(itk_ijk_to_ras(image), volume.ijk_to_ras, atol=1e-6)
    labels, inside = sitk.GetArrayFromImage(image), found(assessment).mask(volume).array > 0
    # Where two outlines meet, the first has the voxels.
    assert np.array_equal(labels == 1, inside) and set(np.unique(labels)) == {0, 1}
    (segment,) = read_segments(tmp_path / OUTLINES)
    assert segment.label == "upper: lobe"


@pytest.mark.parametrize("maps", [(), GRADE_NAMES], ids=["one", "all"])
def test_heatmaps_of_all_grades_are_written_where_they_are_asked_for(
    tmp_path: Path, volume: Volume, assessment: Assessment, maps: tuple[str, ...]
) -> None:
    write_results(tmp_path, volume, [assessment], shown="texture", maps=maps)
    written = {name for name in GRADE_NAMES if list(tmp_path.glob(f"*-{name}-*.nrrd"))}
    assert written == {"texture", *maps}


def test_a_second_run_replaces_the_first_as_a_whole_and_nothing_of_the_users(
    tmp_path: Path, volume: Volume, assessment: Assessment
) -> None:
    (tmp_path / "my notes.txt").write_text("mine")
    (tmp_path / "07-mine.png").write_text("mine")
    write_results(tmp_path, volume, [named(assessment, "first"), named(assessment, "second")])
    replaced, _ = write_results(tmp_path, volume, [named(assessment, "third")])
    assert replaced
    assert not any("first" in name or "second" in name for name in files(tmp_path))
    assert [row["label"] for row in rows(tmp_path / CSV)] == ["third"]
    assert (tmp_path / "my notes.txt").read_text() == (tmp_path / "07-mine.png").read_text() == "mine"


def test_a_results_file_cannot_make_the_next_run_delete_other_files(
    tmp_path: Path, volume: Volume, assessment: Assessment
) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / JSON).write_text(json.dumps({"files": ["../keep.txt", str(tmp_path / "keep.txt"), 5, JSON]}))
    write_results(out, volume, [assessment])
    assert (tmp_path / "keep.txt").exists()


def test_a_full_disk_loses_pictures_before_grades(
    tmp_path: Path, volume: Volume, assessment: Assessment, monkeypatch: Any
) -> None:
    def full(path: Path, *rest: object) -> None:
        path.write_bytes(b"half a pict")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("NoduleRiskLib.results.nodule_page.write_page", full)
    _, failures = write_results(tmp_path, volume, [assessment])
    assert len(failures) == 1 and "disk may be full" in failures[0]
    assert files(tmp_path) == {CSV, JSON}
    assert rows(tmp_path / CSV)[0]["label"] == "nodule 1"


def test_a_page_that_fails_half_way_leaves_no_half_page(
    tmp_path: Path, volume: Volume, assessment: Assessment, monkeypatch: Any
) -> None:
    def fails(path: Path, *rest: object) -> None:
        path.write_bytes(b"half a pict")
        raise RuntimeError("no ink")

    monkeypatch.setattr("NoduleRiskLib.results.nodule_page.write_page", fails)
    _, failures = write_results(tmp_path, volume, [assessment])
    assert len(failures) == 1 and "no ink" in failures[0]
    assert files(tmp_path) == {CSV, JSON, INDEX, OUTLINES}


def test_a_disk_without_any_space_leaves_the_earlier_results_whole(
    tmp_path: Path, volume: Volume, assessment: Assessment, monkeypatch: Any
) -> None:
    write_results(tmp_path, volume, [named(assessment, "before")])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*rest: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(result_folder, "csv_text", full)
    with pytest.raises(NoduleRiskError, match=r"could not be written to .*No space left"):
        write_results(tmp_path, volume, [named(assessment, "after")])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from test_results import named, nodule, scan
from NoduleRiskLib.results.result_folder import write_results

volume = scan()
one = nodule(volume)
print("ready", flush=True)
number = 0
while True:
    number += 1
    write_results(Path(sys.argv[1]), volume, [named(one, f"run {number}")] * 2)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_killed_run_leaves_no_half_file(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path])
    for moment in (0.05, 0.4, 0.75, 1.1):
        out = tmp_path / str(moment)
        out.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(out)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": paths},
        )
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in out.iterdir():
            if path.suffix == ".png":
                assert imread(path).size
            elif path.name == CSV:
                with path.open(newline="", encoding="utf-8") as lines:
                    assert len(list(csv.DictReader(lines))) == 2
            elif path.name == JSON:
                assert set(json.loads(path.read_text(encoding="utf-8"))["files"]) <= files(out)
            else:
                assert path.name.startswith(".") or path.suffix == ".nrrd"


def test_what_killed_runs_left_behind_is_cleared_away_later(
    tmp_path: Path, volume: Volume, assessment: Assessment
) -> None:
    for name, age_s in (("old", 2 * 24 * 3600), ("running", 60)):
        (tmp_path / f"{PARTIAL}{name}").mkdir()
        os.utime(tmp_path / f"{PARTIAL}{name}", (time.time() - age_s,) * 2)
    write_results(tmp_path, volume, [assessment])
    assert {name for name in files(tmp_path) if name.startswith(PARTIAL)} == {f"{PARTIAL}running"}


def test_two_runs_at_a_time_leave_the_files_of_one(tmp_path: Path, volume: Volume, assessment: Assessment) -> None:
    threads = [
        threading.Thread(target=write_results, args=(tmp_path, volume, [named(assessment, label)] * 2))
        for label in ("left", "right", "upper")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = json.loads((tmp_path / JSON).read_text(encoding="utf-8"))
    (label,) = {one["label"] for one in told["nodules"]}
    assert {row["label"] for row in rows(tmp_path / CSV)} == {label}
    assert files(tmp_path) == set(told["files"])


def test_a_single_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: Any) -> None:
    write_whole(tmp_path / "a.csv", "before")
    monkeypatch.setattr(os, "replace", lambda *rest: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(NoduleRiskError, match=r"a\.csv could not be written"):
        write_whole(tmp_path / "a.csv", "after")
    assert (tmp_path / "a.csv").read_text() == "before"
    assert files(tmp_path) == {"a.csv"}
