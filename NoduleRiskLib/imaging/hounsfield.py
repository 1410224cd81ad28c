"""Whether voxels are Hounsfield units: where their histogram has air, lung and tissue, and whether it was cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NoduleRiskError

Array = NDArray[Any]

#: The window in which lungs are shown: width 1500, centre -600.
LUNG_WINDOW_HU = (-1350.0, 150.0)
#: Where a chest CT has air and lung, what lies between lung and fat, and fat, muscle and enhanced blood (HU).
DARK_HU, BETWEEN_HU, SOFT_HU = (-1150, -500), (-650, -250), (-200, 300)
#: What lies beyond holds only noise on the dark side, only metal on the bright one.
POSSIBLE_HU = (-1300, 3300)
#: Most tissue is darker than bone; half of what is air or lung is brighter than this.
BONE_HU, DARKEST_HU = 500, -1050
#: Where there is hardly any soft tissue, half of what is dark is lung, and lung is brighter than this.
AIR_ONLY_HU = -955
#: Darker than this is no air, however much noise lies over it.
NO_AIR_HU = -1600
#: Soft tissue that looks brighter than this: the values are doubtful.
BRIGHT_TISSUE_HU = 200
#: A CT keeps 12 bits, up to 3071 HU; one that ends below this was cut off at the end of a display window.
WINDOW_END_HU = 2000
#: A single value is padding if this share of the voxels has it, and more than the twenty values around it together.
PADDING_SHARE = 0.005
#: Values were cut off where so many voxels have the last one, and so many times more than each of the ten beside it.
CUT_VOXELS, CUT_PEAK = 20, 10
#: Too few voxels to judge by; three values that nearly all of them have (a painted scan).
FEW_VOXELS, PAINTED = 1000, 0.9
#: A histogram needs no more voxels than this.
ENOUGH_VOXELS = 2_000_000
_ZERO = 32768


def check_hounsfield(name: str, array: Array) -> tuple[str, ...]:
    """Refuse voxels that are surely no HU; say what is doubtful about others.

    The rules were tried on four whole CTs of LIDC-IDRI, on 120 cubes of 51 mm and 1,128 crops of five slices or more
    around its nodules: none is refused, none but the cubes (which were cut at 400 HU) is said to be cut off.

    Parameters
    ----------
    name : str
        What the sentences call the CT.
    array : ndarray, shape (K, J, I)
        int16.

    Returns
    -------
    tuple of str
        Warnings, one sentence each.

    Raises
    ------
    NoduleRiskError
        If air, lung and soft tissue do not lie where HU put them.
    """
    counts = _without_padding(_counts(array))
    if counts.sum() < FEW_VOXELS or np.sort(counts)[-3:].sum() > PAINTED * counts.sum():
        return ()
    why = _why_not_hu(counts)
    if why:
        raise NoduleRiskError(
            f"{name} has values that are not the HU of a chest ({why}): choose a CT, with its rescale slope and "
            "intercept applied once."
        )
    return _doubts(counts) + _cut_off(array, counts)


def _counts(array: Array) -> Array:
    """How many voxels have each value from -32768 on, shape (65536,)."""
    every = max(1, round(float(np.sqrt(array.size / ENOUGH_VOXELS))))
    some = np.ascontiguousarray(array[:, ::every, ::every])
    return np.bincount(some.view(np.uint16).ravel() ^ np.uint16(_ZERO), minlength=2 * _ZERO)


def _without_padding(counts: Array) -> Array:
    """The histogram without values of -1000 and darker that stand out: what scanners and programs fill up with."""
    counts = counts.copy()
    for value in np.flatnonzero(counts[: _ZERO - 999] > max(PADDING_SHARE * counts.sum(), 50)):
        # Ten neighbours on either side.
        if counts[value] > counts[max(value - 10, 0) : value + 11].sum() - counts[value]:
            counts[value] = 0
    return counts


def _share(counts: Array, low: int, high: int) -> float:
    return float(counts[low + _ZERO : high + _ZERO + 1].sum() / counts.sum())


def _why_not_hu(counts: Array) -> str:
    """Why these are no HU, in a few words; "" if they can be."""
    dark, between, soft = (_share(counts, *hu) for hu in (DARK_HU, BETWEEN_HU, SOFT_HU))
    impossible = _share(counts, -_ZERO, POSSIBLE_HU[0]) + _share(counts, POSSIBLE_HU[1], _ZERO - 1)
    bone = _share(counts, BONE_HU, _ZERO - 1)
    total = np.cumsum(counts[NO_AIR_HU + _ZERO : DARK_HU[1] + _ZERO])
    half_dark = int(np.searchsorted(total, total[-1] / 2)) + NO_AIR_HU
    if dark < 0.005:
        return "none is that of air or lung, -1000 to -500; stored values without their rescale intercept look so"
    if half_dark < (AIR_ONLY_HU if soft < 0.02 else DARKEST_HU):
        return "nearly all are as dark as air or darker; an intercept that was applied twice looks so"
    if soft < 0.02 and _share(counts, -_ZERO, NO_AIR_HU) > 0.01:
        return "air and lung are darker than -1000; an intercept that was applied twice looks so"
    if impossible > max(0.15, dark + soft):
        return "most are darker than air or brighter than bone"
    if bone > max(0.1, soft):
        return "most tissue is brighter than 500, as bone; a rescale slope that was not applied looks so"
    if between > max(0.2, 3 * soft):
        return "most tissue lies between -650 and -250, where little does; a slope that was not applied looks so"
    if soft < 0.001:
        return "there is no soft tissue, -200 to 300"
    return ""


def _doubts(counts: Array) -> tuple[str, ...]:
    """Whether soft tissue is brighter than it should be; the last value does not count, where others were cut off."""
    low, high = -250, min(1500, int(np.flatnonzero(counts)[-1]) - _ZERO - 1)
    # Means over 61 HU, weighted to their middle.
    window = np.convolve(np.ones(31), np.ones(31))
    smooth = np.convolve(counts[low + _ZERO - 30 : high + _ZERO + 31], window, "valid") if high > low else counts[:1]
    tissue = low + int(np.argmax(smooth))
    if tissue <= BRIGHT_TISSUE_HU:
        return ()
    return (
        f"Most tissue is near {tissue} HU, where soft tissue should be near 40: the values may not be HU, and size and "
        "grades may be wrong.",
    )


def _cut_off(array: Array, counts: Array) -> tuple[str, ...]:
    """Whether values beyond a display window were set to its ends."""
    found = []
    # Padding is darker than what may be cut off.
    low, high = int(np.flatnonzero(counts)[0]) - _ZERO, int(array.max())
    if high < WINDOW_END_HU:
        at_end, beside = np.sum(array == high), np.sum((array >= high - 10) & (array < high)) / 10
        if at_end >= CUT_VOXELS and at_end > CUT_PEAK * beside:
            found.append(
                f"All values above {high} HU are cut off: calcium and other dense parts cannot be seen, and grades of "
                "calcification and malignancy may be wrong."
            )
    if low > -900:
        at_end, beside = np.sum(array == low), np.sum((array <= low + 10) & (array > low)) / 10
        if at_end >= CUT_VOXELS and at_end > CUT_PEAK * beside:
            found.append(f"All values below {low} HU are cut off: lung and ground glass look denser than they are.")
    return tuple(found)
