"""Cutting one nodule's slices: ours against resampling the CT, a part of it, or the same points, as one would."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.imaging.volume import LPS_TO_RAS, Array, Volume
from NoduleRiskLib.networks.segmentation import segment

from .samples import AIR_HU, long_chest, package
from .timing import Figure, Part, in_turns, race, ratio

SLICES = (100, 300, 900)
OURS, REGION, WHOLE = "cut", "SimpleITK, the same grid", "SimpleITK, whole CT to 1 mm, then slices of it"
SCIPY = "scipy.ndimage, the same points"


def parts() -> Iterator[Part]:
    """A race for each length of CT, and whether our cost grows with it."""
    ours = {}
    for slices in SLICES:
        volume, point = long_chest(slices)
        (outline,) = segment(volume, np.array([point.ras]), package().networks().segmentation)
        assert outline is not None, "the nodule that is cut was not found"
        contenders = ways(volume, outline)
        times = in_turns(contenders, seconds=6)
        ours[slices] = median(times[OURS])
        figures = []
        if slices == SLICES[1]:
            figures += [
                Figure(f"cut, against {name}", ratio(times[name], times[OURS]), reach, "times", more=True)
                for name, reach in ((REGION, 3), (WHOLE, 100))
            ]
        if slices == SLICES[-1]:
            growth = ours[slices] / ours[SLICES[0]]
            figures.append(Figure(f"cut, {slices} slices against {SLICES[0]}", growth, 1.25, "times"))
        yield Part(f"Cut one nodule from a CT of {slices} slices", race(contenders, times, OURS), tuple(figures))


def ways(volume: Volume, outline: Outline) -> dict[str, Any]:
    """Callables that all give the slices of the nodule's extent, in HU; checked to agree within 1 HU."""
    layout = package().config.layout
    stack = cut(volume, outline.centre_ras, layout, outline.bounds_ras)
    image = _image(volume)
    grid = _grid(stack)

    def same_grid() -> Array:
        return sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear))

    def whole() -> Array:
        size = [round(n * mm) for n, mm in zip(image.GetSize(), image.GetSpacing(), strict=True)]
        even = sitk.Resample(
            image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), [1.0] * 3, image.GetDirection(), AIR_HU
        )
        return sitk.GetArrayFromImage(sitk.Resample(even, grid, sitk.Transform(), sitk.sitkLinear))

    def points() -> Array:
        ijk = volume.to_ijk(stack.pixels_ras()[stack.valid])
        return map_coordinates(volume.array, np.moveaxis(ijk[..., ::-1], -1, 0), np.float32, order=1, mode="nearest")

    for way in (same_grid, points):
        assert np.abs(way() - stack.pixels[stack.valid]).max() < 1, f"{way.__name__} cuts something else"
    ours = lambda: cut(volume, outline.centre_ras, layout, outline.bounds_ras)  # noqa: E731
    return {OURS: ours, REGION: same_grid, SCIPY: points, WHOLE: whole}


def _image(volume: Volume) -> Any:
    return _placed(sitk.GetImageFromArray(volume.array), volume.ijk_to_ras)


def _grid(stack: SliceStack) -> Any:
    """An empty image whose voxels are the pixels of the stack's valid slices."""
    size = (stack.layout.pixels, stack.layout.pixels, int(stack.valid.sum()))
    return _placed(sitk.Image(size, sitk.sitkInt16), stack.ijk_to_ras[stack.valid][0])


def _placed(image: Any, ijk_to_ras: Array) -> Any:
    lps = LPS_TO_RAS @ ijk_to_ras
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image
