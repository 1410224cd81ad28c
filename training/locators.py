"""Train the locators: slices, points and outlines from crops and cubes, and a U-Net for each fold."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from scipy import ndimage
from torch import Tensor, nn

from NoduleRiskLib.extent import INSIDE
from NoduleRiskLib.locate import LAYOUT, REACH_MM, Locator, inputs
from NoduleRiskLib.volume import Array

from .crops import SAMPLE_PATIENT, WIDE, Stacks

MARGIN = (WIDE.pixels - LAYOUT.pixels) // 2


@dataclass(frozen=True)
class LocatorRun:
    """One training run of the locators.

    Attributes
    ----------
    epochs, batch, learning_rate, seed
        As usual; a batch counts slices.
    crop_slices, cube_slices : int
        Slices of each crop and of each cube read with the point in the nodule, each epoch.
    """

    epochs: int = 7
    batch: int = 64
    learning_rate: float = 2e-3
    crop_slices: int = 3
    cube_slices: int = 14
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Example:
    """One slice, its neighbour on the point's side and the point's slice, (64, 64) each, and what is outlined."""

    pixels: Array
    nearer: Array
    at_point: Array
    distance_mm: float
    outline: Array


def train_locator(fold: int, crops: Stacks, cubes: Stacks, run: LocatorRun, folder: Path, console: Console) -> Locator:
    """Train on every patient outside ``fold`` (and never on the sample's); resumes from ``folder``.

    Nodules of one or two readers take part in every second epoch.
    """
    torch.manual_seed(run.seed + fold)
    locator = Locator().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(locator.parameters(), lr=run.learning_rate, weight_decay=0.01)
    state_file = folder / f"locator-{fold}.pt"
    start = 0
    if state_file.is_file():
        state = torch.load(state_file, weights_only=True)
        locator.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["epoch"]
    for epoch in range(start, run.epochs):
        rng = np.random.default_rng([run.seed, fold, epoch])
        examples = _epoch(fold, crops, cubes, run, rng, epoch)
        steps = len(examples) // run.batch
        locator.train()
        total = 0.0
        for step in range(steps):
            progress = (epoch + step / steps) / run.epochs
            rate = run.learning_rate * min(1.0, progress * 10) * 0.5 * (1 + math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = rate
            x, target = _batch(examples[step * run.batch : (step + 1) * run.batch], rng)
            with torch.autocast(x.device.type, torch.bfloat16):
                logits = locator(x)
            loss = outline_loss(logits.float(), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        console.print(f"locator, fold {fold}, epoch {epoch + 1}/{run.epochs}: loss {total / max(steps, 1):.4f}")
        _save({"model": locator.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}, state_file)
    return locator.eval()


def outline_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice of the slices that hold a nodule; both (N, h, w)."""
    cross = nn.functional.binary_cross_entropy_with_logits(logits, target)
    holds = target.flatten(1).amax(1) > 0
    found, wanted = logits[holds].sigmoid().flatten(1), target[holds].flatten(1)
    dice = (2 * (found * wanted).sum(1) + 1) / (found.sum(1) + wanted.sum(1) + 1)
    return 10 * cross + (1 - dice).mean() if holds.any() else 10 * cross


def _epoch(
    fold: int, crops: Stacks, cubes: Stacks, run: LocatorRun, rng: np.random.Generator, epoch: int
) -> list[Example]:
    examples: list[Example] = []
    for stacks, count in ((crops, run.crop_slices), (cubes, run.cube_slices)):
        table = stacks.table
        trains = (table.fold != fold) & (table.patient_id != SAMPLE_PATIENT)
        turn = table.in_luna16_reference | ((np.arange(len(table)) + epoch) % 2 == 0)
        for index in np.flatnonzero(trains & turn):
            nodule = _Nodule(stacks, int(index))
            examples += _in_nodule(nodule, count, rng)
            examples += _shifted_aside(nodule, max(1, count // 6), rng)
            examples += _elsewhere(nodule, max(1, count // 4), rng)
            examples += _another_scan(nodule, cubes, trains_fold=fold, count=max(1, count // 6), rng=rng)
    rng.shuffle(examples)
    return examples


class _Nodule:
    """A nodule's slices and consensus, ready to be cut around any point."""

    def __init__(self, stacks: Stacks, index: int) -> None:
        self.here = slice(int(stacks.first[index]), int(stacks.first[index + 1]))
        self.pixels = stacks.pixels[self.here]
        self.share = stacks.share(self.here)
        self.offset = stacks.offset_mm[self.here]
        self.diameter = float(stacks.table.diameter.iloc[index])
        # At least half of the readers; half a grey value of interpolation is no disagreement.
        self.consensus = self.share >= 0.5 - 2 / 255

    def example(self, z: int, p: int, shift: Array, aside: Array | None = None) -> Example:
        """Slice z seen from a point on slice p, ``shift`` pixels off the centre; ``aside``: slice z moved away."""
        nearer = z - int(np.sign(z - p))
        moved = shift if aside is None else aside
        outline = _window(self.consensus[z], shift).astype(np.float32)
        return Example(
            _window(self.pixels[z], moved),
            _window(self.pixels[nearer], moved),
            _window(self.pixels[p], shift),
            abs(float(self.offset[z] - self.offset[p])),
            outline if aside is None else np.zeros_like(outline),
        )


def _in_nodule(nodule: _Nodule, count: int, rng: np.random.Generator) -> list[Example]:
    """A point where a hand might put it; slices through the nodule, its ends and what lies beyond."""
    holds = np.flatnonzero(nodule.consensus.any((1, 2)))
    if not len(holds):
        return []
    miss = rng.normal(size=3)
    miss *= max(REACH_MM, nodule.diameter / 4) * rng.random() ** (1 / 3) / np.linalg.norm(miss)
    p = holds[np.argmin(np.abs(nodule.offset[holds] - miss[2]))]
    shift = np.round(miss[:2] / LAYOUT.pixel_mm).astype(int)
    # Two in three slices from the nodule and 6 mm about it, the rest from anywhere.
    low, high = nodule.offset[holds[0]] - 6, nodule.offset[holds[-1]] + 6
    weight = np.where((nodule.offset >= low) & (nodule.offset <= high), 3.0, 0.5)
    chosen = rng.choice(len(weight), min(count, len(weight)), replace=False, p=weight / weight.sum())
    return [nodule.example(int(z), int(p), shift) for z in chosen]


def _shifted_aside(nodule: _Nodule, count: int, rng: np.random.Generator) -> list[Example]:
    """Slices as they might look beyond the nodule's end: the nodule's own, but moved out of the point's way."""
    away = (nodule.diameter / 2 + 4) / LAYOUT.pixel_mm
    holds = np.flatnonzero(nodule.consensus.any((1, 2)))
    if away > MARGIN or len(nodule.offset) < 2 or not len(holds):
        return []
    examples = []
    for _ in range(count):
        p = int(rng.choice(holds))
        z = int(rng.choice([z for z in range(len(nodule.offset)) if z != p]))
        angle = rng.uniform(0, 2 * np.pi)
        aside = np.round(np.array([np.sin(angle), np.cos(angle)]) * rng.uniform(away, MARGIN)).astype(int)
        examples.append(nodule.example(z, p, np.zeros(2, int), aside))
    return examples


def _elsewhere(nodule: _Nodule, count: int, rng: np.random.Generator) -> list[Example]:
    """Points beside the nodule, on vessels and chest wall more than on lung: nothing to outline."""
    examples = []
    for _ in range(count):
        p = int(rng.integers(len(nodule.offset)))
        near = ndimage.binary_dilation((nodule.share > 0).any(0), iterations=6)
        free = ~near[16:-16, 16:-16]
        tissue = free & (nodule.pixels[p, 16:-16, 16:-16] > -600)
        places = np.argwhere(tissue if tissue.any() and rng.random() < 0.75 else free)
        if not len(places):
            continue
        shift = np.clip(places[rng.integers(len(places))] + 16 - WIDE.pixels // 2, -MARGIN, MARGIN)
        z = int(np.clip(p + rng.integers(-2, 3), 0, len(nodule.offset) - 1))
        example = nodule.example(z, p, shift)
        middle = LAYOUT.pixels // 2
        if not example.outline[middle - 4 : middle + 4, middle - 4 : middle + 4].any():
            examples.append(Example(**{**vars(example), "outline": np.zeros_like(example.outline)}))
    return examples


def _another_scan(
    nodule: _Nodule, cubes: Stacks, trains_fold: int, count: int, rng: np.random.Generator
) -> list[Example]:
    """What lies beyond the nodule's end, borrowed from another patient's cube, far from that one's nodule."""
    table = cubes.table
    donors = np.flatnonzero((table.fold != trains_fold) & (table.patient_id != SAMPLE_PATIENT))
    holds = np.flatnonzero(nodule.consensus.any((1, 2)))
    if not len(donors) or not len(holds):
        return []
    examples = []
    for _ in range(count):
        donor = _Nodule(cubes, int(rng.choice(donors)))
        empty = np.flatnonzero(~(donor.share > 0).any((1, 2)))
        if not len(empty):
            continue
        z, p = int(rng.choice(empty)), int(rng.choice(holds))
        centre = np.zeros(2, int)
        near = min(max(z + int(rng.choice([-1, 1])), 0), len(donor.offset) - 1)
        pixels = _window(donor.pixels[z], centre)
        end = int(holds[-1 if rng.random() < 0.5 else 0])
        beyond = abs(float(nodule.offset[end] - nodule.offset[p])) + rng.uniform(1, 4)
        # Right beyond the end the neighbour on the point's side still is the nodule's own last slice.
        nearer = nodule.pixels[end] if rng.random() < 0.3 else donor.pixels[near]
        examples.append(
            Example(
                pixels,
                _window(nearer, centre),
                _window(nodule.pixels[p], centre),
                beyond,
                np.zeros(pixels.shape, np.float32),
            )
        )
    return examples


def _window(image: Array, shift: Array) -> Array:
    row, column = np.clip(MARGIN + shift, 0, 2 * MARGIN)
    return image[row : row + LAYOUT.pixels, column : column + LAYOUT.pixels]


def _batch(examples: list[Example], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and targets of the examples, each turned and mirrored at random, with a scanner's noise."""
    turned = []
    for example in examples:
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        arrays = np.stack([example.pixels, example.nearer, example.at_point, example.outline]).astype(np.float32)
        arrays = np.rot90(arrays, turns, (1, 2))
        arrays = arrays[:, :, ::-1] if mirror else arrays
        if rng.random() < 0.5:
            arrays = arrays.copy()
            arrays[:3] += rng.normal(0, 15) + rng.normal(0, rng.uniform(0, 40), arrays[:3].shape)
        turned.append(arrays)
    slices = torch.as_tensor(np.stack(turned))
    distance = torch.tensor([example.distance_mm for example in examples])
    x = inputs(slices[:, 0], slices[:, 1], slices[:, 2], distance)
    return x.to(memory_format=torch.channels_last), (slices[:, 3] > INSIDE).float()


def _save(state: dict[str, object], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
