"""Nodules as a grader reads them: in training turned, shifted, zoomed, thinned and noisy, otherwise as they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from NoduleRiskLib.imaging.calcium_features import calcium_features
from NoduleRiskLib.imaging.outline import INSIDE
from NoduleRiskLib.imaging.shape_features import shape_features
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.surface_features import surface_features
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
    turned, mirrored, shifted, zoomed, thinned, its end slices dropped now and then, its slices laid between the
    scan's own, noisy. Each nodule has random numbers of its own, whatever the others are. Without: the first found
    outline, as in use.
    """
    count = len(nodules)
    zoom, places, slices, offsets = np.ones(count), np.zeros((count, 2, 3)), [], []
    own = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=count)]
    for n, (part, index) in enumerate(nodules):
        source, rng = parts[part], own[n]
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
        cut = np.stack([source.pixels[here][holds], outline[holds]], 1)
        offset = source.offset_mm[here].astype(np.float64)
        offset = (offset[holds] - offset[z].mean()) * zoom[n]
        if turned:
            offset = offset * rng.choice((-1, 1)) + rng.normal() * SHIFT_MM
            if rng.random() < 0.25:
                at = other_slices(offset, rng)[: layout.slices]
                cut, offset = between_slices(cut, at), between_slices(offset, at)
        slices.append(cut)
        offsets.append(offset)
    counts = np.array([len(offset) for offset in offsets])
    owner = np.repeat(np.arange(count), counts)
    windows = _windows(np.concatenate(slices), places[owner], layout)
    if turned:
        for n, rng in enumerate(own):
            seen = windows[owner == n, 0]
            seen += rng.normal() * 15
            if rng.random() < 0.3:
                seen += torch.as_tensor(rng.uniform(5, 40) * rng.standard_normal(seen.shape, dtype=np.float32))
            windows[owner == n, 0] = seen
    valid = torch.as_tensor(np.arange(counts.max()) < counts[:, None])
    pixels = torch.zeros(*valid.shape, *windows.shape[2:])
    outlined, offset_mm = pixels.clone(), torch.zeros(valid.shape)
    pixels[valid], outlined[valid] = windows[:, 0], windows[:, 1]
    offset_mm[valid] = torch.as_tensor(np.concatenate(offsets)).float()
    ends = np.cumsum(counts)[:-1]
    outlines = np.split(windows[:, 1].numpy(), ends)
    cuts = list(zip(np.split(windows[:, 0].numpy(), ends), outlines, offsets, strict=True))
    shape = [shape_features(outline, offset, layout.pixel_mm) for _, outline, offset in cuts]
    # What is trained does not read them.
    surface, calcium = (
        [np.zeros(0, np.float32) if turned else measure(*one, layout.pixel_mm) for one in cuts]
        for measure in (surface_features, calcium_features)
    )
    plane = torch.zeros(valid.shape, dtype=torch.int64)
    features = [torch.as_tensor(np.stack(one)) for one in (shape, surface, calcium)]
    return Batch(pixels, outlined, offset_mm, plane, valid, *features), zoom


def as_in_use(
    parts: Sequence[FoundOutlines], nodules: Sequence[tuple[int, int]], layout: Layout, size: int = 32
) -> Iterator[Batch]:
    """Nodules, given as ``compose`` takes them, unturned: batches of at most ``size``, in their order."""
    for begin in range(0, len(nodules), size):
        # Nothing is drawn for what is not turned.
        yield compose(parts, nodules[begin : begin + size], np.random.default_rng(0), False, layout)[0]


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


def other_slices(offset_mm: Array, rng: np.random.Generator) -> Array:
    """Where a reformatted scan could have its slices: at these places among the scan's own (0: its first), (m,).

    They lie as far apart as the scan's own, or closer, down to 1 mm.
    """
    last = len(offset_mm) - 1
    step_mm = abs(offset_mm[-1] - offset_mm[0]) / last if last else 1.0
    step = rng.uniform(min(1.0, 1.0 / step_mm), 1.0)
    # A nodule's only slice stays.
    return np.arange(min(rng.uniform(0, step), last), last + 1e-6, step)


def between_slices(values: Array, at: Array) -> Array:
    """Values (n, ...) of slices at places between them (m,), linear: (m, ...)."""
    low = np.minimum(at.astype(int), max(len(values) - 2, 0))
    part = (at - low).reshape(-1, *[1] * (values.ndim - 1)).astype(np.result_type(values, np.float32))
    return np.asarray((1 - part) * values[low] + part * values[np.minimum(low + 1, len(values) - 1)])


def _thinned(holds: Array, rng: np.random.Generator) -> Array:
    # As many random numbers for few slices as for many.
    begin, (thin, first, last) = int(rng.integers(2)), rng.random(3)
    if len(holds) >= 4 and thin < 0.25:
        holds = holds[begin::2]
    if len(holds) >= 3 and first < 0.15:
        holds = holds[1:]
    if len(holds) >= 3 and last < 0.15:
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
