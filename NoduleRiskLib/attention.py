"""Which slices, and which pixels inside them, moved each of the nine grades of a nodule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from .assessment import Heatmap
from .grades import GRADES
from .model import Batch, NoduleViT, collate
from .mosaic import SliceStack
from .volume import Array

#: What a pixel is compared with: the same place as plain lung, outside of any outline.
LUNG_HU = -850.0
#: Standard deviation of the smoothing of in-slice maps: finer detail is the encoder's strides, not the image.
SMOOTH_MM = 1.4


def explain(graders: Sequence[NoduleViT], stack: SliceStack) -> dict[str, Heatmap]:
    """Heatmaps of all nine grades of one nodule, averaged over the graders.

    Two questions, each answered by the method that fits it:

    - *Which slices?* Every slice is withheld once (masked out of the attention, as an absent slice is); its
      weight is how far the grade then moves. All slices and grades come from one batched pass.
    - *Which pixels?* The grade's gradient times the pixel's difference from plain lung: to first order, how far
      the grade moves if that pixel were lung. All nine grades share one forward pass.

    Parameters
    ----------
    graders : sequence of NoduleViT
    stack : SliceStack

    Returns
    -------
    dict
        Grade name -> Heatmap.
    """
    device = graders[0].target_mean.device
    batch = collate([stack]).to(device)
    weights = torch.stack([withheld(grader, batch) for grader in graders]).mean(0).abs()
    moves = torch.stack([_to_lung(grader, batch) for grader in graders]).mean(0).abs()
    valid = np.flatnonzero(stack.valid)
    sigma = SMOOTH_MM / stack.layout.pixel_mm
    heatmaps = {}
    for g, grade in enumerate(GRADES):
        slice_weights = np.zeros(len(stack.valid), np.float32)
        slice_weights[valid] = weights[:, g].cpu().numpy()
        in_slice = np.zeros(stack.pixels.shape, np.float32)
        in_slice[valid] = gaussian_filter(moves[g].cpu().numpy(), (0, sigma, sigma))
        heatmaps[grade.name] = Heatmap(slice_weights, _strongest_is_one(in_slice))
    return heatmaps


@torch.no_grad()
def withheld(grader: NoduleViT, batch: Batch) -> Tensor:
    """How far each grade moves (signed, grade units) when each slice is withheld.

    ``batch`` holds one nodule with N valid slices; the result has shape (N, 9). A nodule's only slice cannot
    be withheld: its weight is 1 for every grade.
    """
    places = batch.valid[0].nonzero()[:, 0]
    if len(places) == 1:
        return torch.ones(1, len(GRADES), device=places.device)
    tokens = grader.tokens(batch)
    valid = batch.valid.repeat(len(places) + 1, 1)
    valid[torch.arange(len(places)), places] = False
    variants = batch._replace(valid=valid)
    grades = grader.read(grader.raw(tokens.expand(len(valid), -1, -1), variants)).grades
    return grades[:-1] - grades[-1:]


def _to_lung(grader: NoduleViT, batch: Batch) -> Tensor:
    """First-order change of each grade if a pixel were lung: (9, N, h, w) for the N valid slices of one nodule."""
    seen = grader.channels(batch)
    lung = grader.channels(
        batch._replace(pixels=torch.full_like(batch.pixels, LUNG_HU), outline=torch.zeros_like(batch.outline))
    )
    with torch.enable_grad():
        leaf = seen.detach().requires_grad_(True)
        # A leaf per grade would cost nine forward passes; nine backward passes share this one.
        tokens = grader.place(grader.embed(leaf), batch)
        grades = grader.read(grader.raw(tokens, batch)).grades[0]
        gradients = [
            torch.autograd.grad(grade, leaf, retain_graph=i + 1 < len(GRADES))[0] for i, grade in enumerate(grades)
        ]
    return torch.stack(gradients).mul(lung - seen).sum(2)


def _strongest_is_one(maps: Array) -> Array:
    strongest = maps.max((1, 2), keepdims=True)
    return np.divide(maps, strongest, out=np.zeros_like(maps), where=strongest > 0)
