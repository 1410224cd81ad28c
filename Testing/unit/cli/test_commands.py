"""What someone at a command line would lose: results on disk, and one sentence instead of a traceback."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.image import imread
from test_results import PACKAGE as TOY
from test_results import nodule, nothing, rows, scan, strict

from NoduleRiskLib import __main__
from NoduleRiskLib.cli import commands
from NoduleRiskLib.grades import DISCLAIMER, GRADE_NAMES
from NoduleRiskLib.imaging.volume import write_nrrd
from NoduleRiskLib.networks import model_package
from NoduleRiskLib.networks.model_package import SHIPPED
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.result_folder import CSV, INDEX, JSON, OUTLINES


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


def run(*arguments: object) -> Answer:
    """The command line as a shell sees it; any traceback comes out as the exception that it is."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        commands.main([str(argument) for argument in arguments])
    return Answer(int(left.value.code or 0), out.getvalue(), err.getvalue())


def assert_refused(answer: Answer, *words: str) -> None:
    """Exit code 2 and one sentence that has the words; nothing on stdout."""
    assert answer.code == 2 and answer.out == ""
    assert answer.err.count("\n") == 1 and answer.err.rstrip().endswith(".")
    for word in words:
        assert word in answer.err


# --- what comes in ---


@pytest.mark.parametrize("places", [(), ("--point", "1", "2", "3", "--points", "points.csv")], ids=["neither", "both"])
def test_a_nodule_has_to_be_marked_in_exactly_one_way(tmp_path: Path, places: Sequence[str]) -> None:
    assert_refused(run("assess", "ct.nrrd", *places, "--out", tmp_path), "either --point R A S", "or --points FILE")


@pytest.mark.parametrize("text", ["1", "1 2", "here", "1 2 x"])
def test_a_point_that_is_not_three_numbers_is_shown_how(tmp_path: Path, text: str) -> None:
    assert_refused(run("assess", "ct.nrrd", "--point", text, "--out", tmp_path), "three numbers", repr(text))


@pytest.mark.parametrize(
    "given",
    [
        ("-56,19", "-86,21", "-115,0"),
        ("-56,19", "-86,21", "-115"),
        ("-56,19 -86,21 -115,0",),
        ("56,19", "86"),
        ("-56,19;-86,21;-115,0",),
    ],
)
def test_decimal_commas_are_told_and_make_no_other_point(tmp_path: Path, given: Sequence[str]) -> None:
    answer = run("assess", "ct.nrrd", "--point", *given, "--out", tmp_path)
    assert_refused(answer, "points and not commas in the numbers", " ".join(given))


@pytest.mark.parametrize("text", ["nan 1 2", "1_0 2 3", "１ 2 3", "1e999 2 3"])
def test_what_only_python_takes_for_a_number_is_no_coordinate(tmp_path: Path, text: str) -> None:
    assert_refused(run("assess", "ct.nrrd", "--point", text, "--out", tmp_path), "three numbers")


@pytest.mark.parametrize(
    "given",
    [("--point", "-56.19", "-86.21", "-115.0"), ("--point", "-56.19 -86.21 -115.0"), ("--point", "-56.19,-86.21,-115")],
)
def test_negative_coordinates_are_no_options(given: Sequence[str], monkeypatch: Any, tmp_path: Path) -> None:
    seen = faked(monkeypatch, [nothing()])
    assert run("assess", "ct.nrrd", *given, "--point", "1", "-2e1", ".5", "--out", tmp_path, "--no-heatmaps").code == 0
    assert [point.ras for point in seen] == [(-56.19, -86.21, -115.0), (1.0, -20.0, 0.5)]


@pytest.mark.parametrize(
    ("given", "example"),
    [
        (("ct.nrrd", "-56.2", "-86.2", "-115"), "--point -56.2 -86.2 -115."),
        (("ct.nrrd", "56.2", "86.2", "115"), "--point 56.2 86.2 115."),
        (("--no-heatmaps", "ct.nrrd", "-1", "2", "3", "--json"), "--point -1 2 3."),
        (("-1", "2", "3", "ct.nrrd"), "--point -1 2 3."),
        (("ct.nrrd", "--point", "1", "2", "3", "4"), "4: "),
        (("ct.nrrd", "--point", "1", "2", "3", "-4", "5", "6"), "--point -4 5 6."),
    ],
    ids=" ".join,
)
def test_numbers_without_point_are_told_where_they_belong(tmp_path: Path, given: Sequence[str], example: str) -> None:
    assert_refused(run("assess", "--out", tmp_path, *given), "behind a --point of their own", example)


def test_numbers_that_belong_to_options_or_name_the_ct_are_left_alone(monkeypatch: Any, tmp_path: Path) -> None:
    seen = faked(monkeypatch, [nothing()])
    monkeypatch.chdir(tmp_path)
    assert run("assess", "5", "--point", "1", "2", "3", "--out", "7", "--series", "1.2", "--device", "0").code == 0
    assert [point.ras for point in seen] == [(1.0, 2.0, 3.0)] and (tmp_path / "7" / CSV).exists()


def test_missing_files_are_named(tmp_path: Path, monkeypatch: Any) -> None:
    at = ("--point", "1", "2", "3", "--out", tmp_path / "out")
    assert_refused(run("assess", "ct.nrrd", *at, "--model", tmp_path / "nowhere"), "no model package", "nowhere")
    assert_refused(run("assess", "ct.nrrd", "--points", "nowhere.csv", *at[4:]), "nowhere.csv")
    monkeypatch.setattr(model_package, "load", lambda path: TOY)
    assert_refused(run("assess", tmp_path / "nowhere.nrrd", *at), "nowhere.nrrd")


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert_refused(run("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", out), "--out", str(out))
        assert_refused(run("demo", "--out", out), "--out", str(out))


def test_what_comes_to_nothing_leaves_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    (tmp_path / "ct.nrrd").write_text("no CT")
    for ct in ("ct.nrrd", "nowhere.nrrd"):
        assert_refused(run("assess", tmp_path / ct, "--point", "1", "2", "3", "--out", out), ct)
    assert not out.parent.exists()


def test_a_table_that_is_open_elsewhere_is_told_before_the_work(tmp_path: Path) -> None:
    # What Excel does to an open file, a folder of that name does too.
    (tmp_path / CSV).mkdir()
    assert_refused(run("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", tmp_path), "Nothing can be written")


def test_missing_packages_of_the_extra_are_named_at_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(__main__, "find_spec", lambda name: None if name == "matplotlib" else object())
    err = io.StringIO()
    with redirect_stderr(err), pytest.raises(SystemExit) as left:
        __main__.main()
    assert left.value.code == 2
    assert err.getvalue() == "The command line also needs matplotlib: run python -m pip install matplotlib.\n"


def test_help_and_mistakes_do_not_wait_for_torch() -> None:
    code = (
        "import sys; from NoduleRiskLib.cli.commands import main\n"
        "for arguments in (['assess', '--help'], ['assess', 'x'], ['model', 'nowhere'], ['--nonsense']):\n"
        "    try: main(arguments)\n"
        "    except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert "--point" in done.stdout


# --- what comes out ---


def faked(monkeypatch: Any, assessments: list[Assessment]) -> list[Any]:
    """Let the command line assess a toy scan without a model; returns the list that its points will be put into."""
    seen: list[Any] = []

    def assess(progress: Any, volume: Any, marked: Any, *rest: Any) -> tuple[list[Assessment], bool]:
        seen.extend(marked)
        return assessments, False

    monkeypatch.setattr(commands, "assessed", assess)
    monkeypatch.setattr(model_package, "load", lambda path: TOY)
    monkeypatch.setattr("NoduleRiskLib.imaging.reading.read", lambda path, series=None: scan())
    return seen


def test_machines_get_json_and_nothing_else(tmp_path: Path, monkeypatch: Any) -> None:
    faked(monkeypatch, [nodule(scan())])
    answer = run("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", tmp_path, "--json")
    assert answer.code == 0
    told = strict(answer.out)
    assert told == strict((tmp_path / JSON).read_text())
    assert told["nodules"][0]["label"] == "nodule 1"


def test_nodules_of_one_name_do_not_overwrite_each_other(tmp_path: Path, monkeypatch: Any) -> None:
    label = "left/upper: a?"
    faked(monkeypatch, [nodule(scan(), label=label), nodule(scan(), label=label, heatmaps=False), nothing("../..")])
    assert run("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", tmp_path / "out").code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "01-left-upper-a-malignancy-axial.nrrd",
        "01-left-upper-a-outline.nrrd",
        "01-left-upper-a.png",
        "02-left-upper-a-outline.nrrd",
        "02-left-upper-a.png",
        "03-nodule.png",
        CSV,
        JSON,
        INDEX,
        OUTLINES,
    ]


@pytest.mark.parametrize("more", [(), ("--all-heatmaps",)], ids=["one", "all"])
def test_all_grades_heatmaps_are_written_if_asked_for(tmp_path: Path, monkeypatch: Any, more: Sequence[str]) -> None:
    faked(monkeypatch, [nodule(scan())])
    assert run("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", tmp_path, "--grade", "texture", *more).code == 0
    written = {name for name in GRADE_NAMES if list(tmp_path.glob(f"01-*-{name}-*.nrrd"))}
    assert written == (set(GRADE_NAMES) if more else {"texture"})


def test_a_picture_that_fails_takes_no_result_with_it(tmp_path: Path, monkeypatch: Any) -> None:
    faked(monkeypatch, [nodule(scan(), label="first"), nodule(scan(), label="second")])

    def fails(path: Path, volume: Any, assessment: Assessment, name: str) -> None:
        if assessment.point.label == "first":
            raise RuntimeError("no ink")
        path.write_bytes(b"drawn")

    monkeypatch.setattr("NoduleRiskLib.results.nodule_page.write_page", fails)
    answer = run("assess", "ct.nrrd", "--point", "1", "2", "3", "--out", tmp_path)
    assert answer.code == 1
    assert "first" in answer.err and "no ink" in answer.err and "second" not in answer.err
    assert [row["label"] for row in rows(tmp_path / CSV)] == ["first", "second"]
    assert (tmp_path / "02-second.png").exists() and (tmp_path / "02-second-outline.nrrd").exists()
    assert "first" in answer.out and DISCLAIMER in " ".join(answer.out.split())


# --- with the package that ships ---


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    out = tmp_path_factory.mktemp("demo")
    return out, run("demo", "--out", out, "--model", SHIPPED, "--device", "cpu")


def test_the_demo_shows_readers_beside_estimates_and_says_that_the_ct_is_synthetic(demo: tuple[Path, Answer]) -> None:
    out, answer = demo
    assert answer.code == 0
    assert "synthetic" in answer.out and str(out) in answer.out and DISCLAIMER in " ".join(answer.out.split())
    assert answer.out.count("its readers") == 7
    # What the readers of the spiculated one gave.
    assert re.search(r"spiculated .*\n.*its readers +5\.0 +4\.0 +3\.8 +3\.8 +3\.5 +4\.8 +0 % +18\.9 +5\.0", answer.out)
    labels = [row["label"] for row in rows(out / CSV)]
    assert labels[0] == "small smooth" and len(labels) == 7
    assert len(list(out.glob("*.png"))) == 7
    assert "Lung-RADS v2022" in (out / "report.html").read_text("utf-8")
    assert all(imread(path).std() > 0.1 for path in out.glob("*.png"))


def test_the_demos_maps_lie_over_its_ct(demo: tuple[Path, Answer]) -> None:
    out, _ = demo
    found = [row for row in rows(out / CSV) if row["nodule_found"] == "yes"]
    maps = sorted(out.glob("*-malignancy-axial.nrrd"))
    assert found and len(maps) == len(found) == len(list(out.glob("*-outline.nrrd")))
    for row, path in zip(found, maps, strict=True):
        image = sitk.ReadImage(str(path))
        point = [-float(row["r"]), -float(row["a"]), float(row["s"])]
        index = np.array(image.TransformPhysicalPointToContinuousIndex(point))
        assert (index > -3).all() and (index < np.array(image.GetSize()) + 2).all()
        assert sitk.GetArrayFromImage(image).min() >= 0 and sitk.GetArrayFromImage(image).max() <= 1


def test_a_result_can_be_had_again_from_the_files_of_the_demo(demo: tuple[Path, Answer], tmp_path: Path) -> None:
    out, _ = demo
    points = tmp_path / "first two.csv"
    points.write_text("".join((out / CSV).read_text(encoding="utf-8").splitlines(keepends=True)[:3]), encoding="utf-8")
    answer = run(
        *("assess", out / "ct.nrrd", "--points", points, "--out", tmp_path, "--model", SHIPPED),
        *("--device", "cpu", "--no-heatmaps", "--json"),
    )
    assert answer.code == 0
    first, again = strict((out / JSON).read_text()), strict(answer.out)
    assert again["volume"]["digest"] == first["volume"]["digest"] and again["model"] == first["model"]
    for before, after in zip(first["nodules"][:2], again["nodules"], strict=True):
        assert after["label"] == before["label"]
        earlier, later = before["nodule"]["estimates"], after["nodule"]["estimates"]
        assert set(earlier) == set(GRADE_NAMES) - {"calcification"}
        for name, estimate in earlier.items():
            assert later[name]["value"] == pytest.approx(estimate["value"], abs=1e-3)
        assert not any(one["weights"] for one in after["nodule"]["stack"]["slices"])
    assert not list(tmp_path.glob("*-malignancy-*"))


def test_an_outline_drawn_elsewhere_is_graded_without_points(tmp_path: Path) -> None:
    volume = scan()
    write_nrrd(tmp_path / "ct.nrrd", volume)
    write_nrrd(tmp_path / "mine.nrrd", replace(volume, array=(volume.array == 40).astype(np.uint8)))
    answer = run(
        *("assess", tmp_path / "ct.nrrd", "--segmentation", tmp_path / "mine.nrrd", "--json", "--no-heatmaps"),
        *("--out", tmp_path / "out", "--model", SHIPPED, "--device", "cpu"),
    )
    assert answer.code == 0, answer.err
    (one,) = strict(answer.out)["nodules"]
    assert one["nodule"]["outline"]["drawn_by"] == "user"
    assert one["nodule"]["outline"]["diameter_mm"] == pytest.approx(12, abs=1)


def test_points_and_an_outline_that_slicer_saved_are_graded_in_one_call(tmp_path: Path) -> None:
    """The segment lies on a grid of its own; one point lies in it, the other has no outline."""
    volume = scan()
    near, far = np.array((-40.0, 25.0, -110.0)), np.array((-20.0, 5.0, -125.0))
    places = volume.to_ras(np.stack(np.indices(volume.array.shape)[::-1], -1))
    hu = np.where(np.linalg.norm(places - far, axis=-1) < 5, 40, volume.array).astype(np.int16)
    write_nrrd(tmp_path / "ct.nrrd", replace(volume, array=hu))
    write_seg_nrrd(tmp_path / "mine.seg.nrrd", near, 4.0, "upper lobe")
    answer = run(
        *("assess", tmp_path / "ct.nrrd", "--segmentation", tmp_path / "mine.seg.nrrd", "--json", "--no-heatmaps"),
        *("--point", *map(str, far), "--point", *map(str, near + 1), "--out", tmp_path / "out"),
        *("--model", SHIPPED, "--device", "cpu"),
    )
    assert answer.code == 0, answer.err
    by_network, by_user = strict(answer.out)["nodules"]
    assert [one["label"] for one in (by_network, by_user)] == ["nodule 1", "nodule 2"]
    assert [one["nodule"]["outline"]["drawn_by"] for one in (by_network, by_user)] == ["network", "user"]
    for one, centre, mm in ((by_network, far, 10), (by_user, near, 8)):
        assert np.linalg.norm(np.array(one["nodule"]["outline"]["centre_ras_mm"]) - centre) < 1.5
        assert one["nodule"]["estimates"]["diameter"]["value"] == pytest.approx(mm, abs=1.2)
    assert [row["outline_by"] for row in rows(tmp_path / "out" / CSV)] == ["network", "user"]


def write_seg_nrrd(path: Path, centre_ras: Any, radius_mm: float, name: str) -> None:
    """A ball as Slicer's Segment Editor saves it: a small label map with the segment's name in its header."""
    side, spacing = 15, 0.9
    k, j, i = np.indices((side,) * 3)
    middle = (side - 1) / 2
    inside = spacing * np.sqrt((i - middle) ** 2 + (j - middle) ** 2 + (k - middle) ** 2) < radius_mm
    image = sitk.GetImageFromArray(3 * inside.astype(np.uint8))
    image.SetSpacing((spacing,) * 3)
    image.SetOrigin([float(x) for x in centre_ras * (-1, -1, 1) - middle * spacing])
    for key, value in {"Name": name, "LabelValue": "3", "Layer": "0"}.items():
        image.SetMetaData(f"Segment0_{key}", value)
    sitk.WriteImage(image, str(path))


def test_a_point_beside_the_ct_is_refused_by_name(tmp_path: Path) -> None:
    write_nrrd(tmp_path / "ct.nrrd", scan())
    answer = run(
        *("assess", tmp_path / "ct.nrrd", "--point", "-40", "25", "-110", "--point", "900", "0", "0"),
        *("--out", tmp_path / "out", "--model", SHIPPED, "--device", "cpu"),
    )
    assert_refused(answer, "nodule 2", "outside the CT")


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_nrrd(tmp_path / "ct.nrrd", scan())
    answer = run(
        *("assess", tmp_path / "ct.nrrd", "--point", "-40", "25", "-110", "--device", "toaster"),
        *("--out", tmp_path / "out", "--model", SHIPPED),
    )
    assert_refused(answer, "no device 'toaster'")


def test_a_package_says_what_it_is_and_that_it_is_whole(tmp_path: Path) -> None:
    answer = run("model", SHIPPED)
    assert answer.code == 0 and "Verified" in answer.out
    assert model_package.load(SHIPPED).digest in "".join(answer.out.split())
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in SHIPPED.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / model_package.CARD).write_text("Better than it is.")
    assert_refused(run("model", copy), "altered")
