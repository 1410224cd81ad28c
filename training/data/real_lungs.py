"""Whole CTs around training nodules: nodules where they are, and crops put into the lungs of other patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track
from scipy import ndimage

from NoduleRiskLib.imaging.inputs import as_ct
from NoduleRiskLib.imaging.resampling import cut, sample
from NoduleRiskLib.imaging.volume import Array, Volume

from ..checkpoints import digest, read_arrays, write_arrays
from .context_synthesis import DEPTH_MM, ContextStacks
from .crops import WIDE, Nodule, data_key, nodule_table, read_nodule

#: How much of what is around a nodule goes with it into another lung, and over how much it fades out.
RIM_MM, FADE_MM = 1.5, 1.5
#: A nodule can be put elsewhere if so much of the ring around it is lung (HU below ``LUNG_HU``).
FREE, LUNG_HU = 0.75, -600
#: Readers' marks of one place lie nearer to each other than this.
SAME_PLACE_MM = 6.0


@dataclass(frozen=True, eq=False)
class LungCT:
    """A whole CT of a patient of the data set.

    Attributes
    ----------
    patient_id : str
    fold : int
        No network of this fold may see anything of it.
    volume : Volume
    nodules : DataFrame
        Rows of the data set on this CT with their place: ``nodule_id``, ``r``, ``a``, ``s`` (RAS mm).
    """

    patient_id: str
    fold: int
    volume: Volume
    nodules: pd.DataFrame


def lung_cts(data: Path) -> list[LungCT]:
    """The three whole CTs of training patients (``data/ct/lungs``); none where the data set has none."""
    folder = data / "ct" / "lungs"
    if not (folder / "points.csv").is_file():
        return []
    points = pd.read_csv(folder / "points.csv")
    folds = nodule_table(data).set_index("patient_id").fold.groupby(level=0).first()
    return [
        LungCT(str(patient), int(folds[patient]), as_ct(folder / file), own.reset_index(drop=True))
        for (file, patient), own in points.groupby(["file", "patient_id"])
    ]


def marks(data: Path, patient_id: str) -> pd.DataFrame:
    """What LIDC's readers marked as no nodule of 3 mm or more on a CT, one row a place: ``r``, ``a``, ``s``, ``kind``.

    ``kind`` is "non_nodule" where any reader said so, else "nodule_lt_3mm".
    """
    table = pd.read_csv(data / "ct" / "non_nodule_marks.csv")
    left = table[table.file.str.startswith(patient_id)].rename(columns={"r_mm": "r", "a_mm": "a", "s_mm": "s"})
    places = []
    while len(left):
        near = np.linalg.norm(left[["r", "a", "s"]] - left[["r", "a", "s"]].iloc[0], axis=1) <= SAME_PLACE_MM
        one = left[near]
        kind = "non_nodule" if (one.kind == "non_nodule").any() else "nodule_lt_3mm"
        places.append({**one[["r", "a", "s"]].mean().to_dict(), "kind": kind})
        left = left[~near]
    return pd.DataFrame(places, columns=["r", "a", "s", "kind"])


def in_place(data: Path, cts: Sequence[LungCT]) -> ContextStacks:
    """The nodules of the whole CTs where they are, with their readers' outlines."""
    table = nodule_table(data).set_index("nodule_id", drop=False)
    rows, parts = [], _no_parts()
    for ct in cts:
        for one in ct.nodules.itertuples():
            centre = np.array([one.r, one.a, one.s])
            share = read_nodule(data, one.nodule_id).share()
            matrix = share.ijk_to_ras.copy()
            matrix[:3, 3] += centre
            _add(parts, ct.volume, centre, Volume(share.array, matrix))
            rows.append(table.loc[one.nodule_id])
    placed = pd.DataFrame(rows).reset_index(drop=True)
    return _stacks(placed, parts, digest("in place", *placed.nodule_id))


def implanted(table: pd.DataFrame, data: Path, cts: Sequence[LungCT], folder: Path, seed: int) -> ContextStacks:
    """The nodules of ``table`` that lie free in the lung, each put somewhere into another patient's lung.

    The first call writes ``folder``, later ones read it. Column ``host_fold`` of the table: of the patient whose lung
    it is.
    """
    key = data_key(data) | {
        "nodules": f"{len(table)} ({digest(*table.nodule_id)})",
        "hosts": ", ".join(ct.patient_id for ct in cts),
        "seed": str(seed),
        "depth_mm": str(DEPTH_MM),
    }
    if not folder.exists():
        places = [deep_places(ct) for ct in cts]
        rows, parts = [], _no_parts()
        for row in track(table.to_dict("records"), f"Implanting crops ({folder.name})", transient=True):
            nodule = read_nodule(data, row["nodule_id"])
            rng = np.random.default_rng([seed, *row["nodule_id"].encode()])
            others = [n for n, ct in enumerate(cts) if ct.patient_id != row["patient_id"]]
            host = int(rng.choice(others))
            if free_in_lung(nodule):
                place = places[host][rng.integers(len(places[host]))]
                _add(parts, implant(nodule, cts[host].volume, place, rng), np.zeros(3), nodule.share())
                rows.append(row | {"host_fold": cts[host].fold})
        write_arrays(folder, pd.DataFrame(rows), parts, key)
    kept = read_arrays(folder, ("pixels", "share", "offset_mm"), key, mapped=True)
    return ContextStacks(kept.table, **kept.slices, first=kept.first[:-1], last=kept.first[1:], key=digest(key))


def implant(nodule: Nodule, host: Volume, place_ras: Array, rng: np.random.Generator) -> Volume:
    """A crop's nodule with the lung around ``place_ras`` (mm, in ``host``) about it, in the crop's own frame.

    The nodule as all readers drew it and a narrow rim are the crop's; beyond, the host fades in.
    """
    volume = nodule.volume
    count = math.ceil(DEPTH_MM / volume.spacing_mm[2])
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] -= count * matrix[:3, 2]
    depth, height, width = volume.array.shape
    k, j, i = np.indices((depth + 2 * count, height, width))
    around = sample(host, Volume(volume.array, matrix).to_ras(np.stack([i, j, k], -1)) + place_ras)
    # Interpolation smoothed the host's noise away.
    around += rng.normal(size=around.shape) * 12
    for n, from_nodule in enumerate(_from_nodule_mm(nodule)):
        own = np.clip(1 - (from_nodule - RIM_MM) / FADE_MM, 0, 1)
        around[count + n] += own * (volume.array[n] - around[count + n])
    return Volume(np.rint(around).astype(np.int16), matrix, volume.name)


def free_in_lung(nodule: Nodule) -> bool:
    """Whether what is around the nodule is mostly lung, so that it can be taken out of it."""
    distance = _from_nodule_mm(nodule)
    ring = nodule.volume.array[(distance > RIM_MM) & (distance <= RIM_MM + FADE_MM)]
    return bool(len(ring)) and float((ring < LUNG_HU).mean()) >= FREE


def windows(ct: LungCT, count: int, rng: np.random.Generator) -> ContextStacks:
    """Stacks around places anywhere in or at the lungs of a whole CT, far from its nodules; no reader outlined any."""
    parts = _no_parts()
    empty = Volume(np.zeros((1, 1, 1), np.float32), ct.volume.ijk_to_ras)
    for place in rng.permutation(deep_places(ct, depth_mm=0.0))[:count]:
        half = DEPTH_MM + 6.0
        _add(parts, ct.volume, place, empty, np.stack([place - half, place + half]))
    table = pd.DataFrame({"patient_id": [ct.patient_id] * len(parts["pixels"]), "n_readers": 0, "fold": ct.fold})
    return _stacks(table, parts, digest(ct.patient_id, count))


def deep_places(ct: LungCT, count: int = 2000, depth_mm: float = 8.0, apart_mm: float = 25.0) -> Array:
    """Places (RAS mm, (N, 3)) inside the lungs, ``depth_mm`` from their surface and ``apart_mm`` from known nodules."""
    every = np.maximum(1, np.round(2.5 / ct.volume.spacing_mm)).astype(int)
    hu = ct.volume.array[:: every[2], :: every[1], :: every[0]]
    spacing = (ct.volume.spacing_mm * every)[::-1]
    smooth = ndimage.uniform_filter(hu.astype(np.float32), np.maximum(1, np.round(10 / spacing)).astype(int))
    # Neither the windpipe nor what lies outside of the body.
    lung = (smooth > -930) & (smooth < -650)
    deep = ndimage.distance_transform_edt(lung, spacing) > depth_mm
    rng = np.random.default_rng(0)
    found = ct.volume.to_ras(rng.permutation(np.argwhere(deep))[: 4 * count, ::-1] * every)
    nodules = ct.nodules[["r", "a", "s"]].to_numpy()
    far = np.linalg.norm(found[:, None] - nodules[None], axis=-1).min(1) > apart_mm
    return np.asarray(found[far][:count])


def _from_nodule_mm(nodule: Nodule) -> Array:
    """Distance of each of the crop's voxels from what any reader outlined in its slice, mm."""
    marked = np.any([reader.array > 0 for reader in nodule.readers], axis=0)
    spacing = nodule.volume.spacing_mm[1::-1]
    return np.stack(
        [ndimage.distance_transform_edt(~one, spacing) if one.any() else np.full(one.shape, np.inf) for one in marked]
    )


def _no_parts() -> dict[str, list[Array]]:
    return {"pixels": [], "share": [], "offset_mm": []}


def _add(
    parts: dict[str, list[Array]], volume: Volume, centre: Array, share: Volume, bounds_ras: Array | None = None
) -> None:
    stack = cut(volume, centre, WIDE, bounds_ras, share)
    parts["pixels"].append(np.round(stack.pixels[stack.valid]).astype(np.int16))
    parts["share"].append(np.round(stack.outline[stack.valid] * 255).astype(np.uint8))
    parts["offset_mm"].append(stack.offset_mm[stack.valid].astype(np.float32))


def _stacks(table: pd.DataFrame, parts: dict[str, list[Array]], key: str) -> ContextStacks:
    first = np.cumsum([0, *(len(part) for part in parts["pixels"])])
    return ContextStacks(
        table, **{name: np.concatenate(part) for name, part in parts.items()}, first=first[:-1], last=first[1:], key=key
    )
