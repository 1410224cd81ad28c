"""Where the lungs are in a CT: worked out once a volume, on a coarse grid, from Hounsfield units alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage

from .resampling import sample
from .volume import Array, Volume

#: Grid on which lungs are looked for, mm.
GRID_MM = 2.5
#: Aerated lung averaged over a grid's voxel, emphysema to dependent density (HU); gas in airways and bowel is darker.
LUNG_HU = (-960.0, -500.0)
#: Where gas meets tissue, a layer is as bright as lung: thinner than twice this, mm.
THIN_MM = 3.0
#: Chest wall and organs, fat included, are brighter than this (HU); a table's shell is, too, but less than this share.
TISSUE_HU, BODY = -300.0, 0.1
#: A scan that is less deep from front to back (mm) is a crop: it need not show the chest wall.
CHEST_MM = 200.0
#: Less than this (ml) may be a piece of lung in a crop or what a bowel holds: no lungs are told from it.
LUNGS_ML = 300.0
#: A lung is at least this share of the larger one; what a bowel holds is less.
SMALLER_LUNG = 0.05
#: Emphysema can be as dark as gas: so much of what surrounds it is lung (0.6 or more in LIDC-IDRI-0006), and at most
#: 0.15 of what surrounds windpipe, bowel and stomach in five CTs.
IN_LUNG = 0.4
#: Where no ball of this radius (mm) finds room between lung and lung, there is a vessel or a nodule, on the chest wall
#: too. Painted masses of 30 mm whose middle lies 5 mm into the lung are in the lungs with 25 mm, with 12 mm they are
#: not; liver, heart and chest wall are out of the lungs as before.
CLOSED_MM = 25.0

_SEEN: WeakKeyDictionary[Volume, LungMask] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class LungMask:
    """The lungs of one CT.

    Attributes
    ----------
    outside_mm : Volume or None
        float32, on a coarse grid along the CT's own axes: how far each voxel lies from the lungs, 0 within them, no
        more than ``CLOSED_MM``.
        ``None`` where no lungs can be told, as in a crop around a nodule.
    """

    outside_mm: Volume | None

    def distance_mm(self, ras: Array) -> Array:
        """How far places (RAS mm, shape (N, 3)) lie from the lungs, float (N,).

        0 within the lungs, ``CLOSED_MM`` far from them, NaN where none are known.
        """
        ras = np.asarray(ras, np.float64)
        return np.full(ras.shape[:-1], np.nan) if self.outside_mm is None else sample(self.outside_mm, ras)


def lung_mask(volume: Volume) -> LungMask:
    """The lungs without trachea and main bronchi, vessels and nodules counted in.

    Asked of the same volume again, it does not look again. Lung is what is as dark as lung, has chest wall in front of
    it and behind it, and is neither a thin layer nor small: air, bowel, stomach and table fail in one of these.

    Parameters
    ----------
    volume : Volume
        A CT on any grid; axes that are not at right angles are taken as if they were.

    Returns
    -------
    LungMask
    """
    if volume not in _SEEN:
        _SEEN[volume] = LungMask(_outside_mm(coarse(volume)))
    return _SEEN[volume]


def coarse(volume: Volume) -> Volume:
    """The volume on a grid of about ``GRID_MM``, float32: each voxel a mean of up to eight of the old ones."""
    every = np.maximum(1, np.round(GRID_MM / volume.spacing_mm)).astype(int)
    shape = (np.array(volume.array.shape[::-1]) // every)[::-1]
    # First and third quarter of the voxels that become one.
    taken = [sorted({int(n // 4), int(3 * n // 4)}) for n in every]
    total = np.zeros(shape, np.float32)
    for i, j, k in product(*taken):
        total += volume.array[k :: every[2], j :: every[1], i :: every[0]][: shape[0], : shape[1], : shape[2]]
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = volume.to_ras(np.array([np.mean(one) for one in taken]))
    matrix[:3, :3] *= every
    return Volume(total / np.prod([len(one) for one in taken]), matrix)


def _outside_mm(ct: Volume) -> Volume | None:
    """How far each voxel of a coarse CT lies from the lungs, ``None`` where there are none."""
    spacing_mm = ct.spacing_mm[::-1]
    dark = ct.array < LUNG_HU[1]
    grey = dark & (ct.array > LUNG_HU[0])
    core = _eroded(grey, THIN_MM, spacing_mm)
    front_to_back = 2 - int(np.abs(ct.ijk_to_ras[1, :3] / ct.spacing_mm).argmax())
    if ct.array.shape[front_to_back] * spacing_mm[front_to_back] > CHEST_MM:
        body = _large(ct.array > TISSUE_HU, BODY)
        core = _mostly(core, _between(body, front_to_back))
    core = _large(core, SMALLER_LUNG)
    lung = grey & ndimage.maximum_filter(core, _box(THIN_MM, spacing_mm))
    lung |= _emphysema(dark & ~lung, lung, spacing_mm)
    if lung.sum() * spacing_mm.prod() < 1000 * LUNGS_ML:
        return None
    # Right and left lung, each for itself: closed together they would take in what lies between them.
    parts, _ = ndimage.label(_large(_eroded(lung, THIN_MM, spacing_mm), SMALLER_LUNG))
    parts = np.where(lung, ndimage.maximum_filter(parts, _box(THIN_MM, spacing_mm)), 0)
    outside_mm = np.full(lung.shape, np.float32(CLOSED_MM))
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        _closed_into(outside_mm, parts, number, box, spacing_mm)
    outside_mm[_holes(outside_mm == 0)] = 0
    return Volume(outside_mm, ct.ijk_to_ras)


def _closed_into(outside_mm: Array, parts: Array, number: int, box: tuple[slice, ...], spacing_mm: Array) -> None:
    """Lower ``outside_mm`` to the distance from one lung, its vessels and nodules counted in, around its box."""
    reach = np.ceil(CLOSED_MM / spacing_mm).astype(int) + 1
    wide = tuple(
        slice(max(0, one.start - n), min(size, one.stop + n))
        for one, n, size in zip(box, reach, parts.shape, strict=True)
    )
    # Lung that the scan cuts off goes on beyond its edge: otherwise what lies beside it there would be closed over.
    beyond = [
        (n - (one.start - part.start), n - (part.stop - one.stop))
        for one, part, n in zip(box, wide, reach, strict=True)
    ]
    from_lung_mm = _distance_mm(np.pad(parts[wide] == number, beyond, "edge"), spacing_mm)
    # A ball that reaches so far from its middle without touching lung comes to within 0 mm of this; where none does,
    # it is a vessel or a nodule.
    to_ball_mm = _distance_mm(from_lung_mm > CLOSED_MM, spacing_mm)
    inner = tuple(slice(before, size - after) for (before, after), size in zip(beyond, to_ball_mm.shape, strict=True))
    outside_mm[wide] = np.minimum(outside_mm[wide], np.maximum(CLOSED_MM - to_ball_mm[inner], 0))


def _emphysema(dark: Array, lung: Array, spacing_mm: Array) -> Array:
    """The parts of what is dark that lie in lung, as emphysema does; windpipe, bowel and stomach lie in tissue."""
    parts, count = ndimage.label(_eroded(dark, THIN_MM, spacing_mm))
    grown = ndimage.maximum_filter(parts, _box(2 * THIN_MM, spacing_mm))
    around = np.bincount(grown[~dark], minlength=count + 1)
    of_lung = np.bincount(grown[lung], minlength=count + 1) / np.maximum(around, 1)
    of_lung[0] = 0
    return np.asarray(dark & (of_lung > IN_LUNG)[grown])


def _eroded(mask: Array, by_mm: float, spacing_mm: Array) -> Array:
    return np.asarray(ndimage.minimum_filter(mask, _box(by_mm, spacing_mm)))


def _box(half_mm: float, spacing_mm: Array) -> Array:
    """Sides (voxels, odd) of a box that reaches about so far from its middle."""
    return 2 * np.maximum(np.round(half_mm / spacing_mm), 1).astype(int) + 1


def _large(mask: Array, share: float) -> Array:
    """The connected parts of a mask that are not smaller than this share of the largest."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = sizes >= max(share * sizes.max(), 1)
    return np.asarray(keep[parts])


def _mostly(mask: Array, within: Array) -> Array:
    """The connected parts of a mask of which at least half lies within another mask."""
    parts, _ = ndimage.label(mask)
    share = np.bincount(parts[within], minlength=parts.max() + 1) / np.bincount(parts.ravel())
    share[0] = 0
    return np.asarray((share >= 0.5)[parts])


def _between(mask: Array, axis: int) -> Array:
    """What has the mask on both sides along an axis."""
    before = np.maximum.accumulate(mask, axis)
    after = np.flip(np.maximum.accumulate(np.flip(mask, axis), axis), axis)
    return np.asarray(before & after)


def _holes(mask: Array) -> Array:
    """What a mask encloses on all sides."""
    parts, count = ndimage.label(~mask)
    ends = [parts.take(end, axis) for axis in range(3) for end in (0, -1)]
    enclosed = np.ones(count + 1, bool)
    enclosed[np.concatenate([end.ravel() for end in ends])] = False
    enclosed[0] = False
    return np.asarray(enclosed[parts])


def _distance_mm(mask: Array, spacing_mm: Array) -> Array:
    """From each voxel to the nearest one of a mask, mm."""
    # SimpleITK's is several times faster than SciPy's.
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1].tolist())
    return np.maximum(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, False, False, True)), 0)
