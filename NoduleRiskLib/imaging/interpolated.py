"""CTs whose slices were interpolated from thicker ones: what is drawn between two slices is a mixture of both."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from .slice_stack import Layout
from .volume import Volume

#: So many slices in the middle of the CT are looked at, and each ``EVERY``-th of their rows and columns.
SLICES, EVERY = 120, 8
#: Where the slices before and after a slice differ by more than this (HU), there is something to see.
DIFFERS_HU = 20.0
#: A pixel lies on the line between both if it is closer than this (HU): rounding to whole HU moves it by up to 1.
ON_LINE_HU = 1.25
#: In a scanner's own slices noise keeps all but one pixel in ten off that line; in interpolated ones hardly any.
STRAIGHT = 0.8
#: Interpolated twice as finely or more, at least every fifth slice lies between the same two: half of that is enough.
SHARE = 0.1
#: Pixels, and slices, that must be there to be judged by.
FEW_PIXELS, FEW_SLICES = 30, 5
#: Interpolated slices this far apart, mm, are graded. Closer ones pass for a blurred margin (training/RESULTS.md).
APART_MM = 2.0

_SEEN: WeakKeyDictionary[Volume, bool] = WeakKeyDictionary()


def is_interpolated(volume: Volume) -> bool:
    """Whether slices were interpolated linearly, twice as finely as they were reconstructed or more.

    Cubic or less than twofold interpolation is not found.
    """
    if volume not in _SEEN:
        _SEEN[volume] = _straight_share(volume) >= SHARE
    return _SEEN[volume]


def graded_layout(layout: Layout, volume: Volume) -> Layout:
    """Which slices of this CT are graded: those of ``layout``, but interpolated ones at least ``APART_MM`` apart."""
    if layout.min_step_mm < APART_MM and is_interpolated(volume):
        return replace(layout, min_step_mm=APART_MM)
    return layout


def _straight_share(volume: Volume) -> float:
    """The share of slices that lie on the line between the one before and the one after."""
    along = 2 - int(np.abs(volume.ijk_to_ras[2, :3]).argmax())
    slices = np.moveaxis(volume.array, along, 0)
    first = max(0, (len(slices) - SLICES) // 2)
    some = slices[first : first + SLICES, ::EVERY, ::EVERY].astype(np.float32)
    if len(some) < FEW_SLICES:
        return 0.0
    before, own, after = some[:-2], some[1:-1], some[2:]
    differs = np.abs(after - before) > DIFFERS_HU
    on_line = differs & (np.abs(own - (before + after) / 2) <= ON_LINE_HU)
    seen, straight = (np.count_nonzero(one, axis=(1, 2)) for one in (differs, on_line))
    known = seen >= FEW_PIXELS
    return float((straight[known] > STRAIGHT * seen[known]).mean()) if known.sum() >= FEW_SLICES - 2 else 0.0
