"""What a radiologist would lose if an outline that they drew were not the one that is measured and graded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_results import found

from NoduleRiskLib import Assessor, NoduleRiskError, Point, Volume, assess
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.segment import Segment
from NoduleRiskLib.imaging.simpleitk_images import to_image
from NoduleRiskLib.imaging.volume import write_nrrd
from NoduleRiskLib.phantom.chest_ct import PhantomNodule, chest_ct
from NoduleRiskLib.results.assessment import Assessment

Chest = tuple[Volume, dict[str, PhantomNodule]]


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    torch.set_num_threads(1)
    return Assessor(device="cpu")


@pytest.fixture(scope="module")
def chest() -> Chest:
    volume, nodules = chest_ct()
    return volume, {nodule.label: nodule for nodule in nodules}


def ball(ct: Volume, centre_ras: tuple[float, ...], radius_mm: float, label: str = "mine") -> Segment:
    """A ball drawn on the CT's grid."""
    ijk = ct.to_ijk(np.array(centre_ras))
    low = np.floor(ijk - radius_mm / ct.spacing_mm - 1).astype(int)
    high = np.ceil(ijk + radius_mm / ct.spacing_mm + 2).astype(int)
    k, j, i = np.mgrid[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    inside = np.linalg.norm(ct.to_ras(np.stack([i, j, k], -1)) - centre_ras, axis=-1) < radius_mm
    matrix = ct.ijk_to_ras.copy()
    matrix[:3, 3] = ct.to_ras(low)
    return Segment(label, Volume(inside.astype(np.uint8), matrix))


def label_map(ct: Volume, *segments: Segment) -> Volume:
    """Segments as labels 1, 2, ... on the whole CT's grid."""
    labels = np.zeros(ct.array.shape, np.uint8)
    for value, one in enumerate(segments, 1):
        i, j, k = np.round(ct.to_ijk(one.mask.to_ras(np.zeros(3)))).astype(int)
        box = tuple(slice(first, first + n) for first, n in zip((k, j, i), one.mask.array.shape, strict=True))
        labels[box][one.mask.array > 0] = value
    return Volume(labels, ct.ijk_to_ras)


def test_sizes_are_those_of_what_the_user_drew(assessor: Assessor, chest: Chest) -> None:
    ct, nodules = chest
    place = tuple(nodules["lobulated"].point.ras)
    for radius in (4.0, 7.0):
        (one,) = assessor.assess(ct, heatmaps=False, outlines=[ball(ct, place, radius)])
        outline = found(one).outline
        assert outline.drawn_by == "user" and one.point.label == "mine"
        assert outline.diameter_mm == pytest.approx(2 * radius, abs=0.8)
        assert outline.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.12)
        assert np.allclose(outline.centre_ras, place, atol=0.8)


def test_grades_are_those_of_what_the_user_drew(assessor: Assessor, chest: Chest) -> None:
    ct, nodules = chest
    place = tuple(nodules["spiculated"].point.ras)
    by_size = [
        found(one).estimate("diameter").value
        for radius in (3.0, 10.0)
        for one in assessor.assess(ct, heatmaps=False, outlines=[ball(ct, place, radius)])
    ]
    assert by_size[1] > by_size[0] + 2


def test_the_networks_own_outline_drawn_again_gives_its_grades(assessor: Assessor, chest: Chest) -> None:
    ct, nodules = chest
    point = nodules["juxtapleural"].point
    (network,) = assessor.assess(ct, [point], heatmaps=False)
    mask = found(network).mask(like=ct)
    (user,) = assessor.assess(ct, [point], heatmaps=False, outlines=mask)
    assert found(network).outline.drawn_by == "network" and found(user).outline.drawn_by == "user"
    assert user.point == point
    for name in GRADE_NAMES:
        assert found(user).estimate(name).value == pytest.approx(found(network).estimate(name).value, rel=0.12), name


def test_points_and_outlines_in_one_call_meet_where_they_belong(assessor: Assessor, chest: Chest) -> None:
    ct, nodules = chest
    first, second, third = (nodules[name].point for name in ("small smooth", "calcified", "lobulated"))
    drawn = [ball(ct, second.ras, 5.0, "A"), ball(ct, third.ras, 6.0, "B")]
    told = list(assessor.assess(ct, [first, second], heatmaps=False, outlines=drawn))
    assert [one.point.label for one in told] == [first.label, second.label, "B"]
    assert [found(one).outline.drawn_by for one in told] == ["network", "user", "user"]
    assert np.allclose(told[2].point.ras, third.ras, atol=1)
    alone = assess(ct, [first], heatmaps=False, device="cpu")
    for name in GRADE_NAMES:
        assert found(told[0]).estimate(name).value == pytest.approx(found(alone[0]).estimate(name).value, abs=1e-4)


def test_which_outline_is_a_points_does_not_depend_on_the_other_points(assessor: Assessor, chest: Chest) -> None:
    ct, nodules = chest
    r, a, s = nodules["lobulated"].point.ras
    drawn = [ball(ct, (r + 4, a, s), 5.5, "beside"), ball(ct, (r, a, s), 7.0, "around")]
    middle, rim, beside = Point("middle", (r, a, s)), Point("rim", (r, a + 8.5, s)), Point("other", (r + 4, a, s))
    for points in ([middle, rim, beside], [rim, beside, middle]):
        told = {one.point.label: one for one in assessor.assess(ct, points, heatmaps=False, outlines=drawn)}
        assert list(told) == [one.label for one in points]
        assert found(told["middle"]).outline.diameter_mm == found(told["rim"]).outline.diameter_mm
        assert found(told["middle"]).outline.diameter_mm == pytest.approx(14, abs=0.8)
        assert found(told["other"]).outline.diameter_mm == pytest.approx(11, abs=0.8)
        assert any("same nodule" in one.text for one in told[points[-1].label].warnings)


def test_two_nodules_in_one_segment_do_not_stand_in_the_headline(assessor: Assessor, chest: Chest) -> None:
    ct, nodules = chest
    r, a, s = nodules["lobulated"].point.ras
    drawn = label_map(ct, ball(ct, (r, a, s), 5.0), ball(ct, (r, a + 20, s), 5.0))
    (one,) = assessor.assess(ct, Volume((drawn.array > 0).astype(np.uint8), ct.ijk_to_ras), heatmaps=False)
    assert "several parts" in one.doubts
    assert any("segment 1 lies in 2 parts" in warning.text for warning in one.warnings)
    for one in assessor.assess(ct, drawn, heatmaps=False):
        assert "several parts" not in one.doubts


def test_a_segmentation_file_needs_no_points(assessor: Assessor, chest: Chest, tmp_path: Path) -> None:
    ct, nodules = chest
    segments = [ball(ct, tuple(nodules[name].point.ras), 5.0) for name in ("calcified", "lobulated")]
    write_nrrd(tmp_path / "mine.nrrd", label_map(ct, *segments))
    direct = list(assessor.assess(ct, heatmaps=False, outlines=segments))
    labels = label_map(ct, *segments)
    for given in (tmp_path / "mine.nrrd", str(tmp_path / "mine.nrrd"), labels, to_image(labels)):
        told = list(assessor.assess(ct, given, heatmaps=False))
        assert [one.point.label for one in told] == ["segment 1", "segment 2"]
        for one, other in zip(told, direct, strict=True):
            assert found(one).outline.drawn_by == "user"
            assert found(one).estimates == found(other).estimates
    (again, _) = assessor.assess(ct, segments, heatmaps=False)
    assert found(again).estimates == found(direct[0]).estimates
    with pytest.raises(NoduleRiskError, match=r"points\.txt does not exist or is no file"):
        assessor.assess(ct, tmp_path / "points.txt")


def test_an_outline_comes_back_as_the_users(assessor: Assessor, chest: Chest) -> None:
    ct, nodules = chest
    (one,) = assessor.assess(ct, heatmaps=False, outlines=[ball(ct, tuple(nodules["calcified"].point.ras), 4.0)])
    assert found(Assessment.from_dict(one.to_dict())).outline.drawn_by == "user"


def test_outlines_that_cannot_be_a_nodules_on_this_ct_are_refused(assessor: Assessor, chest: Chest) -> None:
    ct, nodules = chest
    segment = ball(ct, tuple(nodules["calcified"].point.ras), 5.0)
    moved = segment.mask.ijk_to_ras.copy()
    moved[:3, 3] += 1000
    elsewhere = Segment("far", replace(segment.mask, ijk_to_ras=moved))
    organ = Segment("lung", Volume(np.ones((60, 60, 60), np.uint8), ct.ijk_to_ras @ np.diag((4.0, 4.0, 4.0, 1.0))))
    long = Segment("chain", Volume(np.ones((3, 3, 125), np.uint8), segment.mask.ijk_to_ras.copy()))
    long.mask.ijk_to_ras[:3, :3] = np.eye(3)
    speck = Segment("speck", Volume(np.ones((1, 1, 1), np.uint8), segment.mask.ijk_to_ras))
    for one, words in (
        (elsewhere, "far: An outline lies outside the CT"),
        (organ, "lung: An outline is .* mm wide"),
        (long, "chain: An outline is 125 mm wide"),
        (speck, "speck is too small to be measured"),
    ):
        with pytest.raises(NoduleRiskError, match=words):
            assessor.assess(ct, outlines=[one])
    with pytest.raises(NoduleRiskError, match="no point and no outline"):
        assessor.assess(ct, [])
    assert list(
        assessor.assess(ct, [Point("P", tuple(nodules["calcified"].point.ras))], heatmaps=False, outlines=[segment])
    )
