"""What a radiologist would lose if the way from a point to nine grades broke: the shipped package on whole CTs."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_results import found

from NoduleRiskLib import assessor as assessors
from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.imaging import reading
from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.points import Point
from NoduleRiskLib.imaging.segment import Segment
from NoduleRiskLib.imaging.solid_part import SolidPart
from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.networks.model_package import ModelPackage, load
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from NoduleRiskLib.phantom import chest_ct
from NoduleRiskLib.phantom.chest_ct import PhantomNodule
from NoduleRiskLib.results.assessment import Assessment
from NoduleRiskLib.similar.reference_set import ReferenceSet
from training.evaluation.robustness import CHANGES, Site, around, false_finds, grades, moves, tissue_places

DATA = Path(os.environ.get("NODULERISK_DATA", "../shared/data"))
SAMPLE = DATA / "ct" / "LIDC-IDRI-0001"

Chest = tuple[Volume, dict[str, PhantomNodule]]


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    return load()


@pytest.fixture(scope="module")
def assessor(package: ModelPackage) -> Assessor:
    torch.set_num_threads(1)
    return Assessor(package, device="cpu")


@pytest.fixture(scope="module")
def chest() -> Chest:
    volume, nodules = chest_ct.chest_ct()
    return volume, {nodule.label: nodule for nodule in nodules}


@pytest.fixture(scope="module")
def assessed(assessor: Assessor, chest: Chest) -> dict[str, Assessment]:
    volume, nodules = chest
    return {one.point.label: one for one in assessor.assess(volume, points(nodules))}


@pytest.fixture(scope="module")
def sample() -> tuple[Volume, Point, dict[str, str]]:
    """The complete CT of LIDC-IDRI-0001, its nodule's point, and what four readers said of it."""
    if not SAMPLE.is_dir():
        pytest.skip("The LIDC sample CT is not here: set NODULERISK_DATA to its folder.")
    with (SAMPLE.parent / "points.csv").open(newline="") as lines:
        row = next(csv.DictReader(lines))
    return reading.read(SAMPLE), Point("nodule", (float(row["r"]), float(row["a"]), float(row["s"]))), row


def points(nodules: dict[str, PhantomNodule]) -> list[Point]:
    return [nodule.point for nodule in nodules.values()]


def test_every_nodule_of_the_phantom_is_found_and_graded(assessed: dict[str, Assessment], chest: Chest) -> None:
    for label, nodule in chest[1].items():
        one = assessed[label].nodule
        assert one is not None, label
        assert tuple(estimate.grade.name for estimate in one.estimates) == GRADE_NAMES
        for estimate in one.estimates:
            assert estimate.grade.low <= estimate.low <= estimate.value <= estimate.high <= estimate.grade.high
            assert 0 <= estimate.percentile <= 100
        assert one.estimate("diameter").value == one.outline.diameter_mm, "one diameter"
        assert assessed[label].doubts == (), "what is sure stands in the headline"
        assert 0 <= one.suspicion_probability <= 1
        assert one.outline.diameter_mm == pytest.approx(nodule.diameter_mm, rel=0.35)


def test_grades_tell_unlike_nodules_apart(assessed: dict[str, Assessment]) -> None:
    nodules = {label: one.nodule for label, one in assessed.items() if one.nodule}
    malignancy = {label: one.estimate("malignancy").value for label, one in nodules.items()}
    assert malignancy["spiculated"] > malignancy["small smooth"] + 1
    texture = {label: one.estimate("texture").value for label, one in nodules.items()}
    assert texture["ground glass"] < texture["lobulated"] - 1
    presence = {label: one.calcification.presence for label, one in nodules.items()}
    assert presence["calcified"] > 0.5 > max(value for label, value in presence.items() if label != "calcified")


def test_heatmaps_of_all_grades_lie_on_the_nodule(assessed: dict[str, Assessment], chest: Chest) -> None:
    for label, assessment in assessed.items():
        one = assessment.nodule
        assert one is not None
        assert tuple(one.heatmaps) == GRADE_NAMES
        (volume,) = one.heatmap_volumes("malignancy").values()
        # One scale for all nodules: only where there is most evidence it is 1.
        assert volume.array.min() >= 0 and 0.05 < volume.array.max() <= 1
        k, j, i = np.unravel_index(np.argmax(volume.array), volume.array.shape)
        hottest = volume.to_ras(np.array([i, j, k]))
        assert np.linalg.norm(hottest - chest[1][label].point_ras) < chest[1][label].diameter_mm


def test_results_do_not_depend_on_what_else_is_assessed(
    assessor: Assessor, assessed: dict[str, Assessment], chest: Chest
) -> None:
    for point in points(chest[1])[:3]:
        (alone,) = assessor.assess(chest[0], [point], heatmaps=False)
        assert np.abs(grades(alone) - grades(assessed[point.label])).max() < 1e-3


@pytest.mark.parametrize("change", ["flipped along all axes", "stored as sagittal slices"])
def test_grades_do_not_depend_on_how_the_scan_is_stored(
    assessor: Assessor, assessed: dict[str, Assessment], chest: Chest, change: str
) -> None:
    (point,) = [one for one in points(chest[1]) if one.label == "lobulated"]
    (one,) = assessor.assess(CHANGES[change](around(chest[0], point)), [point], heatmaps=False)
    assert np.abs(grades(one) - grades(assessed["lobulated"])).max() < 0.01


def test_grades_hardly_depend_on_the_scans_grid_or_the_hand(assessor: Assessor, chest: Chest) -> None:
    table = moves(assessor, [(chest[0], points(chest[1]))], hands=1)
    assert table["mean"].max() < 0.2


def test_the_sample_nodule_is_graded_as_its_readers_did(
    assessor: Assessor, sample: tuple[Volume, Point, dict[str, str]]
) -> None:
    volume, point, row = sample
    (assessment,) = assessor.assess(volume, [point])
    one = assessment.nodule
    assert one is not None
    readers = {name: float(row[f"mean_{name}"]) for name in GRADE_NAMES if f"mean_{name}" in row}
    assert len(readers) == 8
    gaps = [abs(one.estimate(name).value - value) for name, value in readers.items()]
    assert np.mean(gaps) < 0.8
    assert one.estimate("malignancy").value > 3.8
    assert one.suspicion_probability > 0.8
    assert len(one.heatmaps) == len(GRADES)


def test_other_places_of_the_sample_are_no_nodules_of_that_kind(
    assessor: Assessor, sample: tuple[Volume, Point, dict[str, str]]
) -> None:
    volume, point, _ = sample
    mirrored = Point("mirrored", (-point.ras[0], *point.ras[1:]))
    there, elsewhere = assessor.assess(volume, [point, mirrored], heatmaps=False)
    assert elsewhere.doubts or np.abs(grades(elsewhere) - grades(there)).max() > 0.5


def test_vessels_and_chest_wall_of_the_sample_are_told_from_nodules(
    assessor: Assessor, sample: tuple[Volume, Point, dict[str, str]]
) -> None:
    volume, point, _ = sample
    (one,) = assessor.assess(volume, [point], heatmaps=False)
    assert not any("vessel or the chest wall" in warning.text for warning in one.warnings)
    site = Site("LIDC-IDRI-0001", volume, tissue_places(volume, [point], count=12))
    told = false_finds(lambda _: assessor, [site])
    assert told.warned.mean() > 0.85
    assert told.doubtful["bowel and stomach"] > 0.9


@pytest.fixture(scope="module")
def moved_sample(assessor: Assessor, sample: tuple[Volume, Point, dict[str, str]]) -> Any:
    volume, point, _ = sample
    return moves(assessor, [(volume, [point])], hands=2)["mean"]


def test_the_sample_on_another_grid_keeps_its_grades(moved_sample: Any) -> None:
    assert "resampled to 1 mm" in moved_sample
    assert moved_sample.max() < 0.2


def test_a_point_off_the_scan_is_refused_by_name(assessor: Assessor, chest: Chest) -> None:
    inside, outside = points(chest[1])[0], Point("F-9", (0.0, 0.0, 900.0))
    with pytest.raises(NoduleRiskError, match=r"The point F-9 lies outside the CT: .*"):
        assessor.assess(chest[0], [inside, outside])
    doubtful = replace(chest[0], warnings=("The file does not say where its voxels lie.",))
    with pytest.raises(NoduleRiskError, match=r"F-9 lies outside the CT: .* does not say where its voxels lie\."):
        assessor.assess(doubtful, [outside])


def guessing(assessor: Assessor, monkeypatch: pytest.MonkeyPatch, ratio: float) -> None:
    """Let the graders guess another diameter than they do, and nothing else."""
    predict = assessor._predict
    factors = torch.tensor([ratio if name == "diameter" else 1.0 for name in GRADE_NAMES])

    def other(stacks: Any) -> list[Any]:
        return [(one._replace(grades=one.grades * factors), encoded) for one, encoded in predict(stacks)]

    monkeypatch.setattr(assessor, "_predict", other)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_graders_that_see_another_size_make_the_outline_unsure_and_change_no_number(
    assessor: Assessor, assessed: dict[str, Assessment], chest: Chest, monkeypatch: pytest.MonkeyPatch, ratio: float
) -> None:
    guessing(assessor, monkeypatch, ratio)
    point = chest[1]["calcified"].point
    (one,) = assessor.assess(chest[0], [point], heatmaps=False)
    assert one.doubts == ("outline unsure",)
    assert one.nodule is not None and assessed["calcified"].nodule is not None
    before = assessed["calcified"].nodule.estimate("diameter")
    assert one.nodule.estimate("diameter").value == pytest.approx(before.value, abs=1e-3)
    drawn = [Segment("mine", one.nodule.mask(like=chest[0]))]
    (mine,) = assessor.assess(chest[0], [point], heatmaps=False, outlines=drawn)
    assert mine.doubts == (), "what the user drew is not doubted"


def test_an_outline_that_the_network_forced_is_said_to_be_unsure(
    assessor: Assessor, chest: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = assessors.segment
    monkeypatch.setattr(assessors, "segment", lambda *given: [replace(one, unsure=True) for one in plain(*given)])
    (one,) = assessor.assess(chest[0], [chest[1]["calcified"].point], heatmaps=False)
    assert one.doubts == ("outline unsure",)
    assert "The outline under calcified is unsure: edit it before you rely on sizes and grades." in map(
        str, one.warnings
    )
    assert found(one).outline.unsure


def test_the_solid_part_and_the_packages_repeatability_come_with_the_nodule(
    assessor: Assessor, chest: Chest, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = SolidPart(3.0, 3.5, 2.5, 14.0)
    asked: list[tuple[Volume, Outline]] = []
    monkeypatch.setattr(assessors, "solid_part", lambda *given: asked.append(given) or part)
    limits = ((14.0, 12.0, 31.0), (60.0, 8.0, 22.0))
    monkeypatch.setattr(assessor, "_calibration", replace(assessor._calibration, repeatability=limits))
    small, large = assessor.assess(
        chest[0], [chest[1][name].point for name in ("calcified", "spiculated")], heatmaps=False
    )
    assert [found(one).repeatability for one in (small, large)] == [(12.0, 31.0), (8.0, 22.0)]
    assert found(small).solid_part == part
    assert asked == [(chest[0], found(one).outline) for one in (small, large)]


def test_similar_nodules_are_those_of_other_patients(
    package: ModelPackage, chest: Chest, reference: ReferenceSet
) -> None:
    """An LIDC nodule may not be shown itself as evidence; where the CT tells whose it is, a warning does."""
    volume, nodules = chest
    point = nodules["calcified"].point
    knowing = Assessor(package, device="cpu")
    (one,) = knowing.assess(volume, [point], heatmaps=False)
    distances = [other.distance for other in found(one).similar]
    assert len(distances) == 5 and distances == sorted(distances)
    own = found(one).similar[0].name.split("_")[0]
    series = volume.identity | {"SeriesInstanceUID": f"1.2.{own[1:]}"}
    (again,) = knowing.assess(replace(volume, identity=series), [point], heatmaps=False)
    assert not [other for other in found(again).similar if other.name.startswith(own)]
    assert len(again.warnings) == len(one.warnings) + 1
    assert any(f"is {own} of LIDC" in warning.text and warning.about == "ct" for warning in again.warnings)
    assert found(again).estimates == found(one).estimates


def test_a_point_on_nothing_has_a_nodule_all_the_same_and_a_doubt(assessor: Assessor, chest: Chest) -> None:
    air = chest[0].to_ras(np.array([10.0, 10, 80]))
    (one,) = assessor.assess(chest[0], [Point("F-1", tuple(map(float, air)))], heatmaps=False)
    assert one.nodule is not None and one.nodule.outline.unsure
    assert {"outside the lungs", "outline unsure"} <= set(one.doubts)


def test_air_and_soft_tissue_get_no_bare_number(assessor: Assessor, chest: Chest) -> None:
    volume = chest[0]
    top = volume.to_ras(np.array([10.0, 10, 80]))
    liver = volume.to_ras(np.array([150.0, 150, 12]))
    for place, words in ((top, "only air"), (liver, "outside the lungs")):
        (one,) = assessor.assess(volume, [Point("F-1", tuple(map(float, place)))])
        assert any(words in warning.text for warning in one.warnings)


def test_a_nodule_at_the_edge_of_the_scan_is_warned_about(assessor: Assessor, chest: Chest) -> None:
    volume, nodules = chest
    point = next(one for one in points(nodules) if one.label == "spiculated")
    k = round(float(volume.to_ijk(np.array(point.ras))[2]))
    cut_off = replace(volume, array=volume.array[: k + 1])
    (one,) = assessor.assess(cut_off, [point], heatmaps=False)
    assert any("edge of the scan" in warning.text for warning in one.warnings)


def test_a_nodule_that_two_points_mark_is_not_counted_twice_without_a_word(assessor: Assessor, chest: Chest) -> None:
    first, second, *_ = points(chest[1])
    again = Point("again", (first.ras[0] + 1.0, *first.ras[1:]))
    told = list(assessor.assess(chest[0], [first, second, again, first], heatmaps=False))
    twice = [[w.text for w in one.warnings if "counts twice" in w.text] for one in told]
    assert [len(texts) for texts in twice] == [0, 0, 1, 1]
    assert twice[2] == [f"{first.label} and again lie on the same nodule: remove one of them, or it counts twice."]


def test_work_can_be_watched_and_cancelled(assessor: Assessor, chest: Chest) -> None:
    class CancelledError(Exception):
        pass

    seen = []

    def stop_after_one(one: Assessment) -> None:
        seen.append(one.point.label)
        raise CancelledError

    with pytest.raises(CancelledError):
        for one in assessor.assess(chest[0], points(chest[1])[:2], heatmaps=False):
            stop_after_one(one)
    assert seen == [points(chest[1])[0].label]


def test_every_slice_is_encoded_once_for_grades_and_maps_and_nothing_is_mixed_up(
    assessor: Assessor, chest: Chest, assessed: dict[str, Assessment], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    whole = NoduleViT.with_evidence

    def counted(grader: NoduleViT, channels: torch.Tensor) -> Any:
        seen.append(len(channels))
        return whole(grader, channels)

    monkeypatch.setattr(NoduleViT, "with_evidence", counted)
    last = points(chest[1])[-1]
    (one,) = assessor.assess(chest[0], [last])
    assert sum(seen) == len(assessor._networks.graders) * found(one).stack.valid.sum()
    # The maps of a nodule among others, whose slices were encoded in one batch, are its own.
    among = found(assessed[last.label])
    for name, heatmap in found(one).heatmaps.items():
        assert np.allclose(heatmap.in_valid, among.heatmaps[name].in_valid, atol=1e-4)
        assert np.allclose(heatmap.slice_weights, among.heatmaps[name].slice_weights, atol=1e-4)


def test_a_full_gpu_hands_over_to_the_cpu(chest: Chest, monkeypatch: pytest.MonkeyPatch) -> None:
    assessor = Assessor(device="cpu")
    whole, fails = assessor._predict, iter([True])

    def full_once(*stacks: object) -> object:
        if next(fails, False):
            raise torch.cuda.OutOfMemoryError
        return whole(*stacks)

    monkeypatch.setattr(assessor, "_predict", full_once)
    (one,) = assessor.assess(chest[0], points(chest[1])[:1], heatmaps=False)
    assert one.nodule is not None
    assert any("ran out of memory" in warning.text for warning in one.warnings)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(NoduleRiskError, match="no device 'cuda:77'"):
        Assessor(device="cuda:77")
