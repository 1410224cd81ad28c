"""Nodules as a grader reads them: in training turned, shifted, zoomed, thinned and noisy, otherwise as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from NoduleRiskLib.imaging.outline import INSIDE
from NoduleRiskLib.imaging.shape_features import shape_features
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.nodule_vit import Batch

from .crops import WIDE
from .found_outlines import TRIES, FoundOutlines

#: How far the middle of an outline may lie from the nodule's: standard deviation along each axis.
SHIFT_MM = 0.56


def compose(
    parts: Sequence[FoundOutlines],
    nodules: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    turned: bool,
    layout: Layout,
) -> tuple[Batch, Array]:
    """A batch of nodules, given as (which of ``parts``, which row), and each one's zoom (shape (B,)).

    ``layout`` gives the rows and columns of a slice and the distance of its pixels; slices are the scan's own.

    With ``turned``: each with an outline of its own choosing (readers' share, one reader, one of the found ones),
    turned, mirrored, shifted, zoomed, thinned, its end slices dropped now and then, noisy. Without: the
    first found outline, as in use.
    """
    count = len(nodules)
    zoom, places, slices, offsets = np.ones(count), np.zeros((count, 2, 3)), [], []
    for n, (part, index) in enumerate(nodules):
        source = parts[part]
        here = slice(int(source.first[index]), int(source.first[index + 1]))
        outline = _outline(source, here, rng if turned else None)
        inside = outline > INSIDE
        holds = np.flatnonzero(inside.any((1, 2)))
        # No more than the layout has places for: the middle ones, as ``mosaic.cut`` does.
        holds = holds[max(0, (len(holds) - layout.slices) // 2) :][: layout.slices]
        if turned:
            holds = _thinned(holds, rng)
            zoom[n] = math.exp(rng.normal() * 0.08) if rng.random() < 0.5 else 1.0
        z, rows, columns = np.nonzero(inside)
        middle = np.array([columns.mean(), rows.mean()]) - (WIDE.pixels - 1) / 2
        places[n] = _affine(middle, zoom[n], rng if turned else None)
        slices.append(np.stack([source.pixels[here][holds], outline[holds]], 1))
        offset = source.offset_mm[here].astype(np.float64)
        offset = (offset[holds] - offset[z].mean()) * zoom[n]
        if turned:
            offset = offset * rng.choice((-1, 1)) + rng.normal() * SHIFT_MM
        offsets.append(offset)
    counts = np.array([len(offset) for offset in offsets])
    owner = np.repeat(np.arange(count), counts)
    windows = _windows(np.concatenate(slices), places[owner], layout)
    if turned:
        _blur(windows, owner, np.where((rng.random(count) < 0.2) & (counts > 2), rng.uniform(0.2, 0.5, count), 0))
        windows[:, 0] += torch.as_tensor(rng.normal(size=count)[owner] * 15).float()[:, None, None]
        grain = np.where(rng.random(count) < 0.3, rng.uniform(5, 40, count), 0)[owner].astype(np.float32)
        noisy = np.flatnonzero(grain)
        noise = rng.standard_normal((len(noisy), *windows.shape[2:]), dtype=np.float32) * grain[noisy, None, None]
        windows[noisy, 0] += torch.as_tensor(noise)
    valid = torch.as_tensor(np.arange(counts.max()) < counts[:, None])
    pixels = torch.zeros(*valid.shape, *windows.shape[2:])
    outlined, offset_mm = pixels.clone(), torch.zeros(valid.shape)
    pixels[valid], outlined[valid] = windows[:, 0], windows[:, 1]
    offset_mm[valid] = torch.as_tensor(np.concatenate(offsets)).float()
    ends = np.cumsum(counts)[:-1]
    outlines = np.split(windows[:, 1].numpy(), ends)
    measured = [shape_features(one, offset, layout.pixel_mm) for one, offset in zip(outlines, offsets, strict=True)]
    plane = torch.zeros(valid.shape, dtype=torch.int64)
    return Batch(pixels, outlined, offset_mm, plane, valid, torch.as_tensor(np.stack(measured))), zoom


def _outline(source: FoundOutlines, here: slice, rng: np.random.Generator | None) -> Array:
    """One outline (float32, 0 to 1, shape (n, 96, 96)) that holds at least one pixel."""
    share, found = source.share[here], source.found[here]
    drawn = np.flatnonzero(share.any((0, 2, 3)))
    kind = 0.0 if rng is None else rng.random()
    if kind < 0.45 or rng is None:
        chosen = found[:, 0 if rng is None else int(rng.integers(TRIES))].astype(np.float32) / 255
    elif kind < 0.6:
        chosen = share[:, int(rng.choice(drawn))].astype(np.float32) / 255
    else:
        chosen = share.sum(1, dtype=np.float32) / (255 * len(drawn))
        if kind < 0.8:
            # As sure of more or of less than the readers were.
            chosen = np.clip(chosen + rng.uniform(-0.35, 0.35) * (chosen > 0), 0, 1)
    if (chosen > INSIDE).any():
        return chosen
    mean = share.sum(1, dtype=np.float32) / (255 * len(drawn))
    most = share.max(1).astype(np.float32) / 255
    for outline in (mean, most):
        if (outline > INSIDE).any():
            return outline
    return np.asarray(mean / mean.max())


def _thinned(holds: Array, rng: np.random.Generator) -> Array:
    if len(holds) >= 4 and rng.random() < 0.25:
        holds = holds[int(rng.integers(2)) :: 2]
    if len(holds) >= 3 and rng.random() < 0.15:
        holds = holds[1:]
    if len(holds) >= 3 and rng.random() < 0.15:
        holds = holds[:-1]
    return holds


def _affine(middle: Array, zoom: float, rng: np.random.Generator | None) -> Array:
    """From window to wide image, both (x, y) in wide pixels from their middle: shape (2, 3)."""
    if rng is None:
        return np.hstack([np.eye(2), middle[:, None]])
    exact = zoom == 1.0
    angle = rng.integers(4) * math.pi / 2 if exact else rng.uniform(0, 2 * math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / zoom
    turn[:, 0] *= 1 if rng.random() < 0.5 else -1
    shifted = middle + rng.normal(size=2) * SHIFT_MM / WIDE.pixel_mm
    # Whole pixels keep the image as sharp as it is in use.
    return np.hstack([turn, (np.round(shifted) if exact else shifted)[:, None]])


def _windows(slices: Array, places: Array, layout: Layout) -> Tensor:
    """(n, c, 96, 96) -> (n, c, h, w), each at its place (n, 2, 3), bilinear; beside the image its edge repeats."""
    at = (torch.arange(layout.pixels) - (layout.pixels - 1) / 2) * (layout.pixel_mm / WIDE.pixel_mm)
    x, y = torch.meshgrid(at, at, indexing="xy")
    grid = torch.einsum("hwx,nyx->nhwy", torch.stack([x, y, torch.ones_like(x)], -1), torch.as_tensor(places).float())
    wide = torch.as_tensor(slices).float()
    return nn.functional.grid_sample(wide, 2 * grid / WIDE.pixels, padding_mode="border", align_corners=False)


def _blur(windows: Tensor, owner: Array, share: Array) -> None:
    """Mix so much (shape (B,)) of its nodule's next slice into each, in place: as a reformatted scan does."""
    mixed = np.flatnonzero((owner[:-1] == owner[1:]) & (share[owner[:-1]] > 0))
    if len(mixed):
        part = torch.as_tensor(share[owner[mixed]]).float()[:, None, None, None]
        windows[mixed] = (1 - part) * windows[mixed] + part * windows[mixed + 1]
