"""Training of the segmentation network: slices, points and outlines from crops and cubes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from scipy import ndimage
from torch import Tensor, nn

from NoduleRiskLib.imaging.outline import INSIDE
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.segmentation import LAYOUT, REACH_MM, SegmentationUNet, context, inputs

from ..checkpoints import key_of
from ..data.context_synthesis import ContextStacks
from ..data.crops import WIDE
from ..data.surroundings import Surroundings
from .precision import half_where_fast
from .training_loop import LossAt, Recipe, Schedule, train

#: Readers' mean texture below this: part-solid or ground glass. Wider nodules than ``LARGE_MM`` are as few.
GROUND_GLASS, LARGE_MM = 3.5, 15.0
#: What is left where a nodule is made faint.
LUNG_HU = -860.0
MARGIN = (WIDE.pixels - LAYOUT.pixels) // 2


@dataclass(frozen=True)
class SegmentationSettings:
    """Settings of one training run of the segmentation network.

    Attributes
    ----------
    epochs, batch, learning_rate, seed
        As usual; a batch counts slices.
    crop_slices, implant_slices, cube_slices, whole_slices : int
        Slices per epoch of each crop in synthetic lung, of each in another patient's lung, of each cube and of each
        nodule in a whole CT.
    level : float
        The share of readers who marked a pixel is learned; where it is larger than this, the outline is drawn. Below
        one half, since one reader's diameter is larger on average than that of what half of them agree on.
    rare : int
        So many times as many slices of nodules of ground glass or wider than ``LARGE_MM``, which are few.
    faded : float
        Share of the nodules that are made fainter than they are.
    """

    epochs: int = 10
    batch: int = 32
    learning_rate: float = 2e-3
    crop_slices: int = 4
    implant_slices: int = 2
    cube_slices: int = 24
    whole_slices: int = 24
    level: float = 0.4
    rare: int = 3
    faded: float = 0.2
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Example:
    """One slice with its context (8, 64, 64), how far it lies from the point's slice, and what is outlined."""

    slices: Array
    distance_mm: float
    step_mm: float
    outline: Array


def train_segmentation(
    name: str, nodules: Surroundings, settings: SegmentationSettings, folder: Path, console: Console
) -> SegmentationUNet:
    """Train on all nodules that are given, or go on with a run that was stopped.

    Every point lies on a nodule: the network says which pixels are the nodule's, never whether there is one.

    Parameters
    ----------
    name : str
        Of the run, such as its fold; it seeds the run, too.
    nodules : Surroundings
    settings : SegmentationSettings
    folder : Path
        Where the state is kept.
    console : Console
    """
    seed = (settings.seed, *name.encode())
    torch_seed = int(np.random.default_rng(seed).integers(2**31))
    torch.manual_seed(torch_seed)
    network = SegmentationUNet().to(memory_format=torch.channels_last)

    def begin(rng: np.random.Generator, losses: object) -> tuple[int, LossAt]:
        examples = _epoch(nodules, settings, rng)

        def loss_at(step: int) -> tuple[Tensor, Tensor]:
            x, target = _batch(examples[step * settings.batch : (step + 1) * settings.batch], rng)
            with half_where_fast("cpu"):
                logits = network(x)
            loss = outline_loss(logits.float(), target)
            return loss, loss[None]

        return len(examples) // settings.batch, loss_at

    recipe = Recipe(
        kind="segmentation",
        name=name,
        key=key_of(settings, run=name, nodules=nodules.key),
        schedule=Schedule((settings.epochs,), settings.learning_rate, warm_up=20),
        optimizer=torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.01),
        seed=torch_seed,
        random=lambda epoch: np.random.default_rng([*seed, epoch]),
        begin=begin,
        batch=settings.batch,
    )
    network = train(network, recipe, folder, console)
    bias = network.last.bias
    assert bias is not None
    with torch.no_grad():
        bias += math.log(INSIDE / (1 - INSIDE)) - math.log(settings.level / (1 - settings.level))
    return network


def outline_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice of the slices that hold a nodule; both (N, h, w)."""
    cross = nn.functional.binary_cross_entropy_with_logits(logits, target)
    found, wanted = logits.sigmoid().flatten(1), target.flatten(1)
    # Where nothing is to be found, a few hundred faintly grey pixels are no mistake yet.
    slack = torch.where(wanted.amax(1) > 0, 1.0, 20.0)
    dice = (2 * (found * wanted).sum(1) + slack) / (found.sum(1) + wanted.sum(1) + slack)
    return 10 * cross + (1 - dice).mean()


def _epoch(nodules: Surroundings, settings: SegmentationSettings, rng: np.random.Generator) -> list[Example]:
    examples: list[Example] = []
    for variants, count in (
        (nodules.synthetic, settings.crop_slices),
        ((nodules.implanted,), settings.implant_slices),
        ((nodules.cubes,), settings.cube_slices),
        ((nodules.whole,), settings.whole_slices),
    ):
        for index in range(len(variants[0].table) if variants[0] else 0):
            one = variants[int(rng.integers(len(variants)))]
            assert one is not None
            examples += _in_nodule(_Nodule(one, index, settings, rng), count, settings.rare, rng)
    rng.shuffle(examples)
    return examples


class _Nodule:
    """A nodule's slices and consensus, ready to be cut around any point."""

    def __init__(
        self, nodules: ContextStacks, index: int, settings: SegmentationSettings, rng: np.random.Generator
    ) -> None:
        here = slice(int(nodules.first[index]), int(nodules.last[index]))
        self.pixels = nodules.pixels[here]
        self.offset = nodules.offset_mm[here]
        self.step = float(np.abs(np.diff(self.offset)).mean()) if len(self.offset) > 1 else 5.0
        self.glass = nodules.table.mean_texture[index] < GROUND_GLASS
        share = nodules.share[here]
        # At least half of the readers; half a grey value of interpolation is no disagreement.
        self.consensus = share >= 126
        self.target = share / np.float32(255)
        if not self.glass and rng.random() < settings.faded:
            self.pixels = faded(self.pixels, share, rng)

    def example(self, z: int, p: int, shift: Array, rng: np.random.Generator) -> Example:
        """Slice z seen from a point on slice p, ``shift`` pixels off the centre."""
        way = int(np.sign(z - p)) or int(rng.choice([-1, 1]))
        index = context(np.array([z]), np.array([way]), p, self.step, 0, len(self.offset) - 1)[0]
        return Example(
            _window(self.pixels[index], shift),
            abs(float(self.offset[z] - self.offset[p])),
            self.step,
            _window(self.target[z], shift).astype(np.float32),
        )


def faded(pixels: Array, share: Array, rng: np.random.Generator) -> Array:
    """Slices (HU, (n, h, w)) with the nodule (share of readers times 255) as faint as ground glass is."""
    over = ndimage.gaussian_filter((share > 0).astype(np.float32), (0, 1.5, 1.5))
    contrast = rng.uniform(0.2, 0.6)
    return np.asarray(pixels - np.clip(2 * over, 0, 1) * (1 - contrast) * np.maximum(pixels - LUNG_HU, 0.0), np.float32)


def _in_nodule(nodule: _Nodule, count: int, rare: int, rng: np.random.Generator) -> list[Example]:
    """A point where a user might put it; slices through the nodule, its ends and what lies beyond."""
    holds = np.flatnonzero(nodule.consensus.any((1, 2)))
    if not len(holds):
        return []
    across = 2 * np.sqrt(nodule.consensus.sum((1, 2)).max() / np.pi) * LAYOUT.pixel_mm
    if nodule.glass or across > LARGE_MM:
        count *= rare
    miss = rng.normal(size=3)
    miss *= max(REACH_MM, across / 4) * rng.random() ** (1 / 3) / np.linalg.norm(miss)
    p = int(holds[np.argmin(np.abs(nodule.offset[holds] - miss[2]))])
    shift = np.round(miss[:2] / LAYOUT.pixel_mm).astype(int)
    # Mostly from the nodule and 6 mm about it, and its ends above all: there vessels run on.
    low, high = nodule.offset[holds[0]], nodule.offset[holds[-1]]
    from_end = np.minimum(np.abs(nodule.offset - low), np.abs(nodule.offset - high))
    weight = np.where((nodule.offset >= low - 6) & (nodule.offset <= high + 6), 2.0, 0.3) + 2.0 * (from_end < 3)
    chosen = rng.choice(len(weight), min(count, len(weight)), replace=False, p=weight / weight.sum())
    return [nodule.example(int(z), p, shift, rng) for z in chosen]


def _window(images: Array, shift: Array) -> Array:
    row, column = np.clip(MARGIN + shift, 0, 2 * MARGIN)
    # A copy: a view would keep the whole wide image in memory.
    return images[..., row : row + LAYOUT.pixels, column : column + LAYOUT.pixels].copy()


def _batch(examples: list[Example], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and targets of the examples, each turned and mirrored at random, with a scanner's noise."""
    turned = []
    for example in examples:
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        arrays = np.concatenate([example.slices, example.outline[None]]).astype(np.float32)
        arrays = np.rot90(arrays, turns, (1, 2))
        arrays = arrays[:, :, ::-1] if mirror else arrays
        if rng.random() < 0.5:
            arrays = arrays.copy()
            arrays[:-1] += rng.normal(0, 15)
            # The same noise in all slices of the context would give repeated ones away; so it is each one's own.
            arrays[:-1] += rng.uniform(0, 40) * rng.standard_normal(arrays[:-1].shape, np.float32)
        turned.append(arrays)
    slices = torch.as_tensor(np.stack(turned))
    distance = torch.tensor([example.distance_mm for example in examples])
    step = torch.tensor([example.step_mm for example in examples])
    x = inputs(slices[:, :-1], distance, step)
    return x.to(memory_format=torch.channels_last), slices[:, -1]
