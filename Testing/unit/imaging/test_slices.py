"""What would be graded or coloured at the wrong place if the way from RAS to slices and back were wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from conftest import CENTRE, Painter, beside

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.mosaic import mosaic
from NoduleRiskLib.imaging.resampling import cut, paste, sample
from NoduleRiskLib.imaging.slice_stack import LAYOUTS, PLANES, Layout, SliceStack, part
from NoduleRiskLib.imaging.volume import Array, Volume

#: As they ship, but for the number of pixels; the last reads the scan's own slices along all three axes.
SMALL = {
    **{name: replace(layout, pixels=24, slices=19) for name, layout in LAYOUTS.items()},
    "native triplanar": Layout("native triplanar", planes=tuple(PLANES), slices=19, pixels=24),
}
layouts = pytest.mark.parametrize("layout", SMALL.values(), ids=SMALL)


def ramp(points_ras: Array) -> Array:
    return (points_ras - CENTRE) @ (3.0, -2.0, 1.5) + 7


def hill_at(place: Array) -> Callable[[Array], Array]:
    return lambda points_ras: np.exp(-np.sum((points_ras - place) ** 2, axis=-1) / (2 * 3.0**2))


def noise(points_ras: Array) -> Array:
    return np.random.default_rng(0).normal(size=points_ras.shape[:-1])


def upright(spacing: tuple[float, float, float], size: tuple[int, int, int] = (40, 40, 40)) -> Volume:
    """An axial LPS scan of noise around the origin; spacing along i, j and k in mm, size in voxels."""
    matrix = np.diag([-spacing[0], -spacing[1], spacing[2], 1])
    matrix[:3, 3] = -matrix[:3, :3] @ (np.array(size) // 2)
    array = np.random.default_rng(1).integers(-1000, 400, size[::-1]).astype(np.int16)
    return Volume(array, matrix)


def between_voxel_centres(volume: Volume, points_ras: Array) -> Array:
    ijk = volume.to_ijk(points_ras)
    return np.all((ijk >= 0) & (ijk <= np.array(volume.array.shape[::-1]) - 1), axis=-1)


# From RAS to slices


@layouts
def test_pixels_are_what_the_scan_shows_there_however_it_is_stored(
    paint: Painter, frame: Array, layout: Layout
) -> None:
    volume = paint(ramp, frame)
    stack = cut(volume, CENTRE, layout)
    places = stack.pixels_ras()
    inside = between_voxel_centres(volume, places) & stack.valid[:, None, None]
    assert inside.sum() > 0.6 * inside.size or layout.step_mm is None
    assert inside[stack.valid].mean() > 0.9
    # A trilinear reading of a ramp is the ramp.
    assert np.allclose(stack.pixels[inside], ramp(places)[inside], atol=1e-3)


@layouts
def test_a_nodule_is_seen_where_it_lies(paint: Painter, frame: Array, layout: Layout) -> None:
    place = beside(4.1, -3.3, 2.2)
    stack = cut(paint(hill_at(place), frame), CENTRE, layout)
    for index in range(len(layout.planes)):
        seen = np.where((stack.plane == index)[:, None, None], stack.pixels, 0) ** 2
        centroid = np.sum(stack.pixels_ras() * seen[..., None], axis=(0, 1, 2)) / seen.sum()
        assert np.allclose(centroid, place, atol=0.25)


@pytest.mark.parametrize(
    ("plane", "left", "top", "later"),
    [
        ("axial", "right", "anterior", "superior"),
        ("coronal", "right", "superior", "anterior"),
        ("sagittal", "anterior", "superior", "right"),
    ],
)
def test_pictures_lie_as_radiologists_view_them(
    paint: Painter, frames: dict[str, Array], plane: str, left: str, top: str, later: str
) -> None:
    axes = {"right": (1, 0, 0), "anterior": (0, 1, 0), "superior": (0, 0, 1)}
    layout = Layout("one", planes=(plane,), slices=15, pixels=24, step_mm=1.5)
    # Slicer's R is the patient's right.
    shift = [6 * np.array(axes[way]) for way in (left, top, later)]
    for way, (axis, sign) in zip(shift, ((2, -1), (1, -1), (0, 1)), strict=True):
        pixels = cut(paint(hill_at(CENTRE + way), frames["oblique"]), CENTRE, layout).pixels
        at = np.array(np.unravel_index(np.argmax(pixels), pixels.shape)) - (7, 11.5, 11.5)
        step = (1.5, 0.7, 0.7)[axis]
        assert at[axis] * step * sign == pytest.approx(6, abs=1.0)
        assert np.abs(np.delete(at * (1.5, 0.7, 0.7), axis)).max() < 1.0


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_spicules_are_not_lost_between_coarse_pixels(layout: Layout) -> None:
    assert layout.pixel_mm <= 0.7
    stack = cut(upright((0.8, 0.8, 1.5)), np.zeros(3), layout)
    for axis in (0, 1):
        assert np.linalg.norm(stack.ijk_to_ras[:, :3, axis], axis=1) == pytest.approx(layout.pixel_mm)
    assert np.allclose(stack.pixels_ras().mean((1, 2))[:, :2][stack.plane == 0], 0, atol=1e-9)


@layouts
def test_the_same_scan_stored_otherwise_gives_the_same_slices(layout: Layout) -> None:
    volume = upright((0.7, 0.9, 1.25), (37, 33, 29))
    centre = np.array([3.3, -2.2, 4.1])
    bounds = np.stack([centre - 8, centre + 7])
    told = cut(volume, centre, layout, bounds)
    for order, flips in product(permutations(range(3)), product((1, -1), repeat=3)):
        stored = cut(restored(volume, order, flips), centre, layout, bounds)
        assert np.array_equal(stored.valid, told.valid)
        assert np.allclose(stored.ijk_to_ras, told.ijk_to_ras)
        assert np.allclose(stored.offset_mm, told.offset_mm)
        assert np.allclose(stored.pixels, told.pixels, atol=2e-3)


def restored(volume: Volume, order: tuple[int, ...], flips: tuple[int, ...]) -> Volume:
    """The same voxels at the same places with i, j, k in another order and direction."""
    array, matrix = volume.array[:: flips[2], :: flips[1], :: flips[0]], volume.ijk_to_ras.copy()
    last = np.array(volume.array.shape[::-1]) - 1
    matrix[:3, 3] += matrix[:3, :3] @ np.where(np.array(flips) < 0, last, 0)
    matrix[:3, :3] *= flips
    matrix[:3, :3] = matrix[:3, order]
    return Volume(array.transpose([2 - axis for axis in order[::-1]]), matrix)


# Which slices


def test_native_slices_are_the_scans_own() -> None:
    volume = upright((0.7, 0.7, 2.5))
    # 21 x 21 pixels of the scan's own size around a voxel's centre: no pixel has to be interpolated.
    stack = cut(volume, volume.to_ras(np.array([19, 22, 13.2])), Layout("native", slices=9, pixels=21))
    assert np.array_equal(stack.pixels, volume.array[9:18, 12:33, 9:30].astype(np.float32))
    assert np.allclose(stack.offset_mm, (np.arange(9, 18) - 13.2) * 2.5)
    assert np.allclose(stack.step_mm, 2.5)


def test_native_slices_meet_the_scans_own_under_the_centre(paint: Painter, frame: Array) -> None:
    """Oblique scans too: the middle of each slice lies on a slice of the scan, and they follow each other."""
    volume = paint(ramp, frame)
    stack = cut(volume, CENTRE, SMALL["native"])
    ijk = volume.to_ijk(stack.pixels_ras().mean((1, 2))[stack.valid])
    own = np.abs(ijk - np.rint(ijk)).max(0) < 1e-6
    assert own.any()
    steps = np.abs(np.diff(ijk[:, own][:, 0]))
    assert np.allclose(steps, steps[0])
    assert 1 <= stack.step_mm[0] < 2.01 or np.isclose(steps[0], 1)


@pytest.mark.parametrize(
    ("spacing", "step"), [(0.3, 1.2), (0.5, 1.0), (0.5001, 1.0002), (0.625, 1.25), (0.9, 1.8), (1.0, 1.0), (5.0, 5.0)]
)
def test_thin_scans_are_thinned_to_whole_slices(spacing: float, step: float) -> None:
    volume = upright((0.7, 0.7, spacing), (40, 40, 60))
    stack = cut(volume, np.zeros(3), Layout("native", slices=5, pixels=8))
    assert np.allclose(stack.step_mm, step)
    k = volume.to_ijk(stack.pixels_ras()[stack.valid])[..., 2]
    assert np.allclose(k, np.rint(k))


@layouts
def test_slices_outside_the_scan_are_absent(layout: Layout) -> None:
    volume = upright((0.7, 0.7, 1.25), (40, 40, 7))
    stack = cut(volume, np.array([0, 0, 2.6]), layout)
    assert np.array_equal(stack.valid, volume.contains(stack.pixels_ras().mean((1, 2))))
    assert 0 < stack.valid.sum() < len(stack.valid)
    assert not stack.pixels[~stack.valid].any()
    assert stack.pixels[stack.valid].any((1, 2)).all()


def test_beside_the_scan_its_edge_goes_on() -> None:
    volume = upright((0.7, 0.7, 1.25), (40, 40, 7))
    edge = volume.to_ras(np.array([0.0, 20, 3]))
    stack = cut(volume, edge, Layout("native", slices=1, pixels=11))
    assert np.array_equal(stack.pixels[0, :, :5], np.repeat(stack.pixels[0, :, 5:6], 5, 1))


@layouts
def test_bounds_keep_every_slice_that_holds_the_nodule_and_no_other(layout: Layout) -> None:
    bounds = np.array([[-3.1, -4.2, -5.3], [6.4, 2.2, 7.7]])
    stack = cut(upright((0.7, 0.7, 1.25)), np.zeros(3), layout, bounds)
    normal = np.array([PLANES[name][2] for name in layout.planes])[stack.plane]
    low, high = (normal * bounds[0]).sum(1), (normal * bounds[1]).sum(1)
    holds = (stack.offset_mm + stack.step_mm / 2 >= low) & (stack.offset_mm - stack.step_mm / 2 <= high)
    assert np.array_equal(stack.valid, holds)
    assert 0 < stack.valid.sum() < len(stack.valid)


def test_a_nodule_thinner_than_a_slice_keeps_its_slice() -> None:
    flat = np.array([[-3, -3, 1.9], [3, 3, 2.1]])
    assert cut(upright((0.7, 0.7, 5.0)), np.array([0, 0, 2.0]), SMALL["native"], flat).valid.sum() == 1


@pytest.mark.parametrize("beside", [(15, 0, 0), (0, -15, 0), (0, 0, 26)])
def test_a_point_outside_the_ct_is_refused_with_a_sentence(beside: tuple[int, int, int]) -> None:
    place = r"The point \({:.1f}, {:.1f}, {:.1f}\) mm RAS lies outside the CT: put it on a nodule".format(*beside)
    with pytest.raises(NoduleRiskError, match=place):
        cut(upright((0.7, 0.7, 1.25)), np.array(beside), SMALL["native"])


@pytest.mark.parametrize(
    "wrong", [{"planes": ("frontal",)}, {"planes": ()}, {"slices": 0}, {"pixels": 0}, {"pixel_mm": 0}, {"step_mm": 0.0}]
)
def test_a_layout_that_cuts_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(NoduleRiskError, match=r"layout"):
        Layout("wrong", **wrong)


# The outline and other values on grids of their own


def test_the_outline_is_zero_where_it_was_not_drawn(paint: Painter, frames: dict[str, Array]) -> None:
    drawn = Volume(np.ones((3, 5, 5), np.float32), paint(ramp, frames["oblique"], 2.0).ijk_to_ras)
    stack = cut(paint(ramp, frames["thick"]), CENTRE, SMALL["axial"], outline=drawn)
    ijk = drawn.to_ijk(stack.pixels_ras())
    deep = np.all((ijk >= 0) & (ijk <= (4, 4, 2)), axis=-1)
    away = np.any((ijk < -1) | (ijk > (5, 5, 3)), axis=-1)
    assert deep.sum() > 10
    assert np.allclose(stack.outline[deep], 1)
    assert not stack.outline[away].any()


def test_a_constant_fades_in_over_one_voxel() -> None:
    row = Volume(np.full((1, 1, 2), 8, np.int16), np.eye(4))
    points = np.zeros((5, 3))
    points[:, 0] = (-1, -0.25, 0, 1.5, 2)
    assert np.allclose(sample(row, points, outside=0.0), (0, 6, 8, 4, 0))
    assert np.allclose(sample(row, points), 8)
    assert sample(row, np.zeros((0, 3))).shape == (0,)


def test_rounding_does_not_darken_the_outermost_voxels() -> None:
    volume = Volume(np.full((3, 3, 3), 9, np.float32), np.diag([0.7, 0.7, 0.7, 1]))
    corner = volume.to_ras(np.array([2.0, 2, 2]))
    assert sample(volume, corner[None] * (1 + 1e-9), outside=0.0) == pytest.approx(9, abs=1e-4)


# The mosaic


@layouts
def test_every_patch_of_the_mosaic_is_one_slice_in_order(layout: Layout) -> None:
    stack = cut(upright((0.7, 0.7, 1.25), (40, 40, 12)), np.zeros(3), layout)
    stack = part(stack, np.arange(len(stack.valid)) != 8)
    write_page = mosaic(stack, empty=-2000)
    count, n, columns = len(stack.valid), layout.pixels, layout.columns
    assert write_page.shape[1] == columns * n
    assert columns - 1 <= write_page.shape[0] / n <= columns
    for p in range(write_page.size // n**2):
        row, column = p // columns * n, p % columns * n
        patch = write_page[row : row + n, column : column + n]
        seen = p < count and stack.valid[p]
        assert np.array_equal(patch, stack.pixels[p] if seen else np.full((n, n), -2000))


def test_the_mosaic_shows_other_values_too() -> None:
    stack = cut(upright((0.7, 0.7, 1.25)), np.zeros(3), SMALL["native"])
    write_page = mosaic(stack, np.arange(19), empty=0)
    assert np.array_equal(write_page[::24, ::24].ravel()[:19], np.where(stack.valid, np.arange(19), 0))
    with pytest.raises(ValueError, match="shape"):
        mosaic(stack, np.arange(18))


# The way back


def assert_pasting_is_undone(stack: SliceStack, values: Array, bounds: Array | None = None) -> None:
    volumes = paste(stack, values)
    assert set(volumes) == {stack.layout.planes[index] for index in stack.plane[stack.valid]}
    for index, name in enumerate(stack.layout.planes):
        again = cut(volumes[name], CENTRE, stack.layout, bounds)
        mine = stack.valid & (stack.plane == index)
        told = np.broadcast_to(values.reshape(len(values), *values.shape[1:] or (1, 1)), stack.pixels.shape)
        assert again.valid[mine].all()
        assert np.allclose(again.pixels[mine], told[mine], atol=1e-4)
        assert not (again.valid & ~stack.valid & (stack.plane == index)).any()


@pytest.mark.parametrize("bounded", [False, True], ids=["whole", "bounded"])
@pytest.mark.parametrize("kind", ["pixels", "slices"])
@layouts
def test_cutting_what_was_pasted_gives_it_back(
    paint: Painter, frame: Array, layout: Layout, kind: str, bounded: bool
) -> None:
    bounds = np.stack([CENTRE - (5, 4, 6), beside(3, 5, 7)]) if bounded else None
    stack = cut(paint(ramp, frame), CENTRE, layout, bounds)
    shape = stack.pixels.shape if kind == "pixels" else stack.valid.shape
    assert_pasting_is_undone(stack, np.random.default_rng(2).uniform(-1, 1, shape).astype(np.float32), bounds)


@pytest.mark.parametrize("k", range(3, 7))
def test_pasting_is_undone_half_way_between_two_slices(k: int) -> None:
    """Where two slices are equally near, the scan and what is pasted must choose the same one."""
    matrix = np.diag([-0.7, -0.7, 2.0, 1])
    matrix[:3, 3] = CENTRE - matrix[:3, :3] @ (20, 20, k + 0.5)
    stack = cut(Volume(np.zeros((11, 41, 41), np.int16), matrix), CENTRE, replace(SMALL["native"], slices=7))
    assert_pasting_is_undone(stack, np.random.default_rng(2).uniform(-1, 1, stack.pixels.shape).astype(np.float32))


@layouts
def test_a_heatmap_lies_on_the_ct_where_its_pixels_were_read(paint: Painter, frame: Array, layout: Layout) -> None:
    place = beside(-2.6, 3.9, -1.7)
    stack = cut(paint(ramp, frame), CENTRE, layout)
    for volume in paste(stack, hill_at(place)(stack.pixels_ras())).values():
        k, j, i = np.indices(volume.array.shape)
        weights = volume.array.astype(np.float64) ** 2
        centroid = (volume.to_ras(np.stack([i, j, k], -1)) * weights[..., None]).sum((0, 1, 2)) / weights.sum()
        assert np.allclose(centroid, place, atol=0.25)


def test_absent_slices_between_stay_empty_and_absent_planes_are_left_out() -> None:
    stack = cut(upright((0.7, 0.7, 1.25)), np.zeros(3), SMALL["triplanar"])
    keep = np.isin(np.arange(57), (3, 5, 19 + 7))
    volumes = paste(part(stack, keep), np.ones(57))
    assert {name: volume.array.max((1, 2)).tolist() for name, volume in volumes.items()} == {
        "axial": [1, 0, 1],
        "coronal": [1],
    }
