"""Segmentation: from a point to the outline of the nodule under it, by a small 2-D U-Net, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from ..imaging.outline import INSIDE, Outline, measure
from ..imaging.resampling import cut
from ..imaging.slice_stack import Layout, SliceStack
from ..imaging.volume import Array, Volume

LAYOUT = Layout("segmentation", slices=83)
#: A point that is meant for a nodule lies no further from it than this.
REACH_MM = 3.0
#: Slices are segmented outwards from the point in steps of this depth, until one shows no nodule.
STRIDE_MM = 6.0
LIMIT_MM = 32.0
HU_RANGE = (-1000.0, 400.0)
#: Beside a slice the network sees its neighbours on either side at about these distances: vessels run on there.
NEIGHBOURS_MM = (0.0, 4.0, 9.0)
SLICES = 2 * len(NEIGHBOURS_MM) + 2
CHANNELS = SLICES + 3


class SegmentationUNet(nn.Module):
    """A 2-D U-Net: a slice with its neighbours and the point -> logit of each pixel being the nodule's.

    (N, 11, h, w) -> logits (N, h, w); the channels are those of ``inputs``. h and w are multiples of 16. It works
    on blocks of 2 x 2 pixels, at half the cost of single ones.
    """

    def __init__(self, widths: Sequence[int] = (24, 48, 64, 64)) -> None:
        super().__init__()
        before = [4 * CHANNELS, *widths]
        self.down = nn.ModuleList(
            nn.Sequential(_convolution(a, b), _convolution(b, b)) for a, b in zip(before, widths, strict=False)
        )
        self.up = nn.ModuleList(_convolution(deep + shallow, shallow) for shallow, deep in pairwise(widths))
        self.last = nn.Conv2d(widths[0], 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 11, h, w) -> logits (N, h, w)."""
        x = nn.functional.pixel_unshuffle(x, 2)
        kept = []
        for i, stage in enumerate(self.down):
            x = stage(nn.functional.max_pool2d(x, 2) if i else x)
            kept.append(x)
        for shallow, stage in zip(kept[-2::-1], list(self.up)[::-1], strict=True):
            x = stage(torch.cat([nn.functional.interpolate(x, scale_factor=2, mode="nearest"), shallow], 1))
        logits: Tensor = nn.functional.pixel_shuffle(self.last(x), 2)[:, 0]
        return logits


def context(at: Array, way: Array, middle: int, step_mm: float, low: int, high: int) -> Array:
    """Which slices the network reads for each slice that it outlines.

    Parameters
    ----------
    at : int array, shape (N,)
        The slices to outline.
    way : int array, shape (N,)
        1 where the slice lies after the point's slice, -1 where before; the point's own slice can be read
        either way.
    middle : int
        The slice through the point.
    step_mm : float
        Between neighbouring slices.
    low, high : int
        First and last slice of the scan: beyond them these are read again.

    Returns
    -------
    int array, shape (N, 8)
        The slice itself, its neighbours towards the point, those away from it, the point's slice.
    """
    steps = [max(round(mm / step_mm), n + 1) for n, mm in enumerate(NEIGHBOURS_MM)]
    columns = [at, *(at - way * step for step in steps), *(at + way * step for step in steps), np.full_like(at, middle)]
    return np.clip(np.stack(columns, 1), low, high)


def scaled(hu: Tensor) -> Tensor:
    """HU of any shape as both CNNs read them: air to bone, -1..1."""
    low, high = HU_RANGE
    return ((hu - low) / (high - low)).clamp(0, 1) * 2 - 1


def inputs(slices: Tensor, distance_mm: Tensor, step_mm: Tensor) -> Tensor:
    """What the network reads of N slices, all centred on the point.

    Parameters
    ----------
    slices : Tensor, shape (N, 8, h, w)
        HU of the slices that ``context`` names.
    distance_mm : Tensor, shape (N,)
        How far each slice lies from the slice through the point, never negative.
    step_mm : Tensor, shape (N,)
        Between neighbouring slices.

    Returns
    -------
    Tensor, shape (N, 11, h, w)
        The slices scaled to -1..1, a Gaussian at the point (sigma 4 pixels), distance over 20 mm, step over 5 mm.
    """
    count, _, size, _ = slices.shape
    square = (torch.arange(size, device=slices.device) - (size - 1) / 2) ** 2
    hill = torch.exp(-(square[:, None] + square[None]) / (2 * 4.0**2)).to(slices.dtype)
    flat = torch.stack([distance_mm / 20, step_mm / 5], 1)[:, :, None, None].expand(-1, -1, size, size)
    return torch.cat([scaled(slices), hill.expand(count, 1, -1, -1), flat], 1)


def segment(
    volume: Volume, points_ras: Array, networks: Sequence[SegmentationUNet], device: torch.device | str = "cpu"
) -> list[Outline]:
    """The nodule under each point; a small ball that is flagged as unsure where there is none.

    A first look around the point finds the middle of what lies under it; the outline is read from there,
    so that it hardly depends on where in the nodule the point was put.

    Parameters
    ----------
    volume : Volume
    points_ras : array, shape (N, 3)
        RAS mm.
    networks : sequence of SegmentationUNet
        Their probabilities are averaged.
    device : torch device

    Raises
    ------
    NoduleRiskError
        If a point lies outside the volume.
    """
    places = [np.asarray(point, np.float64) for point in points_ras]
    return [_segment(volume, place, networks, device) or _ball(volume, place) for place in places]


def _ball(volume: Volume, centre: Array) -> Outline:
    stack = cut(volume, centre, LAYOUT)
    ball = measure(stack, np.linalg.norm(stack.pixels_ras() - centre, axis=-1) < max(3.0, stack.step_mm[0]))
    assert ball is not None
    return replace(ball, unsure=True)


def _segment(
    volume: Volume, point: Array, networks: Sequence[SegmentationUNet], device: torch.device | str
) -> Outline | None:
    stack, first = _look(volume, point, STRIDE_MM, networks, device)
    places = stack.pixels_ras(first > INSIDE)
    if not len(places):
        return None
    middle = places.mean(0)
    if not volume.contains(middle):
        return None
    outline = measure(*_look(volume, middle, LIMIT_MM, networks, device))
    return outline if outline and volume.contains(outline.centre_ras) else None


def _look(
    volume: Volume, centre: Array, reach_mm: float, networks: Sequence[SegmentationUNet], device: torch.device | str
) -> tuple[SliceStack, Array]:
    """The slices around a place in the volume, and the outline (S, h, w) of what lies there, 0 to 1."""
    half = reach_mm + NEIGHBOURS_MM[-1]
    stack = cut(volume, centre, LAYOUT, bounds_ras=np.stack([centre - half, centre + half]))
    probability = _walk(stack, reach_mm, networks, device)
    # Beside the scan its edge is repeated, and so would be a nodule there.
    grey = probability > 0.01
    probability[grey] *= volume.contains(stack.pixels_ras(grey))
    return stack, _under(stack, centre, probability)


@torch.inference_mode()
def _walk(
    stack: SliceStack, reach_mm: float, networks: Sequence[SegmentationUNet], device: torch.device | str
) -> Array:
    """Mean probability (S, h, w), read outwards from the middle slice while there is still a nodule and reach."""
    probability = np.zeros(stack.pixels.shape, np.float32)
    places = np.flatnonzero(stack.valid)
    if not len(places):
        return probability
    low, high = int(places[0]), int(places[-1])
    within = set(np.flatnonzero(stack.valid & (np.abs(stack.offset_mm) <= reach_mm + stack.step_mm / 2)).tolist())
    middle = int(places[np.argmin(np.abs(places - len(stack.valid) // 2))])
    step = float(stack.step_mm[0])
    ahead = max(2, round(STRIDE_MM / step))
    pixels = torch.as_tensor(stack.pixels, device=device)
    # Read both ways, so that it does not matter from which end the scan counts its slices.
    batch = [(middle, -1), (middle, 1)]
    ends = {-1: middle, 1: middle}
    while True:
        for way, end in ends.items():
            batch += [(place, way) for place in range(end + way, end + way * (ahead + 1), way) if place in within]
        if not batch:
            return probability
        at, ways = np.array(batch).T
        index = torch.as_tensor(context(at, ways, middle, step, low, high), device=device)
        distance = torch.as_tensor(np.abs(stack.offset_mm[at] - stack.offset_mm[middle])).to(pixels)
        x = inputs(pixels[index], distance, torch.full_like(distance, step)).to(memory_format=torch.channels_last)
        found = torch.stack([network(x).sigmoid() for network in networks]).mean(0).cpu().numpy()
        probability[at] = found
        if middle in at:
            probability[middle] = found[at == middle].mean(0)
        furthest = {way: at[ways == way][-1] for way in ends if (ways == way).any()}
        ends = {way: int(end) for way, end in furthest.items() if (probability[end] > INSIDE).any()}
        batch = []


def _under(stack: SliceStack, point: Array, probability: Array) -> Array:
    """The connected part of the outline that lies under the point, with its soft edge; zeros if there is none."""
    inside = probability > INSIDE
    if not inside.any():
        return np.zeros_like(probability)
    distance = np.linalg.norm(stack.pixels_ras(inside) - point, axis=-1)
    # The point may lie between two slices.
    if distance.min() > max(REACH_MM, float(stack.step_mm[0])):
        return np.zeros_like(probability)
    # Everything below happens in the box around the outline, with room for its soft edge.
    filled = [np.flatnonzero(inside.any(other)) for other in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(max(one[0] - 1, 0), one[-1] + 2) for one in filled)
    places = np.argwhere(inside[box])
    parts, _ = ndimage.label(inside[box], ndimage.generate_binary_structure(3, 2))
    ours = parts == parts[tuple(places[distance.argmin()])]
    soft = ndimage.binary_dilation(ours, np.ones((1, 3, 3), bool)) & (ours | ~inside[box])
    outline = np.zeros_like(probability)
    outline[box] = np.where(soft, probability[box], 0)
    return outline


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
