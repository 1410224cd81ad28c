"""Which slices each of the nine grades rests on.

Every method takes one nodule of N valid slices and their tokens (``NoduleViT.tokens``), and gives (9, N).

The outline's shape features stay those of the whole nodule, also when slices are masked out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..grades import GRADES
from ..networks.nodule_vit import Batch, NoduleViT


def leave_one_out(grader: NoduleViT, batch: Batch, tokens: Tensor) -> Tensor:
    """How far each grade moves (signed, grade units) when each slice is masked out, as an absent slice is.

    A nodule's only slice cannot be left out: its weight is 1 for every grade.
    """
    count = int(batch.valid.sum())
    if count == 1:
        return torch.ones(len(GRADES), 1, device=batch.valid.device)
    each = torch.eye(count, dtype=torch.bool, device=batch.valid.device)
    grades = with_slices(grader, batch, tokens, torch.cat([~each, each.any(0, keepdim=True)]))
    return (grades[:-1] - grades[-1:]).T


def alone(grader: NoduleViT, batch: Batch, tokens: Tensor) -> Tensor:
    """How far (signed, grade units) each grade is from its value when all slices but one are masked out."""
    each = torch.eye(int(batch.valid.sum()), dtype=torch.bool, device=batch.valid.device)
    grades = with_slices(grader, batch, tokens, torch.cat([each, each.any(0, keepdim=True)]))
    return (grades[:-1] - grades[-1:]).T


@torch.no_grad()
def with_slices(grader: NoduleViT, batch: Batch, tokens: Tensor, kept: Tensor) -> Tensor:
    """Grades (V, 9) of one nodule when only some of its N valid slices are kept: bool, (V, N)."""
    each = repeated(batch, len(kept))
    each.valid[:, batch.valid[0]] = kept
    return grader.read(grader.raw(tokens.expand(len(kept), -1, -1), each)).grades


def repeated(batch: Batch, count: int) -> Batch:
    """One nodule's batch as ``count`` nodules: all but the slices' pixels and outlines, which stay one nodule's."""
    slices = ("pixels", "outline")
    return batch._replace(
        **{name: getattr(batch, name).repeat(count, 1) for name in batch._fields if name not in slices}
    )


def class_attention(grader: NoduleViT, batch: Batch, tokens: Tensor) -> Tensor:
    """What the class token attends to in the last block, mean over heads: the same for every grade."""
    with torch.no_grad(), _attentions(grader) as seen:
        grader.raw(tokens, batch)
    return seen[-1][0].mean(0)[0, 1:].expand(len(GRADES), -1)


def rollout(grader: NoduleViT, batch: Batch, tokens: Tensor) -> Tensor:
    """Attention multiplied through the blocks, half of each for what is passed by (Abnar and Zuidema 2020)."""
    with torch.no_grad(), _attentions(grader) as seen:
        grader.raw(tokens, batch)
    passed = torch.eye(seen[0].shape[-1], device=seen[0].device)
    for attention in seen:
        passed = (attention[0].mean(0) + torch.eye(len(passed), device=passed.device)) / 2 @ passed
    return passed[0, 1:].expand(len(GRADES), -1)


def gradient_attention(grader: NoduleViT, batch: Batch, tokens: Tensor) -> Tensor:
    """Attention weighted by each grade's gradient, multiplied through the blocks (Chefer, Gur and Wolf 2021).

    Only what raises the way the grade goes is kept, as there for the predicted class; the way is that from the mean.
    """
    weighted = head_relevance(grader, batch, tokens).clamp(min=0).mean(2)
    passed = torch.eye(weighted.shape[-1], device=weighted.device).repeat(len(GRADES), 1, 1)
    for block in weighted.unbind(1):
        passed = passed + block @ passed
    return passed[:, 0, 1:]


def head_relevance(grader: NoduleViT, batch: Batch, tokens: Tensor) -> Tensor:
    """Gradient times attention of one nodule by grade, block and head, (9, L, H, T, T), T = class token + N slices.

    Positive: paying that attention moves the grade away from the mean of the training nodules.
    """
    with torch.enable_grad(), _attentions(grader) as seen:
        raw = grader.raw(tokens.detach().requires_grad_(True), batch)[0, : len(GRADES)]
        # Standardised grades: their sign is the side of the mean.
        pulls = [torch.autograd.grad(value * value.detach().sign(), seen, retain_graph=True) for value in raw]
    return torch.stack([torch.cat([g * a for g, a in zip(pull, seen, strict=True)]) for pull in pulls]).detach()


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


#: What the names mean stands in each function.
SLICE_METHODS: dict[str, Callable[[NoduleViT, Batch, Tensor], Tensor]] = {
    "leave one out": leave_one_out,
    "alone": alone,
    "class attention": class_attention,
    "rollout": rollout,
    "gradient-weighted attention": gradient_attention,
}
