"""What a script or a notebook would lose: one import, one call, results that can be looked at and put on the CT."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from test_results import doubtful, found, named, nodule, nothing, scan

import NoduleRiskLib
from NoduleRiskLib import Assessor, NoduleRiskError, Point, Volume, assess, read_ct, results
from NoduleRiskLib import assessor as assessors
from NoduleRiskLib.cli import arguments
from NoduleRiskLib.grades import DISCLAIMER, GRADE_NAMES
from NoduleRiskLib.imaging import inputs
from NoduleRiskLib.imaging.inputs import as_ct, as_points
from NoduleRiskLib.imaging.simpleitk_images import to_image, to_volume
from NoduleRiskLib.imaging.volume import write_nrrd
from NoduleRiskLib.phantom.chest_ct import chest_ct
from NoduleRiskLib.results import phrases
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.results.tables import COLUMNS, csv_text


@pytest.fixture(scope="module")
def volume() -> Volume:
    return scan()


@pytest.fixture(scope="module")
def assessment(volume: Volume) -> Assessment:
    return nodule(volume)


@pytest.fixture(scope="module")
def chest() -> tuple[Volume, list[Point]]:
    torch.set_num_threads(1)
    volume, nodules = chest_ct()
    return volume, [one.point for one in nodules]


# One import, one call


def test_importing_the_library_waits_for_nothing_heavy() -> None:
    code = "import sys, NoduleRiskLib; print({'torch', 'timm', 'SimpleITK', 'scipy', 'pydicom'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert set(NoduleRiskLib.__all__) <= set(dir(NoduleRiskLib))
    with pytest.raises(AttributeError, match="no attribute 'asses'"):
        NoduleRiskLib.asses  # noqa: B018


def test_a_path_an_image_and_a_volume_give_the_same_grades(chest: tuple[Volume, list[Point]], tmp_path: Path) -> None:
    volume, (first, second, *_) = chest
    write_nrrd(tmp_path / "ct.nrrd", volume)
    expected = assess(volume, [first, second], heatmaps=False, device="cpu")
    assert [one.point for one in expected] == [first, second]
    for ct in (str(tmp_path / "ct.nrrd"), sitk.ReadImage(str(tmp_path / "ct.nrrd"))):
        told = assess(ct, [first.ras, np.array(second.ras)], heatmaps=False, device="cpu")
        for one, other in zip(told, expected, strict=True):
            for name in GRADE_NAMES:
                assert found(one).estimate(name).value == pytest.approx(found(other).estimate(name).value, abs=1e-3)


def test_a_ct_is_looked_at_once_for_many_points(
    chest: tuple[Volume, list[Point]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Volume] = []
    monkeypatch.setattr(assessors.input_checks, "check_volume", lambda volume: looked.append(volume) or ("Look.",))
    assessor = Assessor(device="cpu")
    prepared = assessor.prepare(chest[0])
    for point in chest[1][:2]:
        (one,) = assessor.assess(prepared, [point], heatmaps=False)
        assert [w.text for w in one.warnings if w.about == "ct"] == [*chest[0].warnings, "Look."]
    assert len(looked) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([(1, 2)], "Point 1 is not a position"),
        ([(1, 2, 3), (1, 2, float("nan"))], "Point 2 is not a position"),
        ([("a", "b", "c")], "Point 1 is not a position"),
        ((1.0, 2.0, 3.0), "Point 1 is not a position"),
        (Point("P", (1.0, 2.0, 3.0)), "come as a list"),
        (5, "come as a list"),
        ([Point("P", (1.0, 2.0))], "Point P is not a position"),
    ],
    ids=str,
)
def test_what_is_no_list_of_points_is_told_in_one_sentence(given: Any, words: str) -> None:
    with pytest.raises(NoduleRiskError, match=words):
        as_points(given)


def test_what_is_no_ct_is_told_in_one_sentence(tmp_path: Path) -> None:
    for ct, words in (
        (5, "int is not a CT"),
        (np.zeros((9, 9, 9)), "ndarray is not a CT"),
        (sitk.Image(9, 9, sitk.sitkInt16), "2 dimensions"),
        (sitk.Image((9, 9, 9), sitk.sitkVectorUInt8, 3), "3 values"),
        (tmp_path / "nowhere", "does not exist"),
    ):
        with pytest.raises(NoduleRiskError, match=words):
            as_ct(ct)


def test_a_ct_read_first_is_taken_as_it_is(tmp_path: Path, volume: Volume) -> None:
    write_nrrd(tmp_path / "ct.nrrd", volume)
    read = read_ct(tmp_path / "ct.nrrd")
    assert as_ct(read) is read
    assert read.digest == volume.digest


# What a result looks like


def test_a_result_fits_one_line_whatever_its_label(assessment: Assessment) -> None:
    for one in (assessment, nothing(), named(assessment, "x" * 500), named(assessment, "two\nlines")):
        assert "\n" not in repr(one) and len(repr(one)) < 160
    assert "R -40.1 A 25.3 S -110.7" in repr(assessment) and "malignancy 3.2 (2.6 to 3.9)" in repr(assessment)
    assert "no nodule outlined" in repr(nothing())
    doubted = doubtful(assessment, "vessel?", "outline unsure", "vessel?")
    assert "-110.7: doubtful (vessel?, outline unsure): 12.9 mm, malignancy 3.2" in repr(doubted)


def test_a_notebook_shows_the_card_and_runs_nothing_of_a_label(assessment: Assessment) -> None:
    html = named(assessment, "<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    for words in (*GRADE_NAMES, DISCLAIMER, "68 %", "central (60 %)", *(w.text for w in assessment.warnings)):
        assert words in html
    assert "no grades" in nothing()._repr_html_()


def test_a_notebook_greys_what_is_doubtful_and_says_of_the_ct_what_is_the_cts(assessment: Assessment) -> None:
    sure, unsure = assessment._repr_html_(), doubtful(assessment, "<vessel>?")._repr_html_()
    assert "opacity" not in sure.split("<table>")[0] and "opacity:0.5" in unsure.split("68 %")[0]
    assert unsure.index("&lt;vessel&gt;?") < unsure.index("opacity:0.5") and "<vessel>" not in unsure
    about_ct, about_nodule = (str(one) for one in assessment.warnings)
    assert unsure.index(f"This CT: {about_ct}") < unsure.index("68 %") < unsure.index(about_nodule)
    assert unsure.count(about_ct) == 1


def test_a_frame_holds_numbers_as_numbers(assessment: Assessment) -> None:
    frame = results.to_frame([assessment, nothing()])
    assert list(frame.columns) == [column.name for column in COLUMNS]
    assert frame.malignancy.dtype == float and frame.malignancy.tolist()[0] == 3.21
    assert np.isnan(frame.malignancy[1]) and frame.nodule_found.tolist() == ["yes", "no"]
    assert results.to_frame([]).empty


@pytest.mark.parametrize("label", ["=1+1", "+1", "-cmd", "@SUM(A1)", "\t=1"])
def test_a_spreadsheet_runs_no_label(assessment: Assessment, label: str) -> None:
    assert f"\n'{label}," in csv_text([named(assessment, label)]).replace("\r\n", "\n").replace('"', "")


# Heatmap and mask on the CT's own grid


def test_heatmap_and_mask_lie_on_the_cts_grid(volume: Volume, assessment: Assessment) -> None:
    one = found(assessment)
    heatmap, mask = one.heatmap("malignancy", like=volume), one.mask(like=volume)
    assert heatmap.array.shape == mask.array.shape == volume.array.shape
    assert np.array_equal(heatmap.ijk_to_ras, volume.ijk_to_ras)
    assert mask.array.dtype == np.uint8 and set(np.unique(mask.array)) == {0, 1}
    voxel_mm3 = np.prod(volume.spacing_mm)
    assert mask.array.sum() * voxel_mm3 == pytest.approx(one.outline.volume_mm3, rel=0.1)
    # The ball is where the mask is, and the heatmap is strongest on it.
    assert volume.array[mask.array == 1].mean() > -300
    assert mask.array[np.unravel_index(heatmap.array.argmax(), heatmap.array.shape)]
    assert 0 < heatmap.array.max() <= 1 and heatmap.array.min() == 0


def test_simpleitk_images_come_back_as_simpleitk_images(volume: Volume, assessment: Assessment) -> None:
    image = to_image(volume)
    mask = found(assessment).mask(like=image)
    assert isinstance(mask, sitk.Image)
    for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(mask, ask)() == getattr(image, ask)()
    assert np.array_equal(sitk.GetArrayFromImage(mask), found(assessment).mask(like=volume).array)
    assert np.array_equal(to_volume(image).array, volume.array)
    assert np.allclose(to_volume(image).ijk_to_ras, volume.ijk_to_ras)


def test_a_tilted_gantry_does_not_become_an_image_without_tilt(volume: Volume) -> None:
    sheared = volume.ijk_to_ras.copy()
    sheared[1, 2] += 0.5
    with pytest.raises(NoduleRiskError, match="skewed axes"):
        to_image(Volume(volume.array, sheared, "tilted"))


def test_a_heatmap_that_was_not_computed_is_named(assessment: Assessment) -> None:
    with pytest.raises(KeyError, match="no heatmap of 'beauty': subtlety"):
        found(assessment).heatmap("beauty")
    with pytest.raises(KeyError, match="none were computed"):
        found(nodule(scan(), heatmaps=False)).heatmap("malignancy")


# A GPU that is seen and cannot be used


def break_gpu(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let torch see a GPU on which loading networks fails with ``error``."""
    real = assessors.ModelPackage.networks

    def networks(package: Any, device: Any = "cpu") -> Any:
        if torch.device(device).type == "cuda":
            raise error
        return real(package, device)

    monkeypatch.setattr(assessors.ModelPackage, "networks", networks)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA GeForce GT 730")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    ],
    ids=["no kernels", "full"],
)
def test_a_gpu_that_cannot_be_used_leaves_the_work_to_the_cpu(
    chest: tuple[Volume, list[Point]], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    expected = assess(chest[0], chest[1][:1], heatmaps=False, device="cpu")
    break_gpu(monkeypatch, error)
    assessor = Assessor()
    assert assessor.device_name == "CPU"
    (one,) = assessor.assess(chest[0], chest[1][:1], heatmaps=False)
    assert found(one).estimates == found(expected[0]).estimates
    (warning,) = [w for w in one.warnings if "CPU" in w.text]
    assert warning.about == "ct" and "GPU" in warning.text


def test_weights_that_give_no_numbers_give_no_grades(
    chest: tuple[Volume, list[Point]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assessor = Assessor(device="cpu")
    predict = assessor._predict

    def overflowing(stacks: Any) -> Any:
        return [(one._replace(grades=one.grades * torch.inf), encoded) for one, encoded in predict(stacks)]

    monkeypatch.setattr(assessor, "_predict", overflowing)
    with pytest.raises(NoduleRiskError, match="not numbers"):
        list(assessor.assess(chest[0], chest[1][:1], heatmaps=False))


def test_a_bug_is_not_taken_for_a_gpus_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    break_gpu(monkeypatch, RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        Assessor()


# What the docstrings show is what happens


@pytest.mark.parametrize("module", [arguments, assessors, inputs, phrases], ids=lambda module: module.__name__)
def test_every_example_shows_what_happens(module: Any) -> None:
    told = doctest.testmod(module)
    assert told.attempted and not told.failed


def test_the_command_has_a_name_and_a_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "NoduleRiskLib", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"NoduleRisk {NoduleRiskLib.__version__}"
