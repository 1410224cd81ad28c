"""Which slices, and which pixels inside them, moved each of the nine grades: every method that we compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from .assessment import Heatmap
from .grades import GRADES
from .model import Batch, NoduleViT, collate
from .mosaic import SliceStack
from .volume import Array

#: Plain lung (HU) where a nodule's own surroundings tell nothing, and the HU that may be lung at all.
LUNG_HU, LUNG_RANGE_HU = -850.0, (-1000.0, -600.0)
#: Standard deviation of the smoothing of in-slice maps: the encoder's last feature is 5.6 mm wide, so finer detail
#: is its strides, not the image; less (1.4 mm) found smaller changes when the shown pixels were filled with lung.
SMOOTH_MM = 2.8
#: Under this a map is nought.
TINY = 1e-12
#: Points on the way from lung to nodule at which the transformer is asked for its slope.
STEPS = 2


#: Takes a batch of one nodule; the two headings below say what comes back.
Method = Callable[[NoduleViT, Batch], Tensor]
#: The methods that people are shown, keys of ``SLICE_METHODS`` and ``PIXEL_METHODS``.
DEFAULT_SLICES, DEFAULT = "alone", "secants"


def explain(
    graders: Sequence[NoduleViT], stack: SliceStack, slices: str = DEFAULT_SLICES, pixels: str = DEFAULT
) -> dict[str, Heatmap]:
    """Heatmaps of all nine grades of one nodule, averaged over the graders.

    Two questions, each answered by a method of its own and never mixed: *which slices?* (``slices``, a key of
    ``SLICE_METHODS``) and *which pixels?* (``pixels``, a key of ``PIXEL_METHODS``). The defaults are those that
    ``python -m training faithfulness`` found the most faithful within their cost.

    Parameters
    ----------
    graders : sequence of NoduleViT
    stack : SliceStack
    slices, pixels : str

    Returns
    -------
    dict
        Grade name -> Heatmap.
    """
    batch = collate([stack]).to(graders[0].target_mean.device)
    weights = slice_weights(graders, batch, slices)
    moves = torch.stack([PIXEL_METHODS[pixels](grader, batch) for grader in graders]).mean(0)
    valid = np.flatnonzero(stack.valid)
    shown = strength(moves.cpu().numpy(), stack.layout.pixel_mm)
    heatmaps = {}
    for g, grade in enumerate(GRADES):
        of_slices = np.zeros(len(stack.valid), np.float32)
        of_slices[valid] = weights[g].cpu().numpy()
        in_slice = np.zeros(stack.pixels.shape, np.float32)
        in_slice[valid] = shown[g]
        heatmaps[grade.name] = Heatmap(of_slices, in_slice / max(float(in_slice.max()), TINY))
    return heatmaps


def slice_weights(graders: Sequence[NoduleViT], batch: Batch, method: str = DEFAULT_SLICES) -> Tensor:
    """What is shown of a slice method's mean over graders: (9, N), never negative.

    For "alone" it is how much nearer to what all slices say each slice comes than the one that says least; a
    nodule's only slice has weight 1.
    """
    told = torch.stack([SLICE_METHODS[method](grader, batch) for grader in graders]).mean(0).abs()
    if method != "alone":
        return told
    return told.max(1, keepdim=True).values - told if told.shape[1] > 1 else torch.ones_like(told)


def strength(moves: Array, pixel_mm: float) -> Array:
    """What is shown of signed moves (9, N, h, w): how far the neighbourhood of each pixel moves the grade in all."""
    sigma = SMOOTH_MM / pixel_mm
    return np.abs(gaussian_filter(moves, (0, 0, sigma, sigma)))


def lung_hu(batch: Batch) -> float:
    """HU of the lung around one nodule: the median of what may be lung outside of its outline."""
    hu = batch.pixels[batch.valid][batch.outline[batch.valid] < 0.05]
    hu = hu[(hu > LUNG_RANGE_HU[0]) & (hu < LUNG_RANGE_HU[1])]
    return float(hu.median()) if hu.numel() else LUNG_HU


def as_lung(grader: NoduleViT, batch: Batch, outline: bool = True) -> Tensor:
    """The valid slices' channels if they held nothing but local lung: (1, C, h, w), the same for all.

    Without ``outline`` the outline stays where it is, and only the image becomes lung: (N, C, h, w).
    """
    hu = torch.full_like(batch.pixels, lung_hu(batch))
    if outline:
        # All slices are alike then: one stands for them.
        first = batch.valid & (batch.valid.cumsum(1) == 1)
        return grader.channels(batch._replace(pixels=hu, outline=torch.zeros_like(batch.outline), valid=first))
    return grader.channels(batch._replace(pixels=hu))


# Which slices: (grader, batch of one nodule with N valid slices) -> (9, N)


def withheld(grader: NoduleViT, batch: Batch) -> Tensor:
    """How far each grade moves (signed, grade units) when each slice is masked out, as an absent slice is.

    A nodule's only slice cannot be withheld: its weight is 1 for every grade.
    """
    count = int(batch.valid.sum())
    if count == 1:
        return torch.ones(len(GRADES), 1, device=batch.valid.device)
    each = torch.eye(count, dtype=torch.bool, device=batch.valid.device)
    grades = with_slices(grader, batch, torch.cat([~each, each.any(0, keepdim=True)]))
    return (grades[:-1] - grades[-1:]).T


def alone(grader: NoduleViT, batch: Batch) -> Tensor:
    """How far off (signed, grade units) each grade is when all slices but one are masked out."""
    each = torch.eye(int(batch.valid.sum()), dtype=torch.bool, device=batch.valid.device)
    grades = with_slices(grader, batch, torch.cat([each, each.any(0, keepdim=True)]))
    return (grades[:-1] - grades[-1:]).T


@torch.no_grad()
def with_slices(grader: NoduleViT, batch: Batch, kept: Tensor) -> Tensor:
    """Grades (V, 9) of one nodule when only some of its N valid slices are kept: bool, (V, N)."""
    tokens = grader.tokens(batch)
    valid = batch.valid.repeat(len(kept), 1)
    valid[:, batch.valid[0]] = kept
    return grader.read(grader.raw(tokens.expand(len(kept), -1, -1), batch._replace(valid=valid))).grades


def graded(grader: NoduleViT, batch: Batch, encoded: Tensor) -> Tensor:
    """Grades (V, 9) of variants of one nodule: what ``grader.embed`` made of its N valid slices, (V, N, dim)."""
    count = len(encoded)
    places = batch._replace(**{name: getattr(batch, name).repeat(count, 1) for name in ("offset_mm", "plane", "valid")})
    return grader.read(grader.raw(grader.place(encoded.flatten(0, 1), places), places)).grades


def class_attention(grader: NoduleViT, batch: Batch) -> Tensor:
    """What the class token attends to in the last block, mean over heads: the same for every grade."""
    with torch.no_grad(), _attentions(grader) as seen:
        grader(batch)
    return seen[-1][0].mean(0)[0, 1:].expand(len(GRADES), -1)


def rollout(grader: NoduleViT, batch: Batch) -> Tensor:
    """Attention multiplied through the blocks, half of each for what is passed by (Abnar and Zuidema 2020)."""
    with torch.no_grad(), _attentions(grader) as seen:
        grader(batch)
    passed = torch.eye(seen[0].shape[-1], device=seen[0].device)
    for attention in seen:
        passed = (attention[0].mean(0) + torch.eye(len(passed), device=passed.device)) / 2 @ passed
    return passed[0, 1:].expand(len(GRADES), -1)


def gradient_attention(grader: NoduleViT, batch: Batch) -> Tensor:
    """Attention weighted by each grade's gradient, multiplied through the blocks (Chefer, Gur and Wolf 2021).

    Only what raises the way the grade goes is kept, as there for the predicted class; the way is that from the mean.
    """
    weighted = head_relevance(grader, batch).clamp(min=0).mean(2)
    passed = torch.eye(weighted.shape[-1], device=weighted.device).repeat(len(GRADES), 1, 1)
    for block in weighted.unbind(1):
        passed = passed + block @ passed
    return passed[:, 0, 1:]


def head_relevance(grader: NoduleViT, batch: Batch) -> Tensor:
    """Gradient times attention of one nodule by grade, block and head, (9, L, H, T, T), T = class token + N slices.

    Positive: paying that attention moves the grade away from the mean of the training nodules.
    """
    tokens = grader.tokens(batch).detach()
    with torch.enable_grad(), _attentions(grader) as seen:
        raw = grader.raw(tokens.requires_grad_(True), batch)[0, : len(GRADES)]
        # Standardised grades: their sign is the side of the mean.
        pulls = [torch.autograd.grad(value * value.detach().sign(), seen, retain_graph=True) for value in raw]
    return torch.stack([torch.cat([g * a for g, a in zip(pull, seen, strict=True)]) for pull in pulls]).detach()


# Which pixels: (grader, batch of one nodule with N valid slices) -> (9, N, h, w), signed, in grade units:
# how much of the way from local lung to this nodule is owed to each pixel


def gradient(grader: NoduleViT, batch: Batch, outline: bool = True) -> Tensor:
    """First-order change: the grade's gradient times the pixel's difference from local lung."""
    return _along(grader, batch, [1.0], outline)


def integrated(grader: NoduleViT, batch: Batch, outline: bool = True, steps: int = 4) -> Tensor:
    """Integrated gradients on the straight way from local lung (Sundararajan, Taly and Yan 2017), midpoint rule."""
    return _along(grader, batch, [(i + 0.5) / steps for i in range(steps)], outline)


@torch.no_grad()
def blocks_occluded(grader: NoduleViT, batch: Batch, outline: bool = True, block: int = 8) -> Tensor:
    """Every block of ``block`` x ``block`` pixels of every slice filled with local lung in turn."""
    seen = grader.channels(batch)
    lung = as_lung(grader, batch, outline).expand_as(seen)
    count, _, h, w = seen.shape
    encoded = grader.embed(seen)
    rows, columns = -(-h // block), -(-w // block)
    moves = seen.new_zeros(len(GRADES), count, rows, columns)
    before = grader.read(grader.raw(grader.place(encoded, batch), batch)).grades[0]
    for i in range(rows):
        variants = seen.repeat(columns, 1, 1, 1, 1)
        for j in range(columns):
            at = (..., slice(i * block, (i + 1) * block), slice(j * block, (j + 1) * block))
            variants[j][at] = lung[at]
        changed = grader.embed(variants.flatten(0, 1)).unflatten(0, (columns, count))
        # Only one slice changes at a time; the others keep their tokens.
        each = encoded.repeat(columns, count, 1, 1)
        each[:, torch.arange(count), torch.arange(count)] = changed
        grades = graded(grader, batch, each.flatten(0, 1))
        moves[:, :, i] = (before - grades).T.unflatten(1, (columns, count)).transpose(1, 2)
    pixels = moves.repeat_interleave(block, 2).repeat_interleave(block, 3)
    return pixels[:, :, :h, :w] / block**2


def secants(grader: NoduleViT, batch: Batch, outline: bool = True) -> Tensor:
    """What integrated gradients estimate with many steps, in one pass: every ReLU passes on its mean slope.

    Between a pixel and local lung a ReLU may bend; its tangent at the pixel, which the plain gradient takes, says
    nothing of the bend, the secant between both does (DeepLIFT's rescale rule, Shrikumar, Greenside and Kundaje
    2017). The transformer's slopes are averaged on the straight way from lung's tokens to the nodule's.
    """
    seen, lung = grader.channels(batch), as_lung(grader, batch, outline)
    with torch.enable_grad(), _mean_slopes(grader) as remember:
        with torch.no_grad(), remember():
            start = grader.embed(lung)
        leaf = seen.detach().requires_grad_(True)
        end = grader.embed(leaf)
        pulls = _token_pulls(grader, batch, start, end.detach())
        (moves,) = torch.autograd.grad(end, leaf, pulls, is_grads_batched=True)
    return (moves * (seen - lung)).sum(2)


def _token_pulls(grader: NoduleViT, batch: Batch, start: Tensor, end: Tensor, steps: int = STEPS) -> Tensor:
    """Mean slope of each grade in each slice token on the way from ``start`` to ``end`` (N, dim): (9, N, dim)."""
    share = (torch.arange(steps, device=end.device, dtype=end.dtype) + 0.5) / steps
    way = start + share[:, None, None] * (end - start)
    leaf = way.repeat(len(GRADES), 1, 1).requires_grad_(True)
    grades = graded(grader, batch, leaf)
    own = grades.unflatten(0, (len(GRADES), steps)).diagonal(dim1=0, dim2=2)
    (pulls,) = torch.autograd.grad(own.sum(), leaf)
    return pulls.unflatten(0, (len(GRADES), steps)).mean(1)


def _along(grader: NoduleViT, batch: Batch, shares: Sequence[float], outline: bool) -> Tensor:
    """Mean gradient at some shares of the way from local lung, times the whole way."""
    seen, lung = grader.channels(batch), as_lung(grader, batch, outline)
    total = seen.new_zeros(len(GRADES), *seen.shape)
    for share in shares:
        with torch.enable_grad():
            leaf = (lung + share * (seen - lung)).detach().requires_grad_(True)
            encoded = grader.embed(leaf)
            pulls = _token_pulls(grader, batch, encoded.detach(), encoded.detach(), steps=1)
            total += torch.autograd.grad(encoded, leaf, pulls, is_grads_batched=True)[0]
    return (total / len(shares) * (seen - lung)).sum(2)


class _Secant(torch.autograd.Function):
    """ReLU whose slope is that of the chord to where it was before."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, before: Tensor) -> Tensor:
        return x.relu()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        x, before = inputs
        step = x - before
        chord = (output - before.relu()) / torch.where(step.abs() > 1e-5, step, 1.0)
        ctx.save_for_backward(torch.where(step.abs() > 1e-5, chord, (x > 0).to(x.dtype)))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return upstream * ctx.saved_tensors[0], None


@contextmanager
def _mean_slopes(grader: NoduleViT) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Every ReLU of the grader gives its mean slope, from what it saw under the context that is handed out."""
    before: dict[nn.Module, Tensor] = {}
    remembering = False

    @contextmanager
    def remember() -> Iterator[None]:
        nonlocal remembering
        remembering = True
        yield
        remembering = False

    def passing(relu: nn.Module) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            if remembering:
                before[relu] = x
                return x.relu()
            return _Secant.apply(x, before[relu])

        return forward

    relus = [module for module in grader.modules() if isinstance(module, nn.ReLU)]
    for relu in relus:
        relu.forward = passing(relu)  # type: ignore[method-assign, assignment]
    try:
        yield remember
    finally:
        for relu in relus:
            del relu.forward


@contextmanager
def _attentions(grader: NoduleViT) -> Iterator[list[Tensor]]:
    """The attention of every block, (B, H, T, T), as it is computed; timm's fused kernel would hide it."""
    seen: list[Tensor] = []
    blocks = [block.attn for block in grader.vit.blocks]
    fused = [attention.fused_attn for attention in blocks]
    hooks = [a.attn_drop.register_forward_hook(lambda m, inputs, output: seen.append(output)) for a in blocks]
    for attention in blocks:
        attention.fused_attn = False
    try:
        yield seen
    finally:
        for attention, hook, was in zip(blocks, hooks, fused, strict=True):
            attention.fused_attn = was
            hook.remove()


#: Which slices: what the names mean stands in each function.
SLICE_METHODS: dict[str, Method] = {
    "withheld": withheld,
    "alone": alone,
    "class attention": class_attention,
    "rollout": rollout,
    "gradient-weighted attention": gradient_attention,
}
#: Which pixels inside them.
PIXEL_METHODS: dict[str, Method] = {
    "secants": secants,
    "gradient": gradient,
    "integrated gradients": integrated,
    "blocks occluded": blocks_occluded,
    "secants, image alone": partial(secants, outline=False),
}
