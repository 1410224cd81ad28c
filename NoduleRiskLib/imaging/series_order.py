"""Whether neighbouring slices show one chest: two scans whose slices were mixed, and slices that hold nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NoduleRiskError

Array = NDArray[Any]

#: How much a slice differs from the next but one, beside the next: 1.4 to 1.7 times in whole CTs of LIDC-IDRI, equally
#: in pure noise. Less than the first over a run of slices: two scans, one displaced by two slices or more. Less than
#: the second for a single slice: it is of another scan, scale or body.
TWO_SCANS, FOREIGN = 0.85, 0.6
#: The same for slices no further apart than the pixels within them, as in a reformatted CT: neighbouring pixels of a
#: sharp reconstruction have opposite noise (0.72 times over a run in LIDC-IDRI's crops, 0.61 at single slices).
TWO_FINE_SCANS, FINE_FOREIGN = 0.6, 0.45
#: If acquisition numbers alternate, means over more pixels are compared, in which noise counts less: 1.5 to 1.8 times
#: in one scan, 1.0 to 1.3 times where the second is displaced by one slice.
TWO_NUMBERED_SCANS = 1.3
#: An acquisition's next slice is looked for among so many.
REACH = 6
#: The ratio must stay low over so many slices.
RUN = 6
#: Smaller slices than this, in means of a few pixels, tell noise only.
FEW_PIXELS = 144
#: Rows of one value, as share of all: so many more than in both neighbours were never transferred.
EMPTY_PART = 0.2
#: A scan of which so many rows hold one value is painted, or masked: nothing can be said.
PAINTED = 0.5
#: Air around the body, and what masked scans have there, is darker.
AIR_HU = -950
#: Neighbours of a chest differ by tens of HU on average.
SAME_HU = 1.0
#: How many slices a sentence names.
NAMED = 5


def refuse_mixed_scans(
    name: str,
    array: Array,
    slice_names: Sequence[str],
    acquisitions: Sequence[tuple[str, ...]] = (),
    fine: bool = False,
) -> None:
    """Refuse slices of two scans, one between the other's, and a single slice that is of another scan or scale.

    In one scan a slice differs from the next but one more than from the next.

    Parameters
    ----------
    name : str
        What the sentence calls the CT.
    array : ndarray, shape (K, J, I)
        int16 HU, slices in their order along the body.
    slice_names : sequence of str
        K names.
    acquisitions : sequence of tuple of str, optional
        What tells the acquisitions of the K slices apart, best first: AcquisitionNumber, AcquisitionTime. Alone it
        proves nothing: some scanners number every rotation.
    fine : bool
        Whether slices are no further apart than the pixels within them.

    Raises
    ------
    NoduleRiskError
    """
    two_scans, foreign = (TWO_FINE_SCANS, FINE_FOREIGN) if fine else (TWO_SCANS, FOREIGN)
    small = _small(array)
    coarse = _means(small, 4, 4)
    ratios = np.array([_ratio(small, k, k + 2) for k in range(len(small) - 2)])
    if small[0].size < FEW_PIXELS:
        ratios[:] = np.inf
    mixed = min((np.median(ratios[k : k + RUN]) for k in range(len(ratios) - RUN + 1)), default=np.inf) < two_scans
    for names in zip(*acquisitions, strict=True):
        pairs = _pairs(names)
        mixed |= len(pairs) >= 3 and np.median([_ratio(coarse, *pair) for pair in pairs]) < TWO_NUMBERED_SCANS
    if mixed:
        raise NoduleRiskError(
            f"{name} holds two scans, mixed slice by slice (a slice resembles the next but one more than the next): "
            "export each acquisition as a series of its own and choose one."
        )
    odd = (np.flatnonzero(ratios < foreign) + 1).tolist()
    # Without noise, a small thing that only one slice shows is all by which its slices differ.
    if odd and not _painted(small):
        raise NoduleRiskError(
            f"{name} has slices that do not fit between their neighbours, which resemble each other "
            f"({_named(slice_names, odd)}): they are of another scan, lost their rescale intercept or are damaged; "
            "export the series again."
        )


def acquisitions_alternate(acquisitions: Sequence[tuple[str, ...]]) -> bool:
    """Whether slices of one acquisition lie between slices of another, by what their headers say."""
    return any(len(_pairs(names)) >= 3 for names in zip(*acquisitions, strict=True))


def check_slices(name: str, array: Array, slice_names: Sequence[str]) -> tuple[str, ...]:
    """Refuse or name slices that hold nothing: a transfer or a program that failed.

    Parameters
    ----------
    name : str
        What the sentences call the CT.
    array : ndarray, shape (K, J, I)
    slice_names : sequence of str
        K names.

    Returns
    -------
    tuple of str
        Warnings: slices of one value before the first or after the last image, and slices of which a part is missing.

    Raises
    ------
    NoduleRiskError
        If slices of one value lie between others.
    """
    same = array.min(axis=2) == array.max(axis=2)
    # Most slices have not even one such row.
    empty = np.array([rows.all() and one.min() == one.max() for rows, one in zip(same, array, strict=True)])
    share = same.mean(axis=1)
    if empty.all() or np.median(share[~empty]) > PAINTED:
        return ()
    images = np.flatnonzero(~empty)
    between = [k for k in np.flatnonzero(empty).tolist() if images[0] < k < images[-1]]
    if between:
        raise NoduleRiskError(
            f"{name} has slices that hold one value only ({_named(slice_names, between)}): they were lost when the CT "
            "was copied or exported; do that again."
        )
    found = []
    if empty.any():
        found.append(
            f"Slices at the end of the CT hold one value only ({_named(slice_names, np.flatnonzero(empty).tolist())}): "
            "the CT ends before them."
        )
    # The outermost slices have no neighbour to be compared with on one side.
    parts = [
        k for k in images.tolist() if 0 < k < len(array) - 1 and share[k] > max(share[k - 1], share[k + 1]) + EMPTY_PART
    ]
    if parts:
        found.append(
            f"A part of some slices holds one value only, unlike their neighbours ({_named(slice_names, parts)}): it "
            "may have been lost when the CT was copied, and grades near it may be wrong."
        )
    return tuple(found)


def _named(names: Sequence[str], which: Sequence[int]) -> str:
    return ", ".join(names[k] for k in which[:NAMED]) + (f" and {len(which) - NAMED} more" * (len(which) > NAMED))


def _pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Each slice with the next one of its acquisition, where slices of another lie between them."""
    found = []
    for k, name in enumerate(names):
        own = [m for m in range(k + 1, min(k + REACH, len(names))) if names[m] == name]
        if name and own and own[0] > k + 1:
            found.append((k, own[0]))
    return found


def _small(array: Array) -> Array:
    """About 64 rows and 128 columns of each slice, float32; columns are means, in which noise counts less."""
    rows, columns = array.shape[1:]
    # Beyond lung and tissue, differences (of bone, of padding) would weigh too much.
    some = np.clip(array[:, :: max(1, rows // 64)], -1000, 200)
    return _means(some, 1, max(1, columns // 128))


def _means(array: Array, rows: int, columns: int) -> Array:
    """Means of so many rows and columns within each slice; what is left over at the ends is left out."""
    rows, columns = min(rows, array.shape[1]), min(columns, array.shape[2])
    whole = array[:, : array.shape[1] // rows * rows, : array.shape[2] // columns * columns]
    blocks = whole.reshape(len(whole), whole.shape[1] // rows, rows, whole.shape[2] // columns, columns)
    return blocks.mean((2, 4), dtype=np.float32)


def _painted(small: Array) -> bool:
    """Whether most of what is not air has exactly the value of the next slice: no scanner gives that."""
    alike = []
    for one, other in pairwise(small):
        inside = (one > AIR_HU) | (other > AIR_HU)
        if inside.any():
            alike.append((one == other)[inside].mean())
    return bool(alike) and float(np.median(alike)) > PAINTED


def _ratio(small: Array, k: int, own: int) -> float:
    """How much slices ``k`` and ``own`` differ, beside the neighbours between them."""
    steps = np.mean([np.abs(small[n + 1] - small[n]).mean() for n in range(k, own)])
    # Slices that are the same (of a painted scan, beyond the body) tell nothing.
    return float(np.abs(small[own] - small[k]).mean() / steps) if steps > SAME_HU else np.inf
