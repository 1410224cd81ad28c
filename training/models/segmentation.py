"""Training of the segmentation network: slices, points and outlines from crops and cubes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from scipy import ndimage
from torch import Tensor, nn

from NoduleRiskLib.imaging.outline import INSIDE
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.segmentation import LAYOUT, REACH_MM, SegmentationUNet, context, inputs

from ..checkpoints import digest, key_of
from ..data.context_synthesis import ContextStacks
from ..data.crops import SAMPLE_PATIENT, WIDE
from .precision import half_where_fast
from .training_loop import LossAt, Recipe, Schedule, train

MARGIN = (WIDE.pixels - LAYOUT.pixels) // 2
#: A smaller blob of tissue in a slice may be a vessel's cross-section; a larger one is chest wall, heart or liver.
VESSEL_RADIUS_MM = 4.5


@dataclass(frozen=True)
class SegmentationSettings:
    """Settings of one training run of the segmentation network.

    Attributes
    ----------
    epochs, batch, learning_rate, seed
        As usual; a batch counts slices.
    crop_slices, cube_slices : (int, int)
        Slices per epoch of each crop and of each cube: with the point in the nodule, and elsewhere.
    """

    epochs: int = 8
    batch: int = 32
    learning_rate: float = 2e-3
    crop_slices: tuple[int, int] = (4, 2)
    cube_slices: tuple[int, int] = (24, 16)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Example:
    """One slice with its context (8, 64, 64), how far it lies from the point's slice, and what is outlined."""

    slices: Array
    distance_mm: float
    step_mm: float
    outline: Array


def train_segmentation(
    name: str,
    crops: Sequence[ContextStacks],
    cubes: ContextStacks,
    settings: SegmentationSettings,
    folder: Path,
    console: Console,
) -> SegmentationUNet:
    """Train on all nodules that are given, or go on with a run that was stopped.

    Parameters
    ----------
    name : str
        Of the run, such as its fold; it seeds the run, too.
    crops : sequence of ContextStacks
        The same crops in different surroundings: each epoch takes one of them for each crop.
    cubes : ContextStacks
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
        examples = _epoch(crops, cubes, settings, rng)

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
        key=key_of(settings, run=name, nodules=digest(cubes.key, *(one.key for one in crops))),
        schedule=Schedule((settings.epochs,), settings.learning_rate, warm_up=20),
        optimizer=torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.01),
        seed=torch_seed,
        random=lambda epoch: np.random.default_rng([*seed, epoch]),
        begin=begin,
        batch=settings.batch,
    )
    return train(network, recipe, folder, console)


def without(nodules: ContextStacks, fold: int) -> ContextStacks:
    """The nodules that a fold's network may learn from: no patient of that fold, never the sample's."""
    keep = (nodules.table.fold != fold) & (nodules.table.patient_id != SAMPLE_PATIENT)
    return replace(
        nodules,
        table=nodules.table[keep].reset_index(drop=True),
        first=nodules.first[keep],
        last=nodules.last[keep],
    )


def outline_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice of the slices that hold a nodule; both (N, h, w)."""
    cross = nn.functional.binary_cross_entropy_with_logits(logits, target)
    found, wanted = logits.sigmoid().flatten(1), target.flatten(1)
    # Where nothing is to be found, a few hundred faintly grey pixels are no mistake yet.
    slack = torch.where(wanted.amax(1) > 0, 1.0, 20.0)
    dice = (2 * (found * wanted).sum(1) + slack) / (found.sum(1) + wanted.sum(1) + slack)
    return 10 * cross + (1 - dice).mean()


def _epoch(
    crops: Sequence[ContextStacks], cubes: ContextStacks, settings: SegmentationSettings, rng: np.random.Generator
) -> list[Example]:
    examples: list[Example] = []
    for variants, (inside, elsewhere) in ((crops, settings.crop_slices), ((cubes,), settings.cube_slices)):
        for index in range(len(variants[0].table)):
            nodule = _Nodule(variants[int(rng.integers(len(variants)))], index)
            examples += _in_nodule(nodule, inside, rng)
            examples += _elsewhere(nodule, elsewhere, rng)
    rng.shuffle(examples)
    return examples


class _Nodule:
    """A nodule's slices and consensus, ready to be cut around any point."""

    def __init__(self, nodules: ContextStacks, index: int) -> None:
        here = slice(int(nodules.first[index]), int(nodules.last[index]))
        self.pixels = nodules.pixels[here]
        self.share = nodules.share[here]
        self.offset = nodules.offset_mm[here]
        self.step = float(np.abs(np.diff(self.offset)).mean()) if len(self.offset) > 1 else 5.0
        # At least half of the readers; half a grey value of interpolation is no disagreement.
        self.consensus = self.share >= 126

    def example(self, z: int, p: int, shift: Array, outlined: bool, rng: np.random.Generator) -> Example:
        """Slice z seen from a point on slice p, ``shift`` pixels off the centre."""
        way = int(np.sign(z - p)) or int(rng.choice([-1, 1]))
        index = context(np.array([z]), np.array([way]), p, self.step, 0, len(self.offset) - 1)[0]
        outline = _window(self.consensus[z], shift).astype(np.float32)
        return Example(
            _window(self.pixels[index], shift),
            abs(float(self.offset[z] - self.offset[p])),
            self.step,
            outline if outlined else np.zeros_like(outline),
        )


def _in_nodule(nodule: _Nodule, count: int, rng: np.random.Generator) -> list[Example]:
    """A point where a user might put it; slices through the nodule, its ends and what lies beyond."""
    holds = np.flatnonzero(nodule.consensus.any((1, 2)))
    if not len(holds):
        return []
    across = 2 * np.sqrt(nodule.consensus.sum((1, 2)).max() / np.pi) * LAYOUT.pixel_mm
    miss = rng.normal(size=3)
    miss *= max(REACH_MM, across / 4) * rng.random() ** (1 / 3) / np.linalg.norm(miss)
    p = int(holds[np.argmin(np.abs(nodule.offset[holds] - miss[2]))])
    shift = np.round(miss[:2] / LAYOUT.pixel_mm).astype(int)
    # Mostly from the nodule and 6 mm about it, and its ends above all: there vessels run on.
    low, high = nodule.offset[holds[0]], nodule.offset[holds[-1]]
    from_end = np.minimum(np.abs(nodule.offset - low), np.abs(nodule.offset - high))
    weight = np.where((nodule.offset >= low - 6) & (nodule.offset <= high + 6), 2.0, 0.3) + 2.0 * (from_end < 3)
    chosen = rng.choice(len(weight), min(count, len(weight)), replace=False, p=weight / weight.sum())
    return [nodule.example(int(z), p, shift, True, rng) for z in chosen]


def _elsewhere(nodule: _Nodule, count: int, rng: np.random.Generator) -> list[Example]:
    """Points beside the nodule: more than half on vessels, the rest on chest wall and lung; nothing to outline."""
    examples = []
    near = ndimage.binary_dilation((nodule.share > 0).any(0), iterations=6)
    inner = slice(WIDE.pixels // 2 - MARGIN, WIDE.pixels // 2 + MARGIN)
    for _ in range(count):
        p = int(rng.integers(len(nodule.offset)))
        free = np.zeros_like(near)
        free[inner, inner] = ~near[inner, inner]
        places = np.argwhere(tissues(nodule.pixels[p])[int(rng.choice(3, p=[0.6, 0.2, 0.2]))] & free)
        if not len(places):
            continue
        shift = places[rng.integers(len(places))] - WIDE.pixels // 2
        reach = max(1, round(8 / nodule.step))
        z = int(np.clip(p + round(rng.triangular(-reach, 0, reach)), 0, len(nodule.offset) - 1))
        examples.append(nodule.example(z, p, shift, False, rng))
    return examples


def tissues(image: Array) -> tuple[Array, Array, Array]:
    """Which pixels of a slice (HU, (h, w), as ``WIDE`` cuts it) are vessels, chest wall (or heart, liver) and lung."""
    tissue = image > -500
    thick = ndimage.distance_transform_edt(tissue) > VESSEL_RADIUS_MM / WIDE.pixel_mm
    from_thick = ndimage.distance_transform_edt(~thick) if thick.any() else np.full(tissue.shape, np.inf)
    wall = tissue & (from_thick <= VESSEL_RADIUS_MM / WIDE.pixel_mm + 1)
    return tissue & ~wall, wall, ~tissue


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
    return x.to(memory_format=torch.channels_last), (slices[:, -1] > INSIDE).float()
