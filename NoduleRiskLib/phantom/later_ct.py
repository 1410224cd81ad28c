"""The synthetic patient 120 days later: one nodule grown, one gone, one new, the others as they were."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from ..imaging.volume import Array, Volume
from .anatomy import SHAPE
from .chest_ct import (
    ACQUIRED,
    PhantomNodule,
    as_volume,
    chest_ct,
    draw_nodule,
    grid_to_ras,
    place_of,
    scan,
    source,
    without_nodules,
)

#: Between the synthetic CT and this one.
DAYS = 120
#: A nodule that is twice as large as it was, by volume; one that is gone; and one that is new: a copy of another, so
#: many times as wide.
GROWN, TIMES = "lobulated", 2.0
GONE = "small smooth"
NEW, COPY_OF, NEW_SCALE = "new", "small smooth", 1.4
#: The patient breathes in a little more and lies a little differently: scale and shift (mm) along R, A and S, and
#: degrees about S. The chest's volume, and so the nodules', is the same to 1 %.
BREATH, TURNED, SHIFT_MM = (0.98, 0.98, 1.05), 2.0, (5.0, -4.0, 8.0)


def pair(seed: int = 0) -> tuple[tuple[Volume, tuple[PhantomNodule, ...]], tuple[Volume, tuple[PhantomNodule, ...]]]:
    """The synthetic chest CT, and the same patient's later one: each with its nodules."""
    return chest_ct(seed), later_ct(seed)


def later_ct(seed: int = 0) -> tuple[Volume, tuple[PhantomNodule, ...]]:
    """The CT of ``chest_ct(seed)``'s patient ``DAYS`` later, and its nodules; equal for equal seeds.

    Returns
    -------
    Volume
        On the same grid.
    tuple of PhantomNodule
        In the order of ``chest_ct``, the new one last. Where they lie and what is drawn of them moves with the chest.
    """
    rng = np.random.default_rng(seed)
    first, lung = without_nodules(rng)
    hu = first.copy()
    nodules = []
    copies = {one["label"]: one for one in source()["nodules"]}
    for label, copied in copies.items():
        place = place_of(first, lung, copied)
        # The same chance in both CTs, whatever else is drawn: what did not change looks as it did.
        chance = deepcopy(rng)
        draw_nodule(rng, first, place, copied)
        if label != GONE:
            scale = TIMES ** (1 / 3) if label == GROWN else 1.0
            nodules.append(draw_nodule(chance, hu, place, copied, scale))
    new: dict[str, Any] = {**copies[COPY_OF], "label": NEW}
    nodules.append(draw_nodule(rng, hu, place_of(first, lung, new, NEW_SCALE), new, NEW_SCALE))
    moved = movement()
    hu = _moved(hu, moved)
    scan(np.random.default_rng((seed, DAYS)), hu)
    volume = as_volume(hu, "synthetic chest CT, later", f"seed {seed}, later", ACQUIRED + timedelta(days=DAYS))
    return volume, tuple(_carried(one, moved) for one in nodules)


def movement() -> Array:
    """How places of the first CT lie in the later one, both RAS mm: shape (4, 4)."""
    middle = grid_to_ras() @ (*(np.array(SHAPE[::-1]) - 1) / 2, 1.0)
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_euler("z", TURNED, degrees=True).as_matrix() @ np.diag(BREATH)
    moved[:3, 3] = middle[:3] + SHIFT_MM - moved[:3, :3] @ middle[:3]
    return moved


def _moved(hu: Array, moved: Array) -> Array:
    """The voxels of the chest after a movement (RAS), on the same grid."""
    ijk_to_ras = grid_to_ras()
    back = np.linalg.inv(ijk_to_ras) @ np.linalg.inv(moved) @ ijk_to_ras
    kji = back[np.ix_((2, 1, 0, 3), (2, 1, 0, 3))]
    return np.asarray(affine_transform(hu, kji[:3, :3], kji[:3, 3], order=1, mode="nearest"))


def _carried(nodule: PhantomNodule, moved: Array) -> PhantomNodule:
    share = Volume(nodule.share.array, moved @ nodule.share.ijk_to_ras)
    return replace(nodule, point_ras=moved[:3, :3] @ nodule.point_ras + moved[:3, 3], share=share)
