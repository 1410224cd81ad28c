"""Radiomics features of a crop: fifty measures of HU, size, shape, edge and texture, without any network.

No reader's outline is used: the nodule is what is dense and connected around the centre.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import ndimage

from NoduleRiskLib.imaging.outline import axes_mm
from NoduleRiskLib.imaging.resampling import sample
from NoduleRiskLib.imaging.volume import Array, Volume

#: The cube around the centre that is measured: voxels of this size, this far to each side. No nodule of LIDC is larger.
STEP_MM, REACH_MM = 0.75, 21.0
#: Soft tissue, and ground glass with it, are brighter.
SOLID_HU, HAZY_HU = -350, -650
#: Brighter than soft tissue: calcium.
BRIGHT_HU = (100, 200, 300)
SHELLS_MM = (0, 2, 4, 6, 8, 11, 15, 20)
#: What vessels and the chest wall are cut off with: an opening by a ball of this radius.
OPENING_MM = 1.5
#: A nodule ends at the distance from which on fewer than this share of voxels are dense; its lobes may reach further.
THINNED, BEYOND = 0.35, 1.7


def describe(volume: Volume) -> dict[str, float]:
    """Fifty measures around the origin of RAS: HU by distance, size, shape, edge and HU of what is dense there.

    Lengths in mm, HU as they are; NaN where the crop does not reach or nothing is dense.
    """
    side = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)
    places = np.stack(np.meshgrid(side, side, side, indexing="ij")[::-1], -1)
    hu = sample(volume, places, outside=np.nan)
    distance = np.linalg.norm(places, axis=-1)
    known = np.isfinite(hu)
    values: dict[str, float] = {}
    for low, high in pairwise(SHELLS_MM):
        shell = hu[known & (distance >= low) & (distance < high)]
        values |= {f"mean_{low}": _or_nan(np.mean, shell), f"spread_{low}": _or_nan(np.std, shell)}
    air = np.where(known, hu, -1000).astype(np.float32)
    solid, hazy = (central(air > level, distance) for level in (SOLID_HU, HAZY_HU))
    for name, inside in (("solid", solid), ("hazy", hazy)):
        values |= {f"{name}_{key}": value for key, value in _form(inside).items()}
    return values | _texture(air, known, hazy)


def central(dense: Array, distance: Array) -> Array:
    """The part of ``dense`` (bool, voxels of ``STEP_MM``) around the centre, cut off from vessels and chest wall.

    Cut twice: by an opening, and where the nodule ends all around (``THINNED``) by a ball somewhat larger than that.
    """
    bins = (distance / STEP_MM).astype(int)
    share = np.bincount(bins.ravel(), dense.ravel()) / np.maximum(np.bincount(bins.ravel()), 1)
    thin = np.flatnonzero(share[1:] < THINNED)
    ends_mm = (thin[0] + 1 if len(thin) else len(share)) * STEP_MM
    near_by = dense & (distance <= BEYOND * ends_mm + STEP_MM)
    ball = np.arange(-2, 3) * STEP_MM
    ball = np.sqrt(ball[:, None, None] ** 2 + ball[:, None] ** 2 + ball**2) <= OPENING_MM
    for part in (ndimage.binary_opening(near_by, ball), near_by):
        number, count = ndimage.label(part)
        if count:
            middle = np.unravel_index(np.argmin(np.where(part, distance, np.inf)), part.shape)
            return np.asarray(number == number[middle])
    return np.zeros_like(dense)


def _form(inside: Array) -> dict[str, float]:
    """Size and shape of a region of voxels of ``STEP_MM``."""
    names = ("volume", "ball", "wide", "deep", "long", "short", "elongation", "flatness", "compact", "filled", "smooth")
    if not inside.any():
        return dict.fromkeys(names, np.nan)
    volume = float(inside.sum()) * STEP_MM**3
    spans = [float(np.ptp(axis) + 1) * STEP_MM for axis in np.nonzero(inside)]
    centred = np.argwhere(inside) * STEP_MM
    spread = (
        np.sqrt(np.linalg.eigvalsh(np.cov(centred.T) + np.eye(3) * STEP_MM**2 / 12)) if len(centred) > 1 else [1] * 3
    )
    surface = sum(float(np.abs(np.diff(np.pad(inside, 1).astype(np.int8), axis=axis)).sum()) for axis in range(3))
    largest = inside[np.argmax(inside.sum((1, 2)))]
    long_axis, short_axis = axes_mm(largest.astype(float), STEP_MM)
    blurred = ndimage.gaussian_filter(inside.astype(np.float32), 1.5) > 0.5
    return dict(
        zip(
            names,
            (
                volume,
                (6 * volume / np.pi) ** (1 / 3),
                max(spans[1:]),
                spans[0],
                long_axis,
                short_axis,
                float(spread[0] / spread[2]),
                float(spread[0] / spread[1]),
                # A ball's is largest (counted on a grid, whose faces overstate every surface alike).
                36 * np.pi * volume**2 / (surface * STEP_MM**2) ** 3,
                float(inside.sum() / np.prod(np.array(spans) / STEP_MM)),
                float((inside & blurred).sum() / (inside | blurred).sum()),
            ),
            strict=True,
        )
    )


def _texture(hu: Array, known: Array, inside: Array) -> dict[str, float]:
    """HU inside a region, at its edge and just outside of it."""
    steep = ndimage.gaussian_gradient_magnitude(hu, 1.0) / STEP_MM
    core = ndimage.binary_erosion(inside, iterations=1)
    grown = ndimage.binary_dilation(inside, iterations=1)
    edge, outside = grown & ~core & known, ndimage.binary_dilation(grown, iterations=3) & ~grown & known
    own, inner = hu[inside], hu[core]
    levels = np.percentile(own, (5, 25, 50, 75, 95)) if len(own) else [np.nan] * 5
    values = {f"hu_{percent}": float(level) for percent, level in zip((5, 25, 50, 75, 95), levels, strict=True)}
    values |= {f"above_{level}": _or_nan(np.mean, own > level) for level in (SOLID_HU, *BRIGHT_HU)}
    return values | {
        "hu_spread": _or_nan(np.std, inner),
        "hu_most": _or_nan(np.max, ndimage.uniform_filter(hu, 3)[inside]),
        "edge": _or_nan(np.mean, steep[edge]),
        "edge_spread": _or_nan(np.std, steep[edge]),
        "beside": _or_nan(np.mean, hu[outside]),
        "beside_spread": _or_nan(np.std, hu[outside]),
    }


def _or_nan(measure: Callable[[Array], Any], values: Array) -> float:
    return float(measure(values)) if len(values) else float("nan")
