"""Faithfulness of the heatmaps: every method and control on nodules that the grader never saw, one file per nodule."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from scipy.ndimage import gaussian_filter

from NoduleRiskLib.explain.heatmaps import EVIDENCE, WITHOUT_EVIDENCE, default_pixels, explain, slice_weights
from NoduleRiskLib.explain.pixel_attribution import PIXEL_METHODS, gradient
from NoduleRiskLib.explain.slice_attribution import SLICE_METHODS, head_relevance, leave_one_out
from NoduleRiskLib.imaging.outline import Outline
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout, SliceStack
from NoduleRiskLib.imaging.volume import Array
from NoduleRiskLib.networks.model_package import ModelPackage
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate

from ..checkpoints import CORRUPT, corrupt
from ..data.crops import SAMPLE_PATIENT, Nodule, nodule_table, read_nodule
from ..data.found_outlines import consensus
from .heatmap_scores import (
    NINE,
    beside,
    block_curves,
    blocks_of,
    gaussian,
    own,
    placed,
    rank_correlation,
    rim_share,
    shuffled,
    similarity,
    slice_curves,
    smooth_outline,
)

#: How far (mm) the point is moved for the retest.
JITTER_MM = 1.0
#: The heatmap of the release before this was measured, and the default without the outline's part in it.
FIRST, IMAGE = "0.1.0", f"{WITHOUT_EVIDENCE}, image alone"
#: A control that follows the outline and never uses the grader: what it reaches is no merit of a method.
OUTLINE = "outline alone"


def nodules_of(data: Path, fold: int, count: int) -> Iterator[tuple[str, Nodule, Outline]]:
    """The first ``count`` of a fold's reference nodules in a fixed order: at least three slices, readers agree."""
    table = nodule_table(data)
    table = table[table.in_luna16_reference & (table.patient_id != SAMPLE_PATIENT) & (table.fold == fold)]
    found = 0
    for name in table.nodule_id.sample(frac=1, random_state=fold):
        nodule = read_nodule(data, name)
        outline = consensus(nodule)
        if outline is not None and outline.slices >= 3:
            yield name, nodule, outline
            found += 1
            if found == count:
                return


def stack_at(
    nodule: Nodule, outline: Outline, layout: Layout, off_mm: Array | Sequence[float] = (0, 0, 0)
) -> SliceStack:
    """The nodule's slices with the readers' outline, the point ``off_mm`` (RAS) beside its middle."""
    return cut(nodule.volume, outline.centre_ras + np.asarray(off_mm), layout, outline.bounds_ras, nodule.share())


def measure(
    name: str,
    nodule: Nodule,
    outline: Outline,
    grader: NoduleViT,
    other: NoduleViT,
    methods: Sequence[str] = (),
) -> dict[str, Array]:
    """All measurements of one nodule that the tables need, by name; ``other`` is another fold's grader."""
    methods, default = methods or pixel_methods(grader), default_pixels(grader)
    rng = np.random.default_rng([0, *name.encode()])
    stack = stack_at(nodule, outline, grader.config.layout)
    batch, valid = collate([stack]), stack.valid
    ball = gaussian(stack, outline.diameter_mm)
    values: dict[str, Array] = {"diameter": np.array(outline.diameter_mm), "slices": np.array(valid.sum())}

    weights = {way: slice_weights([grader], batch, way).numpy() for way in SLICE_METHODS}
    weights |= {
        "centred Gaussian": np.tile(-np.abs(stack.offset_mm[valid]), (NINE, 1)),
        "random": np.tile(rng.random(valid.sum()), (NINE, 1)),
    }
    for way, ranking in weights.items():
        values[f"slices/{way}"] = own(slice_curves(grader, stack, ranking))

    maps = {way: maps_of([grader], stack, way) for way in methods} | {FIRST: first_version(grader, stack)}
    noise = rng.random(ball[valid].shape)
    attention = weights["class attention"][0][:, None, None] + 1e-9 * noise
    controls = {
        "centred Gaussian": ball[valid],
        "random": noise,
        "class attention": attention,
        OUTLINE: smooth_outline(stack)[valid],
    }
    for way, map_ in controls.items():
        for kind, with_outline in (("blocks", True), ("image", False)):
            curves = block_curves(grader, stack, blocks_of(map_)[None], with_outline)[0]
            values[f"{kind}/{way}"] = np.moveaxis(curves, -1, 0)
    for way, each in maps.items():
        values[f"blocks/{way}"] = own(block_curves(grader, stack, blocks_of(each[:, valid])))
    for way in (default, IMAGE):
        if way in maps:
            values[f"image/{way}"] = own(block_curves(grader, stack, blocks_of(maps[way][:, valid]), outline=False))

    shift = beside(stack, rng)
    if shift is not None:
        moved = stack_at(nodule, outline, grader.config.layout, shift)
        for way in methods:
            values[f"placed/{way}"] = placed(moved, maps_of([grader], moved, way))
        values[f"placed/{FIRST}"] = placed(moved, first_version(grader, moved))
        values[f"placed/{OUTLINE}"] = np.tile(placed(moved, smooth_outline(moved)[None]), (NINE, 1))
        values["placed/centred Gaussian"] = placed(moved, gaussian(moved, outline.diameter_mm)[None])[0]

    jitter = rng.normal(size=3)
    again = stack_at(nodule, outline, grader.config.layout, jitter / np.linalg.norm(jitter) * JITTER_MM)
    for way in dict.fromkeys((default, "gradient")):
        values[f"retest/{way}"] = rank_correlation(stack, maps[way], again, maps_of([grader], again, way))
    fold = maps_of([other], stack, default)
    values["other fold"] = rank_correlation(stack, maps[default], stack, fold)
    for part, random in shuffled(grader, seed=len(name)):
        values[f"shuffled/{part}"] = similarity(maps[default], maps_of([random], stack, default))
    values["map"] = _strongest_slice(maps[default])
    values["rim"] = rim_share(stack, maps[default])
    # Maps of evidence may be empty; SciPy's own matrix is a single number if all of them are.
    values["between grades"] = np.nan_to_num(pd.DataFrame(maps[default][:, valid].reshape(NINE, -1).T).corr("spearman"))
    values["heads"] = np.asarray(head_relevance(grader, batch, grader.tokens(batch))[:, :, :, 0, 1:].abs().sum(-1))
    return values


def collect(
    data: Path, folder: Path, package: ModelPackage, count: int, folds: Sequence[int], console: Console
) -> dict[str, dict[str, Array]]:
    """``measure`` of the first ``count`` nodules of each fold, by nodule; what ``folder`` holds is read."""
    graders = package.networks().graders
    measured = {}
    for fold in folds:
        (folder / f"fold-{fold}").mkdir(parents=True, exist_ok=True)
        for name, nodule, outline in nodules_of(data, fold, count):
            path = folder / f"fold-{fold}" / f"{name}.npz"
            if not path.is_file():
                other = graders[(fold + 1) % len(graders)]
                values = measure(name, nodule, outline, graders[fold], other)
                unfinished = path.with_suffix(".part.npz")
                np.savez_compressed(unfinished, allow_pickle=False, **values)
                os.replace(unfinished, path)
                console.print(f"fold {fold}: {name}, {outline.slices} slices, {outline.diameter_mm:.1f} mm")
            try:
                with np.load(path) as arrays:
                    measured[name] = dict(arrays)
            except CORRUPT as error:
                raise corrupt(path) from error
    return measured


def cost(data: Path, package: ModelPackage, count: int = 5) -> dict[str, float]:
    """Processor time of all nine maps by each pixel method, in forward passes of the same grader."""
    graders = package.networks().graders
    methods = pixel_methods(graders[0])
    times: dict[str, list[float]] = {way: [] for way in methods}
    for _, nodule, outline in nodules_of(data, 0, count):
        stack = stack_at(nodule, outline, package.config.layout)
        batch = collate([stack])
        with torch.no_grad():
            forward = _seconds(partial(graders[0], batch), 10)
        for way in methods:
            times[way].append(_seconds(partial(explain, graders[:1], stack, pixels=way), 3) / forward)
    return {way: float(np.median(each)) for way, each in times.items()}


def pixel_methods(grader: NoduleViT) -> tuple[str, ...]:
    """What is compared: the maps of the evidence, where the grader has some, and all that is derived from gradients."""
    return (*([EVIDENCE] if grader.config.evidence else []), *PIXEL_METHODS)


def maps_of(graders: Sequence[NoduleViT], stack: SliceStack, pixels: str) -> Array:
    """The map that is laid over the CT for each grade, (9, S, h, w), 0 to 1."""
    return np.stack([heatmap.in_slice for heatmap in explain(graders, stack, pixels=pixels).values()])


def first_version(grader: NoduleViT, stack: SliceStack) -> Array:
    """The maps of version 0.1.0: slice weight times each slice's own gradient map, finely smoothed."""
    batch = collate([stack])
    fine = 1.4 / stack.layout.pixel_mm
    moves = gaussian_filter(gradient(grader, batch).abs().numpy(), (0, 0, fine, fine))
    moves /= np.maximum(moves.max((2, 3), keepdims=True), 1e-12)
    moves *= leave_one_out(grader, batch, grader.tokens(batch)).abs().numpy()[:, :, None, None]
    maps = np.zeros((NINE, *stack.pixels.shape), np.float32)
    maps[:, stack.valid] = moves / np.maximum(moves.max((1, 2, 3), keepdims=True), 1e-12)
    return maps


def _strongest_slice(maps: Array) -> Array:
    at = maps.max((2, 3)).argmax(1)
    return maps[np.arange(NINE), at].astype(np.float16)


def _seconds(work: Callable[[], object], times: int) -> float:
    """Processor seconds, the least of some tries: other work on the machine only adds."""
    work()
    took = []
    for _ in range(times):
        before = time.process_time()
        work()
        took.append(time.process_time() - before)
    return min(took)
