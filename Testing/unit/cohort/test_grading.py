"""What a cohort would lose if one series could stop it, or one sentence were missing."""

from __future__ import annotations

import errno
import gzip
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_results import PACKAGE

from NoduleRiskLib.cohort import memory, running
from NoduleRiskLib.cohort.checking import checked
from NoduleRiskLib.cohort.data_set import DataSet
from NoduleRiskLib.cohort.grading import LARGE, MemoryShortError, Wanted, folder_of, graded, series_row
from NoduleRiskLib.cohort.manifest import Series
from NoduleRiskLib.cohort.running import SPARE, Crew, crew_of
from NoduleRiskLib.cohort.summary import COLUMNS as SHOWN
from NoduleRiskLib.cohort.summary import kinds, summary_html
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.volume import Volume, write_nrrd
from NoduleRiskLib.results import read_cohort
from NoduleRiskLib.results.cohort_tables import SERIES_COLUMNS
from NoduleRiskLib.results.tables import COLUMNS
from Testing.unit.imaging.made_scans import chest, write_series

POINTS = (Point("one", (-10.0, -10.0, 20.0)), Point("two", (-12.0, -10.0, 20.0)))


def test_a_good_series_is_a_row_and_one_for_each_nodule(ct: Path, quick: Any, wanted: Wanted) -> None:
    one = graded(quick(), Series("a", str(ct), placed=POINTS), wanted)
    assert (one.series["status"], one.series["nodules"], one.series["sentence"]) == ("done", 2, "")
    assert one.series["ct_warnings"] == "The slices are thick."
    assert [(row["id"], row["number"], row["label"]) for row in one.nodules] == [("a", 1, "one"), ("a", 2, "two")]
    assert {column.name for column in COLUMNS} <= set(one.nodules[0])
    assert one.nodules[0]["package_sha256"] == wanted.package_sha256
    assert json.loads(one.nodules[0]["versions"])["NoduleRisk"]
    assert 0 < one.series["read_seconds"] <= one.series["seconds"]


@pytest.mark.parametrize(
    ("raises", "status", "words"),
    [
        (NoduleRiskError("The point lies outside."), "refused", "The point lies outside."),
        (KeyError("grader"), "failed", "KeyError: 'grader'"),
        (RuntimeError("two\nlines"), "failed", "RuntimeError: two lines"),
    ],
)
def test_whatever_is_wrong_is_a_row(
    ct: Path, quick: Any, wanted: Wanted, raises: Exception, status: str, words: str
) -> None:
    one = graded(quick(raises), Series("a", str(ct), placed=POINTS), wanted)
    assert (one.series["status"], one.series["sentence"], one.nodules) == (status, words, [])


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (OSError(errno.EIO, "Input/output error"), "failed"),
        (OSError(errno.ESTALE, "Stale file handle"), "failed"),
        (PermissionError(errno.EACCES, "Permission denied"), "failed"),
        (ConnectionResetError(), "failed"),
        (TimeoutError(), "failed"),
        (ModuleNotFoundError("Install s3fs to access S3"), "failed"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "refused"),
        (IsADirectoryError(errno.EISDIR, "Is a directory"), "refused"),
        (OSError("broken data stream when reading image file"), "refused"),
        (gzip.BadGzipFile("Not a gzipped file"), "refused"),
        (ValueError("no number"), "refused"),
    ],
)
def test_what_disk_and_network_do_is_no_fault_of_the_ct(
    ct: Path, quick: Any, wanted: Wanted, cause: Exception, status: str
) -> None:
    """A refused series is not tried again by --again failed."""
    error = NoduleRiskError("It cannot be read.")
    error.__cause__ = cause
    one = graded(quick(error), Series("a", str(ct), placed=POINTS), wanted)
    assert (one.series["status"], one.series["sentence"]) == (status, "It cannot be read.")


def test_an_address_whose_library_is_missing_fails(quick: Any, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*given: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    one = graded(quick(), Series("a", "s3://bucket/a", placed=POINTS), wanted)
    assert one.series["status"] == "failed" and "Install s3fs" in one.series["sentence"]


@pytest.mark.parametrize(
    "raises", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_short_memory_is_no_row_yet(ct: Path, quick: Any, wanted: Wanted, raises: Exception) -> None:
    with pytest.raises(MemoryShortError):
        graded(quick(raises), Series("a", str(ct), placed=POINTS), wanted)


def test_short_memory_while_reading_is_no_refusal(
    ct: Path, quick: Any, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr("NoduleRiskLib.imaging.image_file.read_voxels", short)
    with pytest.raises(MemoryShortError):
        graded(quick(), Series("a", str(ct), placed=POINTS), wanted)


def test_a_ct_too_large_for_its_worker_comes_again_and_is_not_read(ct: Path, quick: Any, wanted: Wanted) -> None:
    small = Wanted("", wanted.package_sha256, room_mb=memory.WORKER_MB)
    one = graded(quick(AssertionError()), Series("a", str(ct), placed=POINTS), small)
    assert one.series["status"] == LARGE and one.series["needed_mb"] > memory.WORKER_MB


@pytest.mark.parametrize("kind", ["nrrd", "nii.gz", "mha", "dicom"])
def test_memory_is_known_from_the_header(tmp_path: Path, kind: str) -> None:
    import SimpleITK as sitk

    hu = chest(24, 32)
    path = tmp_path / f"ct.{kind}"
    if kind == "dicom":
        write_series(path, hu)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(hu), str(path))
    assert memory.needed_mb(path) == pytest.approx(memory.WORKER_MB + memory.TIMES_VOXELS * 2 * hu.size / 1e6)


def test_an_unreadable_header_needs_no_memory(tmp_path: Path) -> None:
    (tmp_path / "ct.nrrd").write_text("no header")
    assert memory.needed_mb(tmp_path / "ct.nrrd") == memory.needed_mb(tmp_path / "nothing") == 0


KEPT = """
import ctypes, sys
from NoduleRiskLib.cohort.memory import keep_freed
malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
if sys.argv[1] == "keep":
    keep_freed()
block = malloc(200_000_000)
ctypes.memset(block, 1, 200_000_000)
free(block)
print(int(open("/proc/self/statm").read().split()[1]) * 4096)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_a_worker_does_not_pay_for_the_same_memory_with_every_ct() -> None:
    keep, give = (
        int(subprocess.run([sys.executable, "-c", KEPT, how], capture_output=True, check=True).stdout)
        for how in ("keep", "give back")
    )
    assert keep > give + 150e6


def node(cpus: float, gb: float, gpus: float = 0, alive: bool = True, **others: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "memory": gb * 1e9, "GPU": gpus, **others}}


@pytest.mark.parametrize(
    ("nodes", "room_mb", "device", "workers", "crew"),
    [
        ([node(3, 16)], 2700, "auto", 2, Crew(2, 2700)),
        # A Ray of our own on two processors.
        ([node(3, 16, **{SPARE: 1})], 2700, "auto", None, Crew(2, 2700)),
        ([node(2, 16, **{SPARE: 1})], 2700, "auto", None, Crew(1, 2700)),
        # Memory for two only, whatever the processors.
        ([node(64, 6)], 2700, "cpu", None, Crew(2, 2700)),
        # A node's memory is its own: 4 GB and 4 GB hold no worker of 5.
        ([node(8, 4), node(8, 11)], 5000, "cpu", None, Crew(2, 5000)),
        ([node(8, 99), node(8, 99, alive=False)], 2700, "cpu", None, Crew(8, 2700)),
        ([node(16, 128, gpus=2)], 2700, "auto", None, Crew(8, 2700, 0.25, together=4)),
        ([node(16, 128, gpus=2)], 2700, "cpu", None, Crew(16, 2700)),
    ],
)
def test_workers_fit_into_processors_and_memory(
    nodes: list[dict[str, Any]], room_mb: float, device: str, workers: int | None, crew: Crew
) -> None:
    assert crew_of(nodes, room_mb, device, workers) == crew


def test_how_many_series_are_in_a_worker_can_be_chosen() -> None:
    assert crew_of([node(16, 128, gpus=1)], 2700, "auto", together=2) == Crew(4, 2700, 0.25, together=2)
    assert crew_of([node(2, 16)], 2700, "cpu", together=3).together == 3


def test_workers_leave_a_processor_to_whoever_hands_out_the_series() -> None:
    """Ray's own tasks ask for a whole one; without it nothing ever begins."""
    for cpus in range(2, 20):
        crew = crew_of([node(cpus, 999)], 100, "cpu", 999)
        assert 0.5 * crew.count + 1 <= cpus


@pytest.mark.parametrize(("nodes", "device"), [([node(8, 1)], "cpu"), ([node(8, 99)], "cuda")])
def test_what_cannot_run_anywhere_is_one_sentence(nodes: list[dict[str, Any]], device: str) -> None:
    with pytest.raises(NoduleRiskError, match=r"^[A-Z].*\.$"):
        crew_of(nodes, 2700, device)


def test_a_ct_that_fits_into_no_computer_fails_and_the_others_are_graded(
    tmp_path: Path, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the cohort: the large ones beside it were not graded, and there was no summary."""
    needed = {"small": 0.0, "large": 5000.0, "too large": 90000.0}
    rooms: list[float] = []

    def streamed(ray: Any, series: Sequence[Series], wanted: Wanted, crew: Crew) -> Iterator[Any]:
        rooms.append(crew.room_mb)
        for one in series:
            status = "done" if needed[one.id] <= crew.room_mb else LARGE
            yield series_row(one, wanted, status=status, sentence="", needed_mb=needed[one.id]), []

    ray = SimpleNamespace(nodes=lambda: [node(8, 8), node(8, 999, alive=False)])
    monkeypatch.setattr(running, "ray_running", lambda *given: nullcontext(ray))
    monkeypatch.setattr(running, "_graded", streamed)
    told: list[str] = []
    with DataSet(tmp_path, {}) as data_set:
        running.run([Series(name, "/ct") for name in needed], data_set, wanted, done=lambda row: told.append(row["id"]))
    rows = read_cohort(tmp_path).series.set_index("id")
    assert dict(rows.status) == {"small": "done", "large": "done", "too large": "failed"}
    assert "needs 90.0 GB of memory, and no computer here has more than 8.0 GB" in rows.sentence["too large"]
    assert rooms[1:] == [5000] and sorted(told) == sorted(needed)


def test_a_dry_run_names_what_would_be_refused(ct: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.nrrd").touch()
    found = [
        one.sentence
        for one in checked(
            [
                Series("a", str(ct), placed=POINTS),
                Series("b", str(ct)),
                Series("c", str(tmp_path / "nothing"), placed=POINTS),
                Series("d", str(tmp_path / "empty.nrrd"), placed=POINTS),
                Series("e", str(ct), points=str(tmp_path / "nothing.csv")),
                Series("f", "", placed=POINTS),
                Series("g", "s3://somewhere/else", placed=POINTS),
            ]
        )
    ]
    assert [bool(one) for one in found] == [False, True, True, True, True, True, False]


def test_a_dry_run_goes_on_past_a_folder_that_may_not_be_entered(
    ct: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.stat

    def stat(self: Path, **more: Any) -> os.stat_result:
        if self.parent.name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, **more)

    monkeypatch.setattr(Path, "stat", stat)
    locked = tmp_path / "locked"
    series = [
        Series("a", str(locked / "ct.nrrd"), placed=POINTS),
        Series("b", str(ct), points=str(locked / "points.csv")),
        Series("c", str(ct), placed=POINTS),
    ]
    first, second, third = (one.sentence for one in checked(series))
    assert first == f"{locked / 'ct.nrrd'} cannot be read (Permission denied): check the disk and your rights."
    assert second.startswith(f"{locked / 'points.csv'} cannot be read") and not third


def test_pages_are_written_and_trouble_with_them_is_no_refusal(
    ct: Path, quick: Any, tmp_path: Path, wanted: Wanted
) -> None:
    files = tmp_path / "files"
    pages = Wanted("", wanted.package_sha256, files=str(files), pages=True)
    one = graded(quick(), Series("1.2/3", str(ct), placed=POINTS[:1]), pages)
    assert one.series["status"] == "done" and (folder_of(str(files), Series("1.2/3", "")) / "assessments.csv").exists()
    (tmp_path / "blocked").write_text("no folder")
    blocked = Wanted("", wanted.package_sha256, files=str(tmp_path / "blocked"), pages=True)
    one = graded(quick(), Series("a", str(ct), placed=POINTS[:1]), blocked)
    assert one.series["status"] == "failed" and one.nodules == [] and one.series["nodules"] == 0


def test_the_summary_counts_and_shows_what_files_hold_as_text(
    ct: Path, tmp_path: Path, quick: Callable[..., Any], wanted: Wanted
) -> None:
    with DataSet(tmp_path / "out", {"model package": PACKAGE.digest}) as data_set:
        for name in ("a", "b"):
            one = graded(quick(), Series(name, str(ct), placed=POINTS), wanted)
            data_set.add(one.series, one.nodules)
        for number in (1, 2):
            series = Series(f"<script>{number}", f"/cts/{number}.nrrd")
            text = f"/cts/{number}.nrrd ends after {number} voxels."
            data_set.add(series_row(series, wanted, status="refused", sentence=text), [])
    cohort = read_cohort(tmp_path / "out")
    # Two sentences that differ in names and numbers alone are one kind.
    assert [(one.count, one.first) for one in kinds(cohort.series)] == [(2, "<script>1")]
    assert set(cohort.series.columns) == {column.name for column in SERIES_COLUMNS}
    page = summary_html(cohort, "trial <1>")
    assert "<script>" not in page and "trial &lt;1&gt;" in page
    assert "Suspicion probability" in page and "4, " in page
    # Of thousands of series no more is read than the page needs.
    assert summary_html(read_cohort(tmp_path / "out", SHOWN), "trial <1>") == page


def test_a_summary_of_nothing_but_refusals_is_a_page(tmp_path: Path, wanted: Wanted) -> None:
    with DataSet(tmp_path, {}) as data_set:
        data_set.add(series_row(Series("a", "/a"), wanted, status="refused", sentence="No."), [])
    assert "Distributions" in summary_html(read_cohort(tmp_path), "x")


def test_a_ct_of_zeros_is_refused_by_its_own_sentence(tmp_path: Path, quick: Any, wanted: Wanted) -> None:
    path = tmp_path / "zero.nrrd"
    write_nrrd(path, Volume(np.zeros((20, 20, 20), np.int16), np.eye(4) * (1, 1, 1, 1)))
    one = graded(quick(), Series("a", str(path), placed=POINTS), wanted)
    assert one.series["status"] == "refused" and one.series["sentence"].endswith(".")
