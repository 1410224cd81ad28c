"""What would be graded instead of the nodule that was pointed at, with a network that simply sees what is dense."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import CENTRE, LUNG_HU, TISSUE_HU, Painter, beside
from torch import Tensor, nn

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks import segmentation
from NoduleRiskLib.networks.segmentation import (
    BALL_MM,
    CHANNELS,
    HU_RANGE,
    LIMIT_MM,
    REACH_MM,
    SLICES,
    SMALLEST_MM,
    STRIDE_MM,
    SegmentationUNet,
    context,
    inputs,
    segment,
)

Ball = Callable[..., Callable[[Array], Array]]
UPRIGHT = np.diag([-0.7, -0.7, 1.25])


class Dense(nn.Module):
    """The nodule is whatever is denser than ``hu``, with a soft edge; never surer than ``most``."""

    def __init__(self, hu: float = -400.0, most: float = 1.0) -> None:
        super().__init__()
        low, high = HU_RANGE
        self.level, self.most = (hu - low) / (high - low) * 2 - 1, most
        self.slices_read = self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.slices_read += len(x)
        self.calls += 1
        return torch.logit(((x[:, 0] - self.level) * 10).sigmoid() * self.most)


def found(volume: Volume, point: Array, network: nn.Module | None = None) -> Outline:
    return segment(volume, [point], [network or Dense()])[0]


def assert_is(outline: Outline, centre: Array, radius: float, step_mm: float = 1.25) -> None:
    assert np.allclose(outline.centre_ras, centre, atol=max(0.3, step_mm / 3))
    assert outline.diameter_mm == pytest.approx(2 * radius, abs=0.7 + step_mm / 4)
    assert outline.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.2)


def test_the_nodule_under_the_point_is_found_in_every_scan(paint: Painter, ball: Ball, frame: Array) -> None:
    nodule, neighbour = beside(3.1, -2.2, 1.4), beside(-14, 6, -3)
    volume = paint(ball((nodule, 6.0), (neighbour, 5.0)), frame)
    outlines = segment(volume, np.stack([nodule + np.array([1, 1, -2]), neighbour]), [Dense()])
    step = float(outlines[0].probability.ijk_to_ras[2, 2])
    for outline, (centre, radius) in zip(outlines, ((nodule, 6.0), (neighbour, 5.0)), strict=True):
        assert_is(outline, centre, radius, step)


def test_the_way_a_scan_is_stored_changes_nothing(paint: Painter, ball: Ball) -> None:
    """The very same voxels, read from the other end of each axis."""
    nodule = beside(2.3, 1.1, -0.8)
    volume = paint(ball((nodule, 5.3), (beside(0, 0, 15), 4.0)), UPRIGHT)
    told = found(volume, CENTRE)
    last = np.array(volume.array.shape[::-1]) - 1
    for axis in range(3):
        matrix = volume.ijk_to_ras.copy()
        matrix[:3, 3] += matrix[:3, axis] * last[axis]
        matrix[:3, axis] *= -1
        flipped = found(Volume(np.flip(volume.array, 2 - axis), matrix), CENTRE)
        assert np.allclose(flipped.centre_ras, told.centre_ras, atol=1e-3)
        assert flipped.diameter_mm == pytest.approx(told.diameter_mm, abs=1e-3)
        assert flipped.volume_mm3 == pytest.approx(told.volume_mm3, rel=1e-3)
        assert np.allclose(flipped.probability.array, told.probability.array, atol=1e-3)
        assert np.allclose(flipped.probability.ijk_to_ras, told.probability.ijk_to_ras)


@pytest.mark.parametrize("way", [(1, 0, 0), (0, -1, 0), (0, 0, 1), (0.6, 0.6, -0.5)])
@pytest.mark.parametrize("beside_mm", [-3.0, 0.0, REACH_MM - 1])
def test_a_hand_may_miss_the_nodule_by_little(
    paint: Painter, ball: Ball, way: tuple[float, float, float], beside_mm: float
) -> None:
    volume = paint(ball((CENTRE, 5.0)), UPRIGHT)
    direction = np.array(way) / np.linalg.norm(way)
    assert_is(found(volume, CENTRE + direction * (5 + beside_mm)), CENTRE, 5.0)


@pytest.mark.parametrize("away_mm", [(9, 0, 0), (0, 0, 9), (-7, 7, 0), (12, 12, 12)])
def test_a_point_in_plain_lung_gets_a_small_ball_to_edit(
    paint: Painter, ball: Ball, away_mm: tuple[float, float, float]
) -> None:
    outline = found(paint(ball((CENTRE, 5.0)), UPRIGHT), CENTRE + away_mm)
    assert outline.unsure
    assert_is(outline, CENTRE + away_mm, BALL_MM / 2)


def test_every_point_in_a_scan_has_an_outline(paint: Painter, frame: Array) -> None:
    """Whatever is there, at the very edges too, and however thick the slices are."""
    volume = paint(lambda points: np.full(points.shape[:-1], LUNG_HU), frame)
    last = np.array(volume.array.shape[::-1]) - 1
    for corner in itertools.product((0.0, 0.49, 1.0), repeat=3):
        point = volume.to_ras(last * corner)
        outline = found(volume, point)
        assert outline.unsure and outline.slices >= 1
        assert np.linalg.norm(outline.centre_ras - point) <= BALL_MM


@pytest.mark.parametrize("peak", [0.45, 0.2, 0.05])
def test_what_is_faint_is_outlined_at_a_lower_level(paint: Painter, ball: Ball, peak: float) -> None:
    volume = paint(ball((CENTRE, 6.0), edge_mm=2.0), UPRIGHT)
    outline = found(volume, beside(2, 1, 0), Dense(most=peak))
    assert outline.unsure
    assert_is(outline, CENTRE, 6.0)
    assert not found(volume, CENTRE).unsure


@pytest.mark.parametrize("gap_mm", [2.5, 4.0])
@pytest.mark.parametrize("way", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_a_neighbour_close_by_is_not_taken_for_the_nodule(
    paint: Painter, ball: Ball, way: tuple[int, int, int], gap_mm: float
) -> None:
    neighbour = CENTRE + np.array(way) * (4 + gap_mm + 6)
    volume = paint(ball((CENTRE, 4.0), (neighbour, 6.0)), UPRIGHT)
    assert_is(found(volume, CENTRE + np.array(way)), CENTRE, 4.0)
    assert_is(found(volume, neighbour), neighbour, 6.0)


@pytest.mark.parametrize("spacing", [0.4, 0.5, 1.25, 2.5, 5.0])
@pytest.mark.parametrize("between", [0.0, 0.3, 0.49])
def test_thin_and_thick_slices_show_the_same_nodule(paint: Painter, ball: Ball, spacing: float, between: float) -> None:
    volume = paint(ball((CENTRE, 7.0)), np.diag([-0.7, -0.7, spacing]))
    k = volume.to_ijk(CENTRE)
    k[2] = np.rint(k[2]) + between
    assert_is(found(volume, volume.to_ras(k)), CENTRE, 7.0, max(spacing, 1.2))


@pytest.mark.parametrize("above", [-1, 1])
def test_a_point_half_way_between_thick_slices_finds_a_nodule_in_one(paint: Painter, ball: Ball, above: int) -> None:
    volume = paint(ball((CENTRE, 3.0)), np.diag([-0.7, -0.7, 5.0]))
    k = np.rint(volume.to_ijk(CENTRE))
    slice_centre = volume.to_ras(k)
    outline = found(volume, slice_centre + np.array([0, 0, above * 2.45]))
    assert outline.slices == 1
    assert outline.centre_ras[2] == pytest.approx(slice_centre[2])


@pytest.mark.parametrize("end", [-1, 0, 1])
def test_a_nodule_longer_than_a_stride_is_followed_to_its_ends(paint: Painter, ball: Ball, end: int) -> None:
    height = 2.5 * STRIDE_MM
    volume = paint(ball((CENTRE, np.array([4.0, 4.0, height]))), UPRIGHT, np.array([23, 23, 40]))
    outline = found(volume, beside(0, 0, end * (height - 4)))
    assert np.ptp(outline.bounds_ras[:, 2]) == pytest.approx(2 * height, abs=3)
    assert np.allclose(outline.centre_ras, CENTRE, atol=0.6)
    assert outline.diameter_mm == pytest.approx(8, abs=0.6)


def test_a_vessel_is_not_followed_through_the_whole_lung(paint: Painter, ball: Ball) -> None:
    volume = paint(ball((CENTRE, np.array([3.0, 3.0, 300.0]))), UPRIGHT, np.array([23, 23, 60]))
    outline = found(volume, CENTRE)
    assert np.ptp(outline.bounds_ras[:, 2]) == pytest.approx(2 * LIMIT_MM, abs=3)


def test_only_the_slices_around_the_nodule_are_read(paint: Painter, ball: Ball) -> None:
    """What is read takes the time that people wait."""
    segmentation_net = Dense()
    volume = paint(ball((CENTRE, 4.0)), UPRIGHT, np.array([23, 23, 40]))
    assert not segment(volume, [CENTRE], [segmentation_net])[0].unsure
    assert segmentation_net.slices_read < 2 * (2 * (4 + 2 * STRIDE_MM) / 1.25)


@pytest.mark.parametrize("end", [-1, 1])
def test_a_nodule_at_the_scans_end_is_measured_as_far_as_it_is_seen(paint: Painter, ball: Ball, end: int) -> None:
    volume = paint(ball((beside(0, 0, end * 10), 6.0)), UPRIGHT, np.array([23, 23, 10]))
    outline = found(volume, beside(0, 0, end * 8))
    assert volume.contains(outline.bounds_ras).all()
    assert outline.diameter_mm == pytest.approx(12, abs=0.7)
    seen = np.sum(volume.array - LUNG_HU) / (TISSUE_HU - LUNG_HU) * np.prod(volume.spacing_mm)
    assert outline.volume_mm3 == pytest.approx(seen, rel=0.1)


def test_a_large_nodule_is_whole_wherever_in_it_the_point_lies(paint: Painter, ball: Ball) -> None:
    """Around a point at its edge, the picture would cut off its far side."""
    volume = paint(ball((CENTRE, 16.0)), UPRIGHT, 32.0)
    assert_is(found(volume, beside(11, 0, 0)), CENTRE, 16.0)


@pytest.mark.parametrize("way", [(1, 0, 0), (0, -1, 0)])
def test_a_nodule_at_the_scans_side_is_found(paint: Painter, ball: Ball, way: tuple[int, int, int]) -> None:
    volume = paint(ball((CENTRE + np.array(way) * 17, 5.0)), UPRIGHT)
    assert_is(found(volume, CENTRE + np.array(way) * 15), CENTRE + np.array(way) * 17, 5.0)


def test_a_nodule_cut_off_by_the_scans_side_is_not_drawn_beyond_it(paint: Painter, ball: Ball) -> None:
    volume = paint(ball((beside(22, 0, 0), 6.0)), UPRIGHT)
    outline = found(volume, beside(20, 0, 0))
    assert volume.contains(outline.bounds_ras).all()


def test_a_point_outside_the_ct_is_refused(paint: Painter, ball: Ball) -> None:
    with pytest.raises(NoduleRiskError, match="lies outside the CT"):
        found(paint(ball((CENTRE, 5.0)), UPRIGHT), beside(0, 0, 40))


def test_networks_are_averaged(paint: Painter, ball: Ball) -> None:
    volume = paint(ball((CENTRE, 6.0), edge_mm=4.0), UPRIGHT)
    wide, narrow, both = (
        segment(volume, [CENTRE], [Dense(hu) for hu in levels])[0] for levels in ((-700,), (-100,), (-700, -100))
    )
    assert narrow.diameter_mm < both.diameter_mm < wide.diameter_mm


def test_of_faint_parts_the_clearest_is_outlined_not_the_nearest(paint: Painter, ball: Ball) -> None:
    """A speck of noise may lie nearer to the point than the nodule."""

    speck, nodule = ball((CENTRE, 0.8)), ball((beside(5.6, 0, 0), 4.2))
    volume = paint(lambda points: np.where(speck(points) > -500, -350.0, nodule(points)), UPRIGHT)
    outline = found(volume, CENTRE, Dense(most=0.4))
    assert outline.unsure and outline.diameter_mm > 6


def test_what_is_next_to_nothing_does_not_flood_the_picture(paint: Painter, ball: Ball) -> None:
    """The level is never so low that all of the lung is inside."""

    class Haze(Dense):
        def forward(self, x: Tensor) -> Tensor:
            haze = torch.where(super().forward(x).sigmoid() > 0.1, 0.022, 0.015)
            return torch.logit(haze)

    outline = found(paint(ball((CENTRE, 5.0)), UPRIGHT), CENTRE, Haze())
    assert outline.unsure
    assert outline.diameter_mm < 13


def test_a_large_nodule_that_looks_like_nothing_from_its_middle_is_whole(paint: Painter, ball: Ball) -> None:
    """A ring, seen from the point on it: its middle is lung."""
    outer, inner = ball((CENTRE, np.array([14.0, 14.0, 20.0]))), ball((CENTRE, np.array([9.0, 9.0, 40.0])))
    volume = paint(
        lambda points: np.where(inner(points) > -500, LUNG_HU, outer(points)), UPRIGHT, np.array([28, 28, 30])
    )
    outline = found(volume, beside(11.5, 0, 0))
    assert np.ptp(outline.bounds_ras[:, 2]) > 20
    assert outline.diameter_mm > 20


def test_an_outline_too_small_for_a_nodule_is_unsure(paint: Painter, ball: Ball) -> None:
    volume = paint(ball((CENTRE, 0.8), edge_mm=0.5), UPRIGHT)
    outline = found(volume, CENTRE, Dense(hu=-700))
    assert outline.diameter_mm < SMALLEST_MM and outline.unsure


def test_every_point_is_answered_in_order(paint: Painter, ball: Ball) -> None:
    volume = paint(ball((CENTRE, 5.0)), UPRIGHT)
    outlines = segment(volume, np.stack([beside(12, 0, 0), CENTRE, beside(0, 12, 0)]), [Dense()])
    assert [outline.unsure for outline in outlines] == [True, False, True]


@pytest.mark.parametrize("joined", [False, True])
def test_nodules_of_several_scans_are_outlined_as_if_alone(
    paint: Painter, ball: Ball, monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    """Whether a network reads of all of them at once, as on a GPU, or one after the other."""
    told = segmentation._told
    monkeypatch.setattr(segmentation, "_told", lambda asked, networks, _: told(asked, networks, joined))
    # Deep ones take more looks than small ones, and one finds nothing.
    places = [CENTRE, CENTRE, beside(3, 1, -2), CENTRE]
    volumes = [paint(ball((CENTRE, radius)), UPRIGHT) for radius in (9.0, 2.5, 5.0)]
    volumes.append(paint(ball((beside(25, 0, 0), 3.0)), UPRIGHT))
    together, alone = Dense(), Dense()
    outlines = segment(volumes, np.stack(places), [together])
    for outline, volume, place in zip(outlines, volumes, places, strict=True):
        (by_itself,) = segment(volume, [place], [alone])
        assert np.array_equal(outline.probability.array, by_itself.probability.array)
        assert outline.diameter_mm == by_itself.diameter_mm and outline.unsure == by_itself.unsure
    assert together.slices_read == alone.slices_read
    assert (together.calls < alone.calls / 2) == joined


def test_the_network_reads_slices_point_distance_and_step() -> None:
    hu = [-300.0, -1000.0, 900.0, *[-1000.0] * (SLICES - 3)]
    slices = torch.tensor(hu)[None, :, None, None].expand(2, -1, 8, 8)
    x = inputs(slices, torch.tensor([0.0, 10.0]), torch.tensor([1.0, 2.5]))
    assert x.shape == (2, CHANNELS, 8, 8)
    assert [float(x[0, channel, 0, 0]) for channel in range(3)] == pytest.approx([0, -1, 1])
    hill = x[0, SLICES]
    assert torch.allclose(hill, hill.flip(0)) and torch.allclose(hill, hill.T)
    assert hill.argmax() in (27, 28, 35, 36)
    assert x[:, SLICES + 1, 3, 3].tolist() == [0, 0.5]
    assert x[:, SLICES + 2, 3, 3].tolist() == pytest.approx([0.2, 0.5])


@pytest.mark.parametrize(("step_mm", "steps"), [(1.0, (1, 4, 9)), (2.5, (1, 2, 4)), (5.0, (1, 2, 3))])
def test_neighbours_lie_as_far_away_in_thin_and_thick_slices(step_mm: float, steps: tuple[int, ...]) -> None:
    before, after = context(np.array([20, 30]), np.array([-1, 1]), 25, step_mm, 0, 50)
    assert before.tolist() == [20, *(20 + n for n in steps), *(20 - n for n in steps), 25]
    assert after.tolist() == [30, *(30 - n for n in steps), *(30 + n for n in steps), 25]
    (end,) = context(np.array([50]), np.array([1]), 25, step_mm, 0, 50)
    assert end.tolist() == [50, *(50 - n for n in steps), 50, 50, 50, 25]


def test_each_slice_is_read_beside_its_neighbours(paint: Painter) -> None:
    read = []

    class Endless(Dense):
        def forward(self, x: Tensor) -> Tensor:
            read.append(x[:, :, 0, 0])
            return torch.ones_like(x[:, 0])

    segment(paint(lambda points: (points - CENTRE)[..., 2] * 20 - 300, UPRIGHT), [CENTRE], [Endless()])
    x = torch.cat(read)
    # Back from -1..1 to mm: the scan's HU tell how high a slice lies.
    own, nearer, *_, point = x[:, :SLICES].T * (HU_RANGE[1] - HU_RANGE[0]) / 2 / 20
    farther = x[:, 4] * (HU_RANGE[1] - HU_RANGE[0]) / 2 / 20
    distance, step = x[:, SLICES + 1] * 20, x[:, SLICES + 2] * 5
    # The first look takes every second of these slices.
    assert set(step.tolist()) == {1.25, 2.5}
    assert torch.allclose((own - point).abs(), distance, atol=1e-3)
    assert torch.allclose((nearer - point).abs(), (distance - step).abs(), atol=1e-3)
    within = distance < 15
    assert torch.allclose((farther - point).abs()[within], (distance + step)[within], atol=1e-3)
    assert (own - point).max() > 10 and (own - point).min() < -10


def test_the_network_answers_every_pixel() -> None:
    torch.manual_seed(0)
    segmentation_net = SegmentationUNet().eval()
    with torch.no_grad():
        assert segmentation_net(torch.rand(3, CHANNELS, 32, 48)).shape == (3, 32, 48)
