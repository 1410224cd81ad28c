"""What a nodule's size would be worth if outlines were measured wrongly: on shapes whose size is known."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from conftest import CENTRE, Painter, beside
from scipy.spatial.transform import Rotation

from NoduleRiskLib.imaging.outline import Outline, axes_mm, measure, widest
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.shape_features import SHAPE_FEATURES, shape_features
from NoduleRiskLib.imaging.slice_stack import LAYOUTS, Layout, SliceStack
from NoduleRiskLib.imaging.volume import Array

Shape = Callable[[Array], Array]
SOFT_MM = 0.7


def ellipsoid(half_axes: Array | float, centre: Array = CENTRE, turned_deg: float = 0.0) -> Shape:
    """How surely a point in RAS belongs to an ellipsoid that is turned in the axial plane; its edge is one pixel."""
    half = np.broadcast_to(np.asarray(half_axes, np.float64), 3)
    turn = Rotation.from_euler("z", turned_deg, degrees=True).as_matrix()

    def share(points_ras: Array) -> Array:
        places = (points_ras - centre) @ turn
        radius = np.linalg.norm(places / half, axis=-1)
        # First-order distance from the surface.
        slope = np.linalg.norm(places / half**2, axis=-1) / np.maximum(radius, 1e-9)
        return np.clip(0.5 + (1 - radius) / np.maximum(slope, 1e-9) / SOFT_MM, 0, 1)

    return share


def flat(half_axes: tuple[float, float], turned_deg: float = 0.0) -> Array:
    """One slice (64 x 64 pixels of 0.7 mm) through an ellipse that lies on no pixel's centre."""
    at = (np.arange(64) - 31.8) * 0.7
    points = np.stack([*np.meshgrid(at, at), np.zeros((64, 64))], -1)
    return ellipsoid(np.array([*half_axes, 99.0]), np.zeros(3), turned_deg)(points)


@pytest.fixture(scope="module")
def empty(paint: Painter, frames: dict[str, Array]) -> SliceStack:
    return cut(paint(lambda points: np.zeros(points.shape[:-1]), frames["flip--+"]), CENTRE, LAYOUTS["native"])


def found(stack: SliceStack, shape: Shape) -> Outline:
    outline = measure(stack, shape(stack.pixels_ras()))
    assert outline is not None
    return outline


@pytest.mark.parametrize("turned", [0, 13, 30, 45, 77, 90])
@pytest.mark.parametrize("half_axes", [(5.0, 5.0), (12.0, 4.0), (2.0, 1.5), (15.0, 9.0)])
def test_long_and_short_axis_are_the_ellipses_own_however_it_lies(
    half_axes: tuple[float, float], turned: float
) -> None:
    long, short = axes_mm(flat(half_axes, turned), 0.7)
    assert (long, short) == pytest.approx((2 * half_axes[0], 2 * half_axes[1]), abs=0.3)


@pytest.mark.parametrize("turned", [0, 20, 45])
def test_a_mask_without_soft_edge_measures_nearly_the_same(turned: float) -> None:
    long, short = axes_mm((flat((8.0, 5.0), turned) > 0.5).astype(np.float32), 0.7)
    assert (long, short) == pytest.approx((16, 10), abs=0.8)


@pytest.mark.parametrize("pixel_mm", [0.5, 0.7])
def test_a_single_pixel_is_one_pixel_wide(pixel_mm: float) -> None:
    outline = np.zeros((9, 9))
    outline[4, 6] = 1
    assert axes_mm(outline, pixel_mm) == pytest.approx((pixel_mm, pixel_mm))
    outline[4, 8] = 1
    assert axes_mm(outline, pixel_mm) == pytest.approx((3 * pixel_mm, pixel_mm))


@pytest.mark.parametrize("unsure", [0.0, 0.3, 0.5])
def test_what_is_not_likelier_than_not_is_no_nodule(empty: SliceStack, unsure: float) -> None:
    outline = np.full(empty.pixels.shape, unsure)
    assert measure(empty, outline) is None
    assert widest(outline, 0.7) == (0, 0)
    assert axes_mm(outline[0], 0.7) == (0, 0)


def test_the_diameter_is_that_of_the_widest_slice() -> None:
    slices = np.stack([flat((3.0, 3.0)), flat((7.0, 2.0)), flat((5.0, 4.8)), np.zeros((64, 64))])
    assert widest(slices, 0.7) == pytest.approx((10, 9.6), abs=0.3)


@pytest.mark.parametrize("radius", [2.5, 6.0, 13.0])
def test_a_sphere_has_its_diameter_and_volume_in_every_scan(paint: Painter, frame: Array, radius: float) -> None:
    stack = cut(paint(lambda points: np.zeros(points.shape[:-1]), frame), CENTRE, LAYOUTS["native"])
    centre = beside(1.2, -0.9, 0.4)
    outline = found(stack, ellipsoid(radius, centre))
    # A slice may miss the sphere's middle by half its thickness.
    step = float(stack.step_mm[0])
    lost = 2 * (radius - np.sqrt(radius**2 - min(step / 2, radius) ** 2))
    assert 2 * radius - lost - 0.3 < outline.diameter_mm < 2 * radius + 0.3
    assert outline.long_axis_mm >= outline.short_axis_mm
    assert outline.diameter_mm == pytest.approx((outline.long_axis_mm + outline.short_axis_mm) / 2)
    tolerance = 0.4 if step > radius / 2 else 0.12 if radius < 3 else 0.04
    assert outline.volume_mm3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=tolerance)
    assert np.allclose(outline.centre_ras, centre, atol=max(0.2, step / 3))
    # To the middle of the outermost pixels and slices.
    slack = np.array([0.7 + lost / 2, 0.7 + lost / 2, step])
    assert (np.abs(outline.bounds_ras - centre - radius * np.array([[-1], [1]])) <= slack).all()
    assert abs(outline.slices - 2 * radius / step) <= 1


def test_height_counts_for_the_volume_and_not_for_the_diameter(empty: SliceStack) -> None:
    outline = found(empty, ellipsoid(np.array([4.0, 3.0, 15.0])))
    assert (outline.long_axis_mm, outline.short_axis_mm) == pytest.approx((8, 6), abs=0.3)
    assert outline.volume_mm3 == pytest.approx(4 / 3 * np.pi * 4 * 3 * 15, rel=0.05)
    assert outline.slices == pytest.approx(30 / 1.25, abs=1)
    assert np.ptp(outline.bounds_ras[:, 2]) == pytest.approx(30, abs=2 * 1.25)


@pytest.mark.parametrize("turned", [0, 25, 60, 110])
def test_turning_the_patient_changes_no_size(empty: SliceStack, turned: float) -> None:
    outline = found(empty, ellipsoid(np.array([7.0, 4.0, 5.0]), turned_deg=turned))
    assert (outline.long_axis_mm, outline.short_axis_mm) == pytest.approx((14, 8), abs=0.3)
    assert outline.volume_mm3 == pytest.approx(4 / 3 * np.pi * 7 * 4 * 5, rel=0.03)


def test_the_outline_lies_on_the_nodule(paint: Painter, frame: Array) -> None:
    layout = Layout("small", slices=15, pixels=32)
    stack = cut(paint(lambda points: np.zeros(points.shape[:-1]), frame), CENTRE, layout)
    centre = beside(-2.3, 1.6, 0.8)
    outline = found(stack, ellipsoid(5.0, centre)).probability
    k, j, i = np.indices(outline.array.shape)
    places = outline.to_ras(np.stack([i, j, k], -1))
    assert np.allclose(outline.array, ellipsoid(5.0, centre)(places), atol=1e-6)
    assert outline.array.dtype == np.float32


def test_absent_slices_hold_no_nodule(empty: SliceStack) -> None:
    shape = ellipsoid(6.0)(empty.pixels_ras())
    upper = replace(empty, valid=empty.valid & (empty.offset_mm > 0))
    outline = measure(upper, np.where(upper.valid[:, None, None], shape, 1))
    assert outline is not None
    assert outline.bounds_ras[0, 2] >= CENTRE[2]
    assert outline.volume_mm3 == pytest.approx(2 / 3 * np.pi * 6**3, rel=0.1)
    assert measure(replace(empty, valid=np.zeros_like(empty.valid)), np.ones(empty.pixels.shape)) is None


def test_one_slice_is_a_nodule_too(empty: SliceStack) -> None:
    outline = ellipsoid(4.0)(empty.pixels_ras())
    outline[np.arange(len(outline)) != 24] = 0
    measured = measure(empty, outline)
    assert measured is not None
    assert measured.slices == 1
    assert np.ptp(measured.bounds_ras[:, 2]) == 0
    assert measured.volume_mm3 == pytest.approx(np.pi * 16 * 1.25, rel=0.08)
    assert measured.probability.array.shape[0] == empty.valid.sum()


def test_a_ragged_outline_of_thousands_of_edge_points_is_measured_in_little_memory() -> None:
    size = 1500
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    ragged = ((rows / 600) ** 2 + (columns / 400) ** 2 < 1) & ((rows + columns) % 2 == 0)
    tracemalloc.start()
    long_axis, short_axis = axes_mm(ragged.astype(np.float32), 0.1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (long_axis, short_axis) == pytest.approx((120, 80), abs=0.5)
    assert peak < 500e6, "all pairs of its 1.5 million edge points would take terabytes"


# What is measured of the shape


def measures(half_axes: tuple[float, float, float], step_mm: float, turned_deg: float = 0.0) -> dict[str, float]:
    """Of an ellipsoid on slices ``step_mm`` apart, none of which goes through its middle."""
    offset = np.arange(-24, 24, step_mm) + 0.3 * step_mm
    at = (np.arange(64) - 31.8) * 0.7
    columns, rows = np.meshgrid(at, at)
    points = np.stack([np.stack([columns, rows, np.full_like(rows, z)], -1) for z in offset])
    outline = ellipsoid(np.array(half_axes), np.zeros(3), turned_deg)(points)
    return dict(zip(SHAPE_FEATURES, shape_features(outline, offset, 0.7).tolist(), strict=True))


@pytest.mark.parametrize("turned", [0, 25, 90])
@pytest.mark.parametrize("step_mm", [0.7, 1.5, 2.5])
def test_an_ellipsoids_measures_are_its_own_however_it_lies_and_is_cut(step_mm: float, turned: float) -> None:
    long, middle, short = 12.0, 8.0, 6.0
    told = measures((long, middle, short), step_mm, turned)
    expected = {
        "size": np.cbrt(long * middle * short) * 2 / 8,
        "flatness": short / long,
        "elongation": middle / long,
        "depth": 2 * short / (long + middle),
        "roundness": middle / long,
    }
    assert {name: told[name] for name in expected} == pytest.approx(
        {name: np.log(value) for name, value in expected.items()}, abs=0.06
    )


def test_the_rounder_the_smoother() -> None:
    round_, long = measures((7.0, 7.0, 7.0), 0.7), measures((14.0, 5.0, 4.9), 0.7)
    assert round_["smoothness"] > long["smoothness"] + 0.2
    assert abs(round_["size"] - long["size"]) < 0.02
    # A ball's faces on a grid are half as much again as its surface.
    assert round_["smoothness"] == pytest.approx(-3 * np.log(1.5), abs=0.1)


def test_one_slice_and_none_have_measures_too() -> None:
    disc = flat((5.0, 5.0))[None]
    assert np.isfinite(shape_features(disc, np.zeros(1), 0.7)).all()
    assert not shape_features(np.zeros_like(disc), np.zeros(1), 0.7).any()
