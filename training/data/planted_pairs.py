"""Nodules and their twins with something planted, as batches that differ in nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.nodule_vit import Batch

from . import planted_signs
from .augmentation import compose
from .found_outlines import FoundOutlines
from .look_alikes import INNOCENT
from .planted_signs import SIGNS
from .planting import MOVES, TRAINING, Planted, Ranges, Subject

#: Of the twins, so many carry a look-alike that must move nothing.
INNOCENT_SHARE = 0.4
#: How often each sign and each look-alike is planted: what is hardest to learn, more often.
WEIGHTS: Mapping[str, float] = {
    "spicules": 5.0,
    "lobes": 4.0,
    "blurred margin": 2.0,
    "calcium": 3.0,
    "ground glass": 2.0,
    "fissure": 3.0,
    "vessel in": 2.0,
    "vessel by": 2.0,
    "pleural tag": 1.5,
    "resampled": 2.0,
}
#: Less than this (grade units; diameter: log2 mm) is no lesson.
WORTH: Mapping[str, float] = {"spiculation": 0.8, "lobulation": 0.6, "diameter": 0.05}
#: Slices without outline that are kept at either end, for lobes that grow into them.
MARGIN = 2


@dataclass(frozen=True, eq=False)
class Pairs:
    """P nodules before and after something was planted.

    Attributes
    ----------
    before, after : Batch
    moves : float32 (P, 10)
        What each of ``MOVES`` must change by, in grade units (diameter: log2 mm; presence: logit); NaN: it is free.
    named : bool (P, 10)
        What the sign is about.
    clean : bool (P, 10)
        Whether the readers saw no such sign in the nodule itself.
    pattern : int64 (P,)
        The planted calcification pattern, -1 where none.
    zoom : float64 (P,)
        How much augmentation enlarged them.
    at : list of (int, int)
        Of drawn ones: which of the parts, which row.
    """

    before: Batch
    after: Batch
    moves: Tensor
    named: Tensor
    clean: Tensor
    pattern: Tensor
    zoom: Array
    at: list[tuple[int, int]] = field(default_factory=list)

    def to(self, device: torch.device | str) -> Pairs:
        """The same on ``device``."""
        tensors = ("before", "after", "moves", "named", "clean", "pattern")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})


class Twin(NamedTuple):
    """A nodule, what was planted into it, and where it is: which of the parts, which row."""

    subject: Subject
    planted: Planted
    at: tuple[int, int]


def subject_of(source: FoundOutlines, index: int) -> Subject | None:
    """One nodule to plant into, with all its outlines, readers' mean first; ``None`` if readers agree on no pixel."""
    here = slice(int(source.first[index]), int(source.first[index + 1]))
    share = source.share[here]
    # Half of the readers is enough.
    often = 1.02 / max(int(share.any((0, 2, 3)).sum()), 1)
    mean = np.minimum(np.round(share.sum(1, keepdims=True, dtype=np.float32) * often), 255).astype(np.uint8)
    outlines = np.concatenate([mean, share, source.found[here]], 1)
    if not (mean > 127).any():
        return None
    drawn = np.flatnonzero((outlines > 127).any((1, 2, 3)))
    low, high = max(drawn[0] - MARGIN, 0), drawn[-1] + MARGIN + 1
    kept = slice(here.start + low, min(here.start + high, here.stop))
    return Subject(
        source.pixels[kept].astype(np.float32),
        outlines[low:high],
        source.offset_mm[kept].astype(np.float64),
        source.grades[index],
    )


def eligible(parts: Sequence[FoundOutlines], at: Sequence[tuple[int, int]]) -> dict[str, list[tuple[int, int]]]:
    """By sign: the nodules, given as (which of ``parts``, which row), that it can be planted into."""
    able: dict[str, list[tuple[int, int]]] = {name: [] for name in (*SIGNS, *INNOCENT)}
    nothing = np.zeros((0, 0, 0))
    for part, row in at:
        stub = Subject(nothing, nothing, nothing, parts[part].grades[row])
        for name, rows in able.items():
            if planted_signs.fits(name, stub):
                rows.append((part, row))
    return able


def plant(
    parts: Sequence[FoundOutlines],
    able: Mapping[str, Sequence[tuple[int, int]]],
    rng: np.random.Generator,
    ranges: Ranges = TRAINING,
) -> Twin:
    """Some sign or look-alike in some nodule."""
    signs = [name for name in SIGNS if able[name]]
    while True:
        innocent = rng.random() < INNOCENT_SHARE
        names = [*INNOCENT] if innocent else signs
        weights = np.array([WEIGHTS.get(name, 1.0) for name in names])
        name = str(rng.choice(names, p=weights / weights.sum()))
        part, row = able[name][int(rng.integers(len(able[name])))]
        subject = subject_of(parts[part], row)
        if subject is None:
            continue
        planted = (SIGNS | INNOCENT)[name](subject, rng, ranges)
        # Where a sign found no room, there is nothing to learn.
        if innocent or any(abs(value) > WORTH.get(move, 0.3) for move, value in planted.moves.items()):
            # Without what was worked out on the way, and in whole HU: thousands of them are kept.
            before, after = (np.round(one.pixels).astype(np.int16) for one in (subject, planted))
            return Twin(replace(subject, pixels=before), replace(planted, pixels=after), (part, row))


def augmented(twins: Sequence[Twin], rng: np.random.Generator, layout: Layout) -> Pairs:
    """Nodules and their twins, both augmented in the same way."""
    pairs = as_pairs([(one.subject, one.planted) for one in twins], layout, int(rng.integers(2**31)))
    return replace(pairs, at=[one.at for one in twins])


def as_pairs(chosen: Sequence[tuple[Subject, Planted]], layout: Layout, seed: int | None = None) -> Pairs:
    """Subjects and their twins as batches; augmented alike with ``seed``, as they are without."""
    both = []
    for images in (
        [(subject.pixels, subject.outlines, subject.offset_mm) for subject, _ in chosen],
        [
            (one.pixels, one.outlines, subject.offset_mm if one.offset_mm is None else one.offset_mm)
            for subject, one in chosen
        ],
    ):
        rng = np.random.default_rng(seed)
        rows = [(0, i) for i in range(len(chosen))]
        batch, zoom = compose([_as_found(images)], rows, rng, seed is not None, layout)
        both.append(batch)
    moves = np.zeros((len(chosen), len(MOVES)), np.float32)
    for row, (_, one) in enumerate(chosen):
        for name in one.free:
            moves[row, MOVES.index(name)] = np.nan
        for name, value in one.moves.items():
            moves[row, MOVES.index(name)] = value
    named = [[name in one.moves for name in MOVES] for _, one in chosen]
    pattern = torch.tensor([one.pattern for _, one in chosen])
    clean = torch.tensor([[planted_signs.clean(name, subject) for name in MOVES] for subject, _ in chosen])
    return Pairs(both[0], both[1], torch.as_tensor(moves), torch.tensor(named), clean, pattern, zoom)


def joined(pairs: Pairs) -> Batch:
    """Before and after as one batch of 2 P nodules."""
    width = max(pairs.before.valid.shape[1], pairs.after.valid.shape[1])

    def padded(one: Tensor) -> Tensor:
        if one.ndim < 2 or one.shape[1] == width:
            return one
        return torch.cat([one, one.new_zeros(len(one), width - one.shape[1], *one.shape[2:])], 1)

    of_slices = [name for name in Batch._fields if not name.endswith("_features")]
    batches = [
        batch._replace(**{name: padded(getattr(batch, name)) for name in of_slices})
        for batch in (pairs.before, pairs.after)
    ]
    return Batch(*(torch.cat(both) for both in zip(*batches, strict=True)))


def _as_found(images: Sequence[tuple[Array, Array, Array]]) -> FoundOutlines:
    readers = 4
    return FoundOutlines(
        table=pd.DataFrame(),
        pixels=np.concatenate([pixels for pixels, _, _ in images]),
        share=np.concatenate([outlines[:, 1 : 1 + readers] for _, outlines, _ in images]),
        found=np.concatenate([outlines[:, 1 + readers :] for _, outlines, _ in images]),
        offset_mm=np.concatenate([offset_mm for _, _, offset_mm in images]).astype(np.float32),
        first=np.cumsum([0, *(len(pixels) for pixels, _, _ in images)]),
    )
