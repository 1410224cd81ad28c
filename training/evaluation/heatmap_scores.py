"""Measurements of one nodule's heatmaps: deletion, insertion, pointing, sanity checks, and controls for them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from NoduleRiskLib.explain.pixel_attribution import as_lung, graded
from NoduleRiskLib.explain.slice_attribution import with_slices
from NoduleRiskLib.grades import GRADES
from NoduleRiskLib.imaging.resampling import paste, sample
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate

#: Side in pixels of the blocks that are filled with local lung, or kept while all else is.
BLOCK = 4
#: How much is filled or kept: blocks as shares of the nodule's own outlined area, slices as shares of their number.
AREAS = (0.25, 0.5, 1.0)
SLICES = (0.25, 0.5, 0.75)
#: How far (mm) beside the nodule the point is put for the pointing game.
BESIDE_MM = (8.0, 15.0)
#: On either side of the outline (mm): the rim.
RIM_MM = 2.0
#: The parts of a grader in the order in which their weights are shuffled, from the grades to the image.
CASCADE = (
    "heads",
    "vit.blocks",
    "vit.patch_embed.token",
    "vit.patch_embed.where",
    "vit.patch_embed.stages",
    "evidence",
)
NINE = len(GRADES)


def beside(stack: SliceStack, rng: np.random.Generator, tries: int = 200) -> Array | None:
    """An in-plane shift (RAS mm) that puts the point ``BESIDE_MM`` off, outside the outline, all of it in the field."""
    rows, columns = np.nonzero(_inside(stack).max(0))
    size, mm = stack.layout.pixels, stack.layout.pixel_mm
    for _ in range(tries):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(*BESIDE_MM)
        step = np.array([np.cos(angle), np.sin(angle)]) * far / mm
        # Columns run to the left, rows to the back: where the nodule goes when the point moves by the shift.
        c, r = columns + step[0], rows + step[1]
        if min(c.min(), r.min()) < 0 or max(c.max(), r.max()) > size - 1:
            continue
        if np.hypot(c - (size - 1) / 2, r - (size - 1) / 2).min() * mm > 1:
            return np.array([step[0] * mm, step[1] * mm, 0.0])
    return None


def blocks_of(values: Array) -> Array:
    """Mean of each block of each slice: (..., h, w) -> (..., h / BLOCK, w / BLOCK)."""
    *rest, h, w = values.shape
    return np.asarray(values.reshape(*rest, h // BLOCK, BLOCK, w // BLOCK, BLOCK).mean((-3, -1)))


@torch.no_grad()
def block_curves(grader: NoduleViT, stack: SliceStack, rankings: Array, outline: bool = True) -> Array:
    """How far the grades are from those of the whole nodule while blocks are removed, and while only they are kept.

    Parameters
    ----------
    grader : NoduleViT
    stack : SliceStack
    rankings : array, shape (R, N, h / BLOCK, w / BLOCK)
        The largest goes first; N valid slices.
    outline : bool
        Whether a filled block loses its outline, too.

    Returns
    -------
    ndarray, shape (R, 2, len(AREAS), 9)
        Deletion, then insertion; absolute change of each grade.
    """
    batch = collate([stack])
    seen, lung = grader.channels(batch), as_lung(grader, batch, outline)
    lung = lung.expand_as(seen)
    area = blocks_of(_inside(stack)).sum()
    ranks = np.argsort(np.argsort(-rankings.reshape(len(rankings), -1), 1, kind="stable"), 1)
    first = np.stack([ranks < max(round(share * area), 1) for share in AREAS], 1)
    gone = torch.from_numpy(np.stack([first, ~first], 1).reshape(-1, *rankings.shape[1:]))
    whole, empty = grader.embed(seen), grader.embed(lung)
    tokens = torch.where(gone.flatten(2).all(-1)[..., None], empty, whole)
    mixed = gone.flatten(2).any(-1) & ~gone.flatten(2).all(-1)
    variants, slices = mixed.nonzero().T
    for some in torch.arange(len(variants)).split(128):
        filled = gone[variants[some], slices[some]].repeat_interleave(BLOCK, 1).repeat_interleave(BLOCK, 2)
        at = slices[some]
        tokens[variants[some], at] = grader.embed(torch.where(filled[:, None], lung[at], seen[at]))
    change = (graded(grader, batch, tokens) - graded(grader, batch, whole[None])).abs()
    return np.asarray(change.reshape(len(rankings), 2, len(AREAS), NINE))


@torch.no_grad()
def slice_curves(grader: NoduleViT, stack: SliceStack, rankings: Array) -> Array:
    """As ``block_curves``, with whole slices masked out: rankings (R, N) -> (R, 2, len(SLICES), 9)."""
    batch = collate([stack])
    ranks = np.argsort(np.argsort(-rankings, 1, kind="stable"), 1)
    n = rankings.shape[1]
    first = np.stack([ranks < min(max(round(share * n), 1), n - 1) for share in SLICES], 1)
    kept = torch.from_numpy(np.stack([~first, first], 1).reshape(-1, n))
    grades = with_slices(grader, batch, grader.tokens(batch), torch.cat([kept, kept.new_ones(1, n)]))
    change = (grades[:-1] - grades[-1:]).abs()
    return np.asarray(change.reshape(len(rankings), 2, len(SLICES), NINE))


def gaussian(stack: SliceStack, diameter_mm: float) -> Array:
    """A control: a ball of the nodule's size around the point, without the image, (S, h, w)."""
    mm = (np.arange(stack.layout.pixels) - (stack.layout.pixels - 1) / 2) * stack.layout.pixel_mm
    square = stack.offset_mm[:, None, None] ** 2 + mm[:, None] ** 2 + mm**2
    # Half as high at the nodule's edge.
    return np.asarray(np.exp2(-square / (diameter_mm / 2) ** 2))


def smooth_outline(stack: SliceStack, smooth_mm: float = 1.4) -> Array:
    """A control: the outline that the grader is given, fading towards its edge, without the grader, (S, h, w)."""
    sigma = smooth_mm / stack.layout.pixel_mm
    return np.asarray(gaussian_filter(stack.outline, (0, sigma, sigma)))


def placed(stack: SliceStack, maps: Array) -> Array:
    """For each map (M, S, h, w): whether its strongest pixel is inside the outline, its share inside; (M, 2)."""
    inside = np.zeros(stack.pixels.shape, bool)
    inside[stack.valid] = _inside(stack)
    rows = []
    for one in maps:
        total = float(one[stack.valid].sum())
        hit = total > 0 and bool(inside[np.unravel_index(int(np.argmax(one)), one.shape)])
        rows.append((float(hit), float(one[inside].sum()) / total if total > 0 else 0.0))
    return np.array(rows)


def shuffled(grader: NoduleViT, seed: int) -> Iterator[tuple[str, NoduleViT]]:
    """The grader with ever more of its weights shuffled within their tensors, from the heads to the image."""
    generator = torch.Generator().manual_seed(seed)
    again = NoduleViT(grader.config)
    again.load_state_dict(grader.state_dict())
    again.eval().requires_grad_(False)
    for part in CASCADE:
        for name, value in again.named_parameters():
            if name.startswith(part):
                value.data = value.flatten()[torch.randperm(value.numel(), generator=generator)].view_as(value)
        yield part, again


def similarity(maps: Array, others: Array) -> Array:
    """Structural similarity of maps (9, S, h, w), each on the slice where the first is strongest; (9,)."""
    at = maps.max((2, 3)).argmax(1)
    return np.array(
        [structural_similarity(m[k], o[k], data_range=1.0) for m, o, k in zip(maps, others, at, strict=True)]
    )


def rank_correlation(stack: SliceStack, maps: Array, again: SliceStack, maps_again: Array) -> Array:
    """Spearman's of two sets of maps (9, S, h, w) on the slices of the first, where both have pixels; (9,)."""
    places = stack.pixels_ras()[stack.valid]
    correlations = []
    for one, other in zip(maps, maps_again, strict=True):
        # With the point moved by a millimetre, the field shows other margins.
        values = sample(paste(again, other)[stack.layout.planes[0]], places, outside=0.0)[:, 4:-4, 4:-4]
        correlations.append(spearmanr(one[stack.valid][:, 4:-4, 4:-4].ravel(), values.ravel()).statistic)
    return np.nan_to_num(np.array(correlations))


def rim_share(stack: SliceStack, maps: Array) -> Array:
    """Share of each map (9, S, h, w) within ``RIM_MM`` of the outline, on either side of it; (9,)."""
    inside = _inside(stack)
    depth = np.stack([np.maximum(distance_transform_edt(i), distance_transform_edt(~i)) for i in inside])
    rim = depth * stack.layout.pixel_mm <= RIM_MM
    # A slice without outline has no rim.
    rim &= inside.max((1, 2), keepdims=True)
    total = maps[:, stack.valid].sum((1, 2, 3))
    return np.divide(maps[:, stack.valid][:, rim].sum(1), total, out=np.zeros(NINE), where=total > 0)


def own(curves: Array) -> Array:
    """Of nine rankings' curves (9, 2, K, 9), each grade's own: (9, 2, K)."""
    return np.moveaxis(np.diagonal(curves, axis1=0, axis2=3), -1, 0)


def _inside(stack: SliceStack) -> Array:
    """Where at least half of the readers drew the nodule, on valid slices, (N, h, w)."""
    return stack.outline[stack.valid] >= 0.49
