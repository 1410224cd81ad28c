"""From a point to the outline of the nodule under it: a small 2-D U-Net that reads slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from .extent import INSIDE, Extent, measure
from .mosaic import Layout, SliceStack, cut
from .volume import Array, Volume

LAYOUT = Layout("locator", slices=65)
#: A hand that aims at a nodule misses it by no more than this.
REACH_MM = 3.0
#: Slices are read outwards in steps of this depth, until one shows no nodule any more.
STRIDE_MM = 6.0
LIMIT_MM = 32.0
HU_RANGE = (-1000.0, 400.0)
CHANNELS = 5


class Locator(nn.Module):
    """A 2-D U-Net: one slice and what the point says about it -> how surely each pixel is the nodule's.

    (N, 5, h, w) -> logits (N, h, w); the channels are those of ``inputs``. h and w are multiples of 8.
    """

    def __init__(self, widths: Sequence[int] = (12, 24, 48, 64)) -> None:
        super().__init__()
        before = [CHANNELS, *widths]
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(a, b), _convolution(b, b)) for a, b in zip(before, widths, strict=False)
        )
        self.up = nn.ModuleList(_convolution(deep + shallow, shallow) for shallow, deep in pairwise(widths))
        self.last = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 5, h, w) -> logits (N, h, w)."""
        kept = []
        for i, stage in enumerate(self.down):
            x = stage(nn.functional.max_pool2d(x, 2) if i else x)
            kept.append(x)
        for shallow, stage in zip(kept[-2::-1], list(self.up)[::-1], strict=True):
            x = stage(torch.cat([nn.functional.interpolate(x, scale_factor=2, mode="nearest"), shallow], 1))
        logits: Tensor = self.last(x)[:, 0]
        return logits


def inputs(pixels: Tensor, nearer: Tensor, at_point: Tensor, distance_mm: Tensor) -> Tensor:
    """What the locator reads of N slices, all centred on the point.

    Parameters
    ----------
    pixels : Tensor, shape (N, h, w)
        HU of the slices.
    nearer : Tensor, shape (N, h, w)
        HU of each one's neighbour on the side of the point (the slice itself where it is the point's).
    at_point : Tensor, shape (N, h, w)
        HU of the slice through the point.
    distance_mm : Tensor, shape (N,)
        How far each slice lies from the slice through the point, never negative.

    Returns
    -------
    Tensor, shape (N, 5, h, w)
        The three slices scaled to -1..1, a Gaussian at the point (sigma 4 pixels), distance over 20 mm.
    """
    low, high = HU_RANGE
    slices = ((torch.stack([pixels, nearer, at_point], 1) - low) / (high - low)).clamp(0, 1) * 2 - 1
    size = pixels.shape[-1]
    square = (torch.arange(size, device=pixels.device) - (size - 1) / 2) ** 2
    hill = torch.exp(-(square[:, None] + square[None]) / (2 * 4.0**2))
    flat = (distance_mm / 20)[:, None, None, None].expand(-1, 1, size, size)
    return torch.cat([slices, hill.expand(len(pixels), 1, -1, -1), flat], 1)


def locate(
    volume: Volume, points_ras: Array, locators: Sequence[Locator], device: torch.device | str = "cpu"
) -> list[Extent | None]:
    """The nodule under each point, or ``None`` where there is none.

    A first look around the point finds the middle of what lies under it; the outline is read from there,
    so that it hardly depends on where in the nodule the point was put.

    Parameters
    ----------
    volume : Volume
    points_ras : array, shape (N, 3)
        RAS mm.
    locators : sequence of Locator
        Their probabilities are averaged.
    device : torch device

    Raises
    ------
    NoduleRiskError
        If a point lies outside the volume.
    """
    return [_locate(volume, np.asarray(point, np.float64), locators, device) for point in points_ras]


def _locate(volume: Volume, point: Array, locators: Sequence[Locator], device: torch.device | str) -> Extent | None:
    centre = point
    for limit in (STRIDE_MM, LIMIT_MM):
        stack = cut(volume, centre, LAYOUT, bounds_ras=np.stack([centre - limit, centre + limit]))
        # Beside the scan its edge is repeated, and so would be a nodule there.
        probability = _walk(stack, locators, device) * volume.contains(stack.pixels_ras())
        extent = measure(stack, _under(stack, centre, probability))
        if extent is None or not volume.contains(extent.centre_ras):
            return None
        centre = extent.centre_ras
    return extent


@torch.inference_mode()
def _walk(stack: SliceStack, locators: Sequence[Locator], device: torch.device | str) -> Array:
    """Mean probability (S, h, w), read outwards from the middle slice while there is still a nodule."""
    probability = np.zeros(stack.pixels.shape, np.float32)
    middle = len(stack.valid) // 2
    places = np.flatnonzero(stack.valid)
    if not len(places):
        return probability
    middle = places[np.argmin(np.abs(places - middle))]
    ahead = max(2, round(STRIDE_MM / float(stack.step_mm[0])))
    pixels = torch.as_tensor(stack.pixels, device=device)
    fronts = {-1: middle, 1: middle + 1}
    while fronts:
        batch = []
        for way in fronts:
            front = fronts[way]
            batch += [p for p in range(front, front + way * ahead, way) if p in places]
        if not batch:
            break
        at = torch.tensor(batch, device=device)
        near = at - torch.sign(at - middle)
        distance = torch.as_tensor(np.abs(stack.offset_mm[batch] - stack.offset_mm[middle]), device=device)
        x = inputs(pixels[at], pixels[near], pixels[middle].expand(len(at), -1, -1), distance.to(pixels.dtype))
        mean = torch.stack([locator(x).sigmoid() for locator in locators]).mean(0)
        probability[batch] = mean.cpu().numpy()
        for way in list(fronts):
            ends = [p for p in batch if (p > middle) == (way > 0)]
            if not ends or not (probability[ends[-1]] > INSIDE).any():
                del fronts[way]
            else:
                fronts[way] = ends[-1] + way
    return probability


def _under(stack: SliceStack, point: Array, probability: Array) -> Array:
    """The connected part of the outline that lies under the point, with its soft edge; zeros if there is none."""
    inside = probability > INSIDE
    if not inside.any():
        return np.zeros_like(probability)
    distance = np.linalg.norm(stack.pixels_ras() - point, axis=-1)
    distance[~inside] = np.inf
    nearest = np.unravel_index(np.argmin(distance), distance.shape)
    # The point may lie between two slices.
    if distance[nearest] > max(REACH_MM, float(stack.step_mm[0])):
        return np.zeros_like(probability)
    parts, _ = ndimage.label(inside, ndimage.generate_binary_structure(3, 2))
    ours = parts == parts[nearest]
    soft = ndimage.binary_dilation(ours, np.ones((1, 3, 3), bool)) & (ours | ~inside)
    return np.where(soft, probability, 0).astype(np.float32)


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
