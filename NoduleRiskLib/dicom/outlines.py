"""Outlines as DICOM Segmentations on the CT's own voxels; which segment of which object is which nodule's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..imaging.outline import INSIDE
from ..imaging.resampling import on_grid
from ..imaging.volume import Array, Volume
from ..results.assessment import Assessment
from ..results.nodule import Nodule
from .codes import ABNORMAL, LUNG, NODULE
from .identity import Tracking, algorithm, coded, fingerprint, made_by, parameters, short
from .library import highdicom
from .source import Source

#: Fractions are stored in so many steps.
STEPS = 255


@dataclass(frozen=True, eq=False)
class Voxels:
    """A nodule's voxels in the CT.

    Attributes
    ----------
    first : tuple of int
        Index (k, j, i) of the box's first voxel.
    values : ndarray, shape (K, J, I)
        float32, 0 to 1; how likely each voxel of the box is the nodule's.
    """

    first: tuple[int, int, int]
    values: Array

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where it lies in the CT's array."""
        k, j, i = (slice(at, at + size) for at, size in zip(self.first, self.values.shape, strict=True))
        return k, j, i


@dataclass(frozen=True, eq=False)
class Segment:
    """Where a nodule's outline is: a segment (its number, from 1) of a Segmentation."""

    segmentation: Any
    number: int


def voxels_of(volume: Volume, nodule: Nodule, fractional: bool = False) -> Voxels:
    """A nodule's outline on the CT's voxels: 0 or 1, the same as ``Nodule.mask(volume)``, or fractions.

    Of an outline that is smaller than a voxel and holds no voxel's centre, the voxel around its own centre is left.
    """
    outline = nodule.outline
    grid = outline.probability
    corners = volume.to_ijk(grid.corners_ras(beyond=1))
    size = np.array(volume.array.shape[::-1])
    low = np.clip(np.floor(corners.min(0)), 0, size - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, low + 1, size).astype(int)
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, 3] = volume.to_ras(low)
    shape = tuple((high - low)[::-1].tolist())
    values = on_grid([grid], Volume(np.broadcast_to(np.int16(0), shape), matrix)).array
    inside = values > INSIDE
    if not inside.any():
        i, j, k = np.clip(np.round(volume.to_ijk(outline.centre_ras)), low, high - 1).astype(int) - low
        inside[k, j, i] = True
        values[k, j, i] = 1
    first = (int(low[2]), int(low[1]), int(low[0]))
    return Voxels(first, np.asarray(np.clip(values, 0, 1) if fractional else inside.astype(np.float32), np.float32))


def segmentations(
    source: Source,
    assessments: Sequence[Assessment],
    tracked: Sequence[Tracking],
    model: Mapping[str, Any] | None = None,
    fractional: bool = False,
) -> list[Segment]:
    """The segment of each nodule, in their order.

    Outlines share one binary Segmentation as long as none overlaps another: viewers show such objects best. Fractional
    ones have one each.

    Parameters
    ----------
    source : Source
    assessments : sequence of Assessment
        Each with a nodule.
    tracked : sequence of Tracking
    model : mapping, optional
        ``digest`` of the model package, if it is at hand.
    fractional : bool
        Store how likely each voxel is the nodule's, in ``STEPS`` steps, instead of inside or outside.
    """
    voxels = [voxels_of(source.volume, _nodule(one), fractional) for one in assessments]
    layers = [[n] for n in range(len(voxels))] if fractional else _layers(voxels)
    kind = "fractional" if fractional else "binary"
    content = (kind, *map(fingerprint, assessments), *(one.uid for one in tracked), *parameters("", model).values())
    found: dict[int, Segment] = {}
    for number, layer in enumerate(layers, 1):
        about = made_by(source, "SEG", content, number, assessments[0].model_id)
        described = [_description(place, assessments[n], tracked[n], model) for place, n in enumerate(layer, 1)]
        written = _segmentation(source, [voxels[n] for n in layer], described, about, fractional)
        found |= {n: Segment(written, place) for place, n in enumerate(layer, 1)}
    return [found[n] for n in range(len(voxels))]


def _segmentation(
    source: Source, voxels: Sequence[Voxels], described: Sequence[Any], about: dict[str, Any], fractional: bool
) -> Any:
    hd = highdicom()
    slices = sorted({one.first[0] + int(k) for one in voxels for k in np.flatnonzero(one.values.any((1, 2)))})
    row = {k: n for n, k in enumerate(slices)}
    # One float layer of a fractional outline; labels otherwise, since no two outlines of a layer overlap.
    frames = np.zeros((len(slices), *source.volume.array.shape[1:]), np.float32 if fractional else np.uint16)
    for number, one in enumerate(voxels, 1):
        _, j, i = one.box
        for k, values in enumerate(one.values, one.first[0]):
            if k in row:
                here = frames[row[k], j, i]
                here[...] = values if fractional else np.where(values > INSIDE, number, here)
    return hd.seg.Segmentation(
        source.images(slices),
        frames[..., None] if fractional else frames,
        hd.seg.SegmentationTypeValues.FRACTIONAL if fractional else hd.seg.SegmentationTypeValues.BINARY,
        described,
        fractional_type=hd.seg.SegmentationFractionalTypeValues.PROBABILITY,
        max_fractional_value=STEPS,
        content_label="NODULES",
        content_description="Outlines of lung nodules",
        **about,
    )


def _description(number: int, assessment: Assessment, tracked: Tracking, model: Mapping[str, Any] | None) -> Any:
    hd = highdicom()
    users = _nodule(assessment).outline.drawn_by == "user"
    types = hd.seg.SegmentAlgorithmTypeValues
    return hd.seg.SegmentDescription(
        number,
        short(assessment.point.label, 64) or f"nodule {number}",
        coded(ABNORMAL),
        coded(NODULE),
        # The network outlines what a user pointed at: that is help by a user, in DICOM's words.
        types.MANUAL if users else types.SEMIAUTOMATIC,
        None if users else algorithm(assessment.model_id, model),
        tracking_uid=tracked.uid,
        tracking_id=tracked.identifier,
        anatomic_regions=[coded(LUNG)],
    )


def _layers(voxels: Sequence[Voxels]) -> list[list[int]]:
    """Numbers of outlines in groups within which none overlaps another, the first as large as can be."""
    layers: list[list[int]] = []
    for n, one in enumerate(voxels):
        free = (layer for layer in layers if not any(_overlap(one, voxels[other]) for other in layer))
        layer = next(free, None)
        if layer is None:
            layers.append([n])
        else:
            layer.append(n)
    return layers


def _overlap(one: Voxels, other: Voxels) -> bool:
    low = np.maximum(one.first, other.first)
    high = np.minimum(np.add(one.first, one.values.shape), np.add(other.first, other.values.shape))
    if (high <= low).any():
        return False
    mine, theirs = (
        of.values[tuple(slice(a, b) for a, b in zip(low - of.first, high - of.first, strict=True))]
        for of in (one, other)
    )
    return bool(((mine > INSIDE) & (theirs > INSIDE)).any())


def _nodule(assessment: Assessment) -> Nodule:
    assert assessment.nodule is not None
    return assessment.nodule
