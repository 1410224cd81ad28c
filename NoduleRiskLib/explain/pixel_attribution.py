"""Which pixels moved each of the nine grades away from its value for plain lung.

Every method takes a batch of one nodule with N valid slices and gives (9, N, h, w), signed, in grade units: how much
each pixel contributes to the difference between local lung and this nodule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..grades import GRADES
from ..networks.nodule_vit import Batch, NoduleViT
from .slice_attribution import repeated

#: HU of plain lung where a nodule's surroundings show none, and the range of HU that counts as lung.
LUNG_HU, LUNG_RANGE_HU = -850.0, (-1000.0, -600.0)
#: Points on the path from lung to nodule at which the transformer's gradient is taken.
STEPS = 2


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


def deeplift_rescale(grader: NoduleViT, batch: Batch, outline: bool = True) -> Tensor:
    """DeepLIFT's rescale rule (Shrikumar, Greenside and Kundaje 2017): one pass instead of integrated gradients' many.

    Every ReLU passes on its mean slope between local lung and the nodule, where the plain gradient takes the slope at
    the nodule alone. The transformer's gradients are averaged on the straight path from lung's tokens to the
    nodule's.
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


def graded(grader: NoduleViT, batch: Batch, encoded: Tensor) -> Tensor:
    """Grades (V, 9) of variants of one nodule: what ``grader.embed`` made of its N valid slices, (V, N, dim)."""
    places = repeated(batch, len(encoded))
    return grader.read(grader.raw(grader.place(encoded.flatten(0, 1), places), places)).grades


#: What the names mean stands in each function.
PIXEL_METHODS: dict[str, Callable[[NoduleViT, Batch], Tensor]] = {
    "deeplift rescale": deeplift_rescale,
    "gradient": gradient,
    "integrated gradients": integrated,
    "blocks occluded": blocks_occluded,
    "deeplift rescale, image alone": partial(deeplift_rescale, outline=False),
}
