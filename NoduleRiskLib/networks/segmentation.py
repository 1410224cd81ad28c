"""Segmentation: from a point to the outline of the nodule under it, by a small 2-D U-Net, slice by slice."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from ..imaging.outline import INSIDE, Outline, measure
from ..imaging.resampling import cut
from ..imaging.slice_stack import Layout, SliceStack
from ..imaging.volume import Array, Volume

LAYOUT = Layout("segmentation", slices=83)
#: For the first look, which only finds the nodule's middle: fewer slices, which in thin ones halves its cost.
FIRST_LOOK = replace(LAYOUT, min_step_mm=2.0)
#: A point that is meant for a nodule lies no further from it than this.
REACH_MM = 3.0
#: Slices are segmented outwards from the point in steps of this depth, until one shows no nodule.
STRIDE_MM = 6.0
LIMIT_MM = 32.0
#: A probability that is next to nothing.
FAINT = 0.02
#: What is outlined smaller than this is hardly a nodule as a whole.
SMALLEST_MM = 2.0
#: Diameter of the ball that is drawn where the network sees nothing.
BALL_MM = 4.0
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


#: What outlines one nodule: it asks for the probabilities (N, h, w) of what the network reads (N, 11, h, w).
_Asking = Generator[Tensor, Array, Outline]


def segment(
    volume: Volume | Sequence[Volume],
    points_ras: Array,
    networks: Sequence[SegmentationUNet],
    device: torch.device | str = "cpu",
) -> list[Outline]:
    """The outline of the nodule under each point: a point says that there is one.

    A first look around the point finds the middle of what lies under it; the outline is read from there,
    so that it hardly depends on where in the nodule the point was put. Where no pixel is more likely than not the
    nodule's, the outline is drawn at half of the highest probability there is; where that is next to nothing, it is a
    small ball around the point. Such outlines are ``unsure``.

    All nodules are outlined side by side, so that a GPU reads of all of them at once.

    Parameters
    ----------
    volume : Volume, or sequence of N of them
        In which the points lie: one for all, or one for each.
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
    volumes = [volume] * len(points_ras) if isinstance(volume, Volume) else volume
    asking = [
        _segment(one, np.asarray(point, np.float64), device) for one, point in zip(volumes, points_ras, strict=True)
    ]
    # On a CPU more slices at once leave its caches.
    joined = torch.device(device).type != "cpu"
    outlines: dict[int, Outline] = {}
    told: dict[int, Any] = dict.fromkeys(range(len(asking)))
    while told:
        asked: dict[int, Tensor] = {}
        for number, answer in told.items():
            try:
                asked[number] = asking[number].send(answer)
            except StopIteration as end:
                outlines[number] = end.value
        told = dict(zip(asked, _told(list(asked.values()), networks, joined), strict=True))
    return [outlines[number] for number in range(len(asking))]


@torch.inference_mode()
def _told(asked: Sequence[Tensor], networks: Sequence[SegmentationUNet], joined: bool) -> list[Array]:
    """Mean probabilities (N, h, w) of each (N, 11, h, w), read all at once or one after the other."""
    counts = [len(one) for one in asked]
    read = [torch.cat(list(asked))] if joined and asked else asked
    found = [_mean(one.to(memory_format=torch.channels_last), networks) for one in read]
    return np.split(found[0], np.cumsum(counts)[:-1]) if joined and asked else found


def _mean(x: Tensor, networks: Sequence[SegmentationUNet]) -> Array:
    return np.asarray(torch.stack([network(x).sigmoid() for network in networks]).mean(0).cpu())


def _segment(volume: Volume, point: Array, device: torch.device | str) -> _Asking:
    stack, first, level = yield from _look(volume, point, FIRST_LOOK, STRIDE_MM, device)
    if not level:
        return _ball(volume, point)
    middle = stack.pixels_ras(first > INSIDE).mean(0)
    if volume.contains(middle):
        stack, found, level = yield from _look(volume, middle, LAYOUT, LIMIT_MM, device)
        outline = measure(stack, found) if level else None
        if outline and volume.contains(outline.centre_ras) and _distance_mm(stack, found, point) <= _reach(stack):
            return replace(outline, unsure=level < INSIDE or outline.diameter_mm < SMALLEST_MM)
    # From its middle it looks like something else: what is seen from the point is all there is.
    stack, found, level = yield from _look(volume, point, LAYOUT, LIMIT_MM, device)
    outline = measure(stack, found) if level else None
    return replace(outline, unsure=True) if outline and volume.contains(outline.centre_ras) else _ball(volume, point)


def _look(
    volume: Volume, centre: Array, layout: Layout, reach_mm: float, device: torch.device | str
) -> Generator[Tensor, Array, tuple[SliceStack, Array, float]]:
    """The slices around a place in the volume, the outline (S, h, w) of what lies there, 0 to 1, and its level."""
    half = reach_mm + NEIGHBOURS_MM[-1]
    stack = cut(volume, centre, layout, bounds_ras=np.stack([centre - half, centre + half]))
    probability = yield from _walk(stack, reach_mm, device)
    # Beside the scan its edge is repeated, and so would be a nodule there.
    grey = probability > FAINT / 2
    probability[grey] *= volume.contains(stack.pixels_ras(grey))
    return stack, *_under(stack, centre, probability)


def _walk(stack: SliceStack, reach_mm: float, device: torch.device | str) -> Generator[Tensor, Array, Array]:
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
        found = yield inputs(pixels[index], distance, torch.full_like(distance, step))
        probability[at] = found
        if middle in at:
            probability[middle] = found[at == middle].mean(0)
        furthest = {way: at[ways == way][-1] for way in ends if (ways == way).any()}
        ends = {way: int(end) for way, end in furthest.items() if (probability[end] > INSIDE).any()}
        batch = []


def _under(stack: SliceStack, point: Array, probability: Array) -> tuple[Array, float]:
    """The connected part of the outline that lies under the point, with its soft edge, and its level.

    Where no pixel within reach is above ``INSIDE``, the level is half of the highest probability there, and all
    probabilities are stretched so that it becomes ``INSIDE``; zeros and level 0 where even that is next to nothing.
    """
    level, seen = INSIDE, probability
    lowered = _distance_mm(stack, probability, point) > _reach(stack)
    if lowered:
        near = probability > FAINT
        near[near] = np.linalg.norm(stack.pixels_ras(near) - point, axis=-1) <= _reach(stack)
        if not near.any():
            return np.zeros_like(probability), 0.0
        seen = np.where(near, probability, 0)
        level = max(float(seen.max()) / 2, FAINT)
        # A power leaves 0 and 1 where they are.
        probability = probability ** (math.log(INSIDE) / math.log(level))
    inside = probability > INSIDE
    # Everything below happens in the box around the outline, with room for its soft edge.
    filled = [np.flatnonzero(inside.any(other)) for other in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(max(one[0] - 1, 0), one[-1] + 2) for one in filled)
    places = np.argwhere(inside[box])
    parts, _ = ndimage.label(inside[box], ndimage.generate_binary_structure(3, 2))
    # The nearest part; of faint ones that with the highest probability, since a speck may lie nearer.
    rank = -seen[inside] if lowered else np.linalg.norm(stack.pixels_ras(inside) - point, axis=-1)
    ours = parts == parts[tuple(places[rank.argmin()])]
    soft = ndimage.binary_dilation(ours, np.ones((1, 3, 3), bool)) & (ours | ~inside[box])
    outline = np.zeros_like(probability)
    outline[box] = np.where(soft, probability[box], 0)
    return outline, level


def _distance_mm(stack: SliceStack, probability: Array, point: Array) -> float:
    """From a point (RAS mm) to the nearest outlined pixel; infinite where none is."""
    inside = probability > INSIDE
    return float(np.linalg.norm(stack.pixels_ras(inside) - point, axis=-1).min()) if inside.any() else math.inf


def _reach(stack: SliceStack) -> float:
    """How far from a nodule its point may lie, mm: it may lie between two slices, too."""
    return max(REACH_MM, float(stack.step_mm[0]))


def _ball(volume: Volume, point: Array) -> Outline:
    """A small ball around a point: something to see and to edit where the network sees nothing at all."""
    half = BALL_MM + 2 * REACH_MM
    stack = cut(volume, point, LAYOUT, bounds_ras=np.stack([point - half, point + half]))
    radius = max(BALL_MM / 2, 0.6 * float(stack.step_mm[0]))
    distance = np.linalg.norm(stack.pixels_ras() - point, axis=-1)
    # One pixel from 1 to 0, as the edges that the network draws.
    outline = measure(stack, np.clip(INSIDE + (radius - distance) / (2 * LAYOUT.pixel_mm), 0, 1))
    assert outline is not None  # Its middle slice crosses the volume.
    return replace(outline, unsure=True)


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
