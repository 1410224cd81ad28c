"""The heatmaps that are shown: which slices, and which pixels, a grade rests on, answered separately."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..grades import GRADES
from ..imaging.resampling import paste, sample
from ..imaging.slice_stack import SliceStack
from ..imaging.volume import Array, Volume
from ..networks.manifest import AccountFit
from ..networks.nodule_vit import Batch, Encoded, NoduleViT, collate
from .evidence_maps import evidence_maps
from .heatmap import Heatmap
from .pixel_attribution import PIXEL_METHODS
from .slice_attribution import SLICE_METHODS

#: Standard deviation of the smoothing of in-slice maps: the encoder's last feature is 5.6 mm wide, so finer detail
#: is its strides, not the image; less (1.4 mm) found smaller changes when the shown pixels were filled with lung.
SMOOTH_MM = 2.8
#: Smaller values count as zero.
TINY = 1e-12
#: The in-slice maps of graders with evidence: what was added up, no attribution.
EVIDENCE = "evidence"
#: The methods that people are shown, keys of ``SLICE_METHODS`` and ``PIXEL_METHODS``;
#: the latter for graders without evidence.
DEFAULT_SLICES, WITHOUT_EVIDENCE = "alone", "deeplift rescale"


def default_pixels(grader: NoduleViT) -> str:
    """The in-slice maps that people are shown of such graders."""
    return EVIDENCE if grader.config.evidence else WITHOUT_EVIDENCE


def explain(
    graders: Sequence[NoduleViT],
    stack: SliceStack,
    slices: str = DEFAULT_SLICES,
    pixels: str = "",
    account: AccountFit | None = None,
    encoded: Sequence[Encoded] | None = None,
) -> dict[str, Heatmap]:
    """Heatmaps of all nine grades of one nodule, averaged over the graders.

    Two questions, each answered by its own method and never mixed: *which slices?* (``slices``, a key of
    ``SLICE_METHODS``) and *which pixels?* (``pixels``, ``EVIDENCE`` or a key of ``PIXEL_METHODS``; by default
    ``default_pixels``).

    Parameters
    ----------
    graders : sequence of NoduleViT
    stack : SliceStack
    slices, pixels : str
    account : AccountFit, optional
        Of the suspicion, for malignancy's map of graders with evidence.
    encoded : sequence of Encoded, optional
        What graders with evidence made of these slices already.

    Returns
    -------
    dict
        Grade name -> Heatmap.
    """
    batch = collate([stack], graders[0].config).to(graders[0].target_mean.device)
    pixels = pixels or default_pixels(graders[0])
    tokens = None
    if pixels == EVIDENCE:
        # The slices are encoded once for both questions.
        evidence, tokens = evidence_maps(graders, batch, account, encoded)
        shown = evidence.cpu().numpy()
    else:
        moves = torch.stack([PIXEL_METHODS[pixels](grader, batch) for grader in graders]).mean(0)
        shown = strength(moves.cpu().numpy(), stack.layout.pixel_mm)
        shown /= np.maximum(shown.max((1, 2, 3), keepdims=True), TINY)
    weights = slice_weights(graders, batch, slices, tokens)
    heatmaps = {}
    for g, grade in enumerate(GRADES):
        of_slices = np.zeros(len(stack.valid), np.float32)
        of_slices[stack.valid] = weights[g].cpu().numpy()
        heatmaps[grade.name] = Heatmap(of_slices, stack.valid, shown[g])
    return heatmaps


@torch.no_grad()
def slice_weights(
    graders: Sequence[NoduleViT],
    batch: Batch,
    method: str = DEFAULT_SLICES,
    tokens: Sequence[Tensor] | None = None,
) -> Tensor:
    """What is shown of a slice method's mean over graders: (9, N), never negative; ``tokens`` as each gives them.

    For "alone" it is how much closer each slice alone comes to the grade of all slices than the slice that comes
    least close; a nodule's only slice has weight 1.
    """
    tokens = tokens or [grader.tokens(batch) for grader in graders]
    each = [SLICE_METHODS[method](grader, batch, own) for grader, own in zip(graders, tokens, strict=True)]
    weights = torch.stack(each).mean(0).abs()
    if method != "alone":
        return weights
    return weights.max(1, keepdim=True).values - weights if weights.shape[1] > 1 else torch.ones_like(weights)


def crossed(stack: SliceStack, heatmap: Heatmap) -> Volume:
    """Slice weights of several planes as one 3-D map: where weighty axial, coronal and sagittal slices cross.

    A slice weight has no position within its slice; slices of other planes give one. Each plane's weights are
    first divided by its strongest, then a point gets the geometric mean over the planes of the weights at its place
    along each plane's normal, so that it is shown only where every plane agrees. Of a layout with one plane it is no
    more than that plane's slice weights.

    Parameters
    ----------
    stack : SliceStack
    heatmap : Heatmap
        Of which only the slice weights are used, never the in-slice map.

    Returns
    -------
    Volume
        float32, 0 to 1, on the grid of the first plane that has a valid slice, RAS mm.

    Raises
    ------
    ValueError
        If no slice is valid.
    """
    weights = np.where(stack.valid, heatmap.slice_weights, 0)
    planes = paste(stack, weights)
    if not planes:
        raise ValueError("a stack without valid slices has nothing to cross")
    grid = next(iter(planes.values()))
    k, j, i = np.indices(grid.array.shape)
    places = grid.to_ras(np.stack([i, j, k], -1))
    product = np.ones(grid.array.shape)
    for plane in planes.values():
        product *= sample(plane, places, outside=0.0) / max(float(plane.array.max()), TINY)
    return Volume((product ** (1 / len(planes))).astype(np.float32), grid.ijk_to_ras, name="crossed")


def strength(moves: Array, pixel_mm: float) -> Array:
    """What is shown of signed moves (9, N, h, w): how far the neighbourhood of each pixel moves the grade in all."""
    sigma = SMOOTH_MM / pixel_mm
    return np.abs(gaussian_filter(moves, (0, 0, sigma, sigma)))
