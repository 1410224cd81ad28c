"""Where a place of one examination lies in the other: lungs aligned rigidly, then affinely, then vessels around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from ..imaging.lung_mask import coarse, lung_mask
from ..imaging.resampling import sample_grid
from ..imaging.volume import LPS_TO_RAS, Array, Volume, lps_ras, place_itk

#: Grid along R, A and S on which lungs are aligned, mm.
GRID_MM = 4.0
#: How far from the lungs' surface distances count, mm: beyond it there is nothing of the lungs to align.
REACH_MM = 20.0
#: Starts closer than this (mm) end at the same place.
NEAR_MM = 12.0
#: Lungs that overlap less than this (Dice) are not aligned: figures in ``docs/followup.md``.
ALIGNED_DICE = 0.85
#: Lung, vessels and chest wall (HU): what lies beyond is the same to the alignment, whatever its contrast.
SHOWN_HU = (-1000.0, -300.0)
#: Shrinking and smoothing (in voxels) of the levels of resolution. Only the last step of ``align`` sees every voxel:
#: to let the others do so as well took twice as long on three pairs (by hand) and brought places no nearer.
LEVELS = ((4, 2), (2.0, 1.0))


@dataclass(frozen=True, eq=False)
class Alignment:
    """How places of an earlier examination lie in a later one.

    Attributes
    ----------
    prior_to_current : ndarray, shape (4, 4)
        Takes RAS (mm) of the earlier CT to RAS of the later one: affine.
    overlap : float
        Dice of both lungs, once aligned, where both CTs show them: 0 to 1. NaN where a CT shows no lungs, and places
        are compared as the scanners gave them.
    """

    prior_to_current: Array
    overlap: float

    @cached_property
    def current_to_prior(self) -> Array:
        """Inverse of ``prior_to_current``, shape (4, 4)."""
        return np.linalg.inv(self.prior_to_current)

    @property
    def sure(self) -> bool:
        """Whether the lungs lie on each other well enough for places to be compared."""
        return self.overlap >= ALIGNED_DICE

    def to_current(self, ras: Array) -> Array:
        """Places (RAS mm, shape (..., 3)) of the earlier CT in the later one."""
        return _moved(self.prior_to_current, ras)

    def to_prior(self, ras: Array) -> Array:
        """Places (RAS mm, shape (..., 3)) of the later CT in the earlier one."""
        return _moved(self.current_to_prior, ras)


def align(prior: Volume, current: Volume) -> Alignment:
    """Lay the lungs of two CTs of one patient on each other.

    First by signed distances to the lungs' surface, which reach far and know no vessels, noise or contrast: moments,
    then rigidly, then affinely (breathing). Several starts, since a CT may show a part of the lungs only. Last by the
    lungs themselves, whose vessels say more than their surface.

    Parameters
    ----------
    prior, current : Volume
        CTs in HU on any grids, of any orientation.

    Returns
    -------
    Alignment
        Without lungs in one of them, places are compared as the scanners gave them.
    """
    before, after = (_Lungs.of(volume) for volume in (prior, current))
    if before is None or after is None:
        return Alignment(np.eye(4), float("nan"))
    import SimpleITK as sitk

    # ITK takes places of the fixed image to the moving one: from the current CT to the prior one.
    fixed, moving = after.distance, before.distance
    rigid = max(
        (_registered(fixed, moving, start) for start in _starts(before, after)),
        key=lambda found: _agreement(before, after, _matrix(found)),
    )
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetCenter(rigid.GetCenter())
    affine.SetTranslation(rigid.GetTranslation())
    affine = _registered(fixed, moving, affine)
    affine = _registered(after.shown, before.shown, affine, levels=((2, 1), (1.0, 0.0)), mask=after.near)
    matrix = _matrix(affine)
    return Alignment(np.linalg.inv(matrix), _overlap(before, after, matrix)[0])


@dataclass(frozen=True, eq=False)
class _Lungs:
    """One CT's lungs on a coarse RAS grid, as SimpleITK images in LPS.

    ``distance``: signed, mm, negative inside, up to ``REACH_MM``; ``shown``: HU within ``SHOWN_HU``; ``near``: 1 in the
    lungs and close to them.
    """

    inside: Volume
    distance: Any
    shown: Any
    near: Any

    @classmethod
    def of(cls, volume: Volume) -> _Lungs | None:
        outside = lung_mask(volume).outside_mm
        if outside is None:
            return None
        # A grid along R, A and S whatever the CT's axes: ITK knows no tilted gantry.
        corners = volume.corners_ras(beyond=0.5)
        low, high = corners.min(0), corners.max(0)
        size = np.maximum(np.floor((high - low) / GRID_MM), 1).astype(int)
        grid_to_ras = np.diag((GRID_MM, GRID_MM, GRID_MM, 1.0))
        grid_to_ras[:3, 3] = low + (high - low - (size - 1) * GRID_MM) / 2
        shape = (int(size[2]), int(size[1]), int(size[0]))
        inside = sample_grid(outside, grid_to_ras, shape) < GRID_MM / 2
        spacing = (GRID_MM,) * 3
        away = ndimage.distance_transform_edt(~inside, spacing) - ndimage.distance_transform_edt(inside, spacing)
        shown = coarse(volume)
        smooth = ndimage.gaussian_filter(shown.array, GRID_MM / 4 / shown.spacing_mm[::-1])
        shown_hu = sample_grid(Volume(smooth, shown.ijk_to_ras), grid_to_ras, shape)
        kept = Volume(inside, grid_to_ras)
        return cls(
            kept,
            _image(np.clip(away, -REACH_MM, REACH_MM), kept),
            _image(np.clip(shown_hu, *SHOWN_HU), kept),
            _image(away < GRID_MM, kept),
        )


def _starts(before: _Lungs, after: _Lungs) -> list[Any]:
    """Where rigid alignment begins: the lungs' centres of mass on each other, their tops, and their bottoms."""
    import SimpleITK as sitk

    places = []
    for one in (before, after):
        ras = one.inside.to_ras(np.argwhere(one.inside.array)[:, ::-1])
        places.append((ras.mean(0), ras[:, 2].min(), ras[:, 2].max()))
    (was, was_low, was_high), (now, now_low, now_high) = places
    starts: list[Any] = []
    used: list[float] = []
    for up in (0.0, was_high - was[2] - (now_high - now[2]), was_low - was[2] - (now_low - now[2])):
        if any(abs(up - other) < NEAR_MM for other in used):
            continue
        used.append(up)
        start = sitk.Euler3DTransform()
        start.SetCenter(lps_ras(now).tolist())
        start.SetTranslation(lps_ras(was - now + (0, 0, up)).tolist())
        starts.append(start)
    return starts


def _registered(fixed: Any, moving: Any, start: Any, levels: tuple[Any, Any] = LEVELS, mask: Any = None) -> Any:
    """The transform from ``start`` on that leaves the smallest mean square."""
    import SimpleITK as sitk

    method: Any = sitk.ImageRegistrationMethod()
    method.SetMetricAsMeanSquares()
    if mask is not None:
        method.SetMetricFixedMask(mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=1.0, minStep=0.01, numberOfIterations=200, relaxationFactor=0.5, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(levels[0])
    method.SetSmoothingSigmasPerLevel(levels[1])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(start, inPlace=False)
    # Sums over several threads would differ in their last digits from run to run.
    method.SetNumberOfThreads(1)
    found = method.Execute(fixed, moving)
    while found.GetName() == "CompositeTransform":
        found = found.GetBackTransform()
    return found


def _image(array: Array, grid: Volume) -> Any:
    import SimpleITK as sitk

    image: Any = sitk.GetImageFromArray(np.ascontiguousarray(array, np.uint8 if array.dtype == bool else np.float32))
    place_itk(image, grid)
    return image


def _matrix(transform: Any) -> Array:
    """An affine SimpleITK transform in LPS as a matrix (4, 4) in RAS."""
    matrix = np.eye(4)
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix[:3, :3] = np.array([np.array(transform.TransformPoint(row)) - origin for row in np.eye(3).tolist()]).T
    matrix[:3, 3] = origin
    return LPS_TO_RAS @ matrix @ LPS_TO_RAS


def _agreement(before: _Lungs, after: _Lungs, current_to_prior: Array) -> float:
    """How well a start did: lungs that agree where hardly anything of them is seen in both CTs are worth nothing."""
    dice, seen = _overlap(before, after, current_to_prior)
    return dice * seen


def _overlap(before: _Lungs, after: _Lungs, current_to_prior: Array) -> tuple[float, float]:
    """Dice of both lungs where both CTs show them, and how much of the smaller ones that is, each 0 to 1."""
    grid = after.inside
    there = Volume(np.ones(before.inside.array.shape, np.float32), before.inside.ijk_to_ras)
    lungs = Volume(before.inside.array.astype(np.float32), before.inside.ijk_to_ras)
    moved = current_to_prior @ grid.ijk_to_ras
    seen = sample_grid(there, moved, grid.array.shape, outside=0.0) > 0.5
    earlier = (sample_grid(lungs, moved, grid.array.shape, outside=0.0) > 0.5) & seen
    later = grid.array & seen
    both = int(earlier.sum() + later.sum())
    smaller = min(int(before.inside.array.sum()), int(grid.array.sum()))
    dice = 2 * int((earlier & later).sum()) / both if both else 0.0
    return dice, min(1.0, both / 2 / smaller)


def _moved(matrix: Array, ras: Array) -> Array:
    return np.asarray(ras) @ matrix[:3, :3].T + matrix[:3, 3]
