"""What a reader would see wrongly in a small picture: another place, turned, or the nodule itself without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.similar.pictures import PIXELS, decoded, encoded, likeness, recognised, small_picture
from NoduleRiskLib.similar.reference_set import (
    PICTURE_MM,
    ReferenceSet,
    SimilarNodule,
    read_reference_set,
    write_reference_set,
)

CENTRE = np.array([-37.3, 61.8, -204.6])
Painter = Callable[..., Volume]


def lumpy(seed: int) -> Callable[[Array], Array]:
    """Lung with two dozen balls of soft tissue, one of them in its middle."""
    rng = np.random.default_rng(seed)
    balls = [(np.zeros(3), 5.0), *((rng.uniform(-20, 20, 3), rng.uniform(1, 4)) for _ in range(24))]

    def hu(places: Array) -> Array:
        inside = [np.linalg.norm(places - CENTRE - at, axis=-1) < radius for at, radius in balls]
        return np.where(np.any(inside, axis=0), 40.0, -850.0)

    return hu


def test_it_is_seen_from_below_and_centred_whichever_way_the_scan_lies(paint: Painter, frame: Array) -> None:
    def hu(places: Array) -> Array:
        left, front = (np.linalg.norm(places - CENTRE - at, axis=-1) < 4 for at in ([-10, 0, 0], [0, 14, 0]))
        return np.where(left, 150.0, np.where(front, -400.0, -850.0))

    shown = small_picture(paint(hu, frame), CENTRE).astype(float)
    assert shown.shape == (PIXELS, PIXELS)
    row, column = (round(PIXELS / 2 + away * PIXELS / PICTURE_MM) for away in (-14, 10))
    # The patient's left is on the right (-R), the front above.
    assert shown[PIXELS // 2, column] > 240 and 100 < shown[row, PIXELS // 2] < 230
    assert shown[PIXELS // 2, PIXELS - column] < 100 and shown[PIXELS - row, PIXELS // 2] < 100


def test_what_lies_outside_of_the_scan_is_black(paint: Painter, frames: dict[str, Array]) -> None:
    small = paint(lumpy(0), frames["thin"], half_mm=8.0)
    shown = small_picture(small, CENTRE)
    assert shown[0, 0] == 0 and shown[PIXELS // 2, PIXELS // 2] > 200


def test_the_nodule_itself_is_recognised_and_no_other_is(
    paint: Painter, frames: dict[str, Array], tmp_path: Path
) -> None:
    scans = [paint(lumpy(seed), frames["flip---"]) for seed in range(4)]
    whole = [SimilarNodule(f"P{n}_0", dict.fromkeys(GRADE_NAMES, 3.0), 0.0, (3,)) for n in range(len(scans))]
    path = tmp_path / "nodules.zip"
    images = {one.name: encoded(small_picture(scan, CENTRE)) for one, scan in zip(whole, scans, strict=True)}
    write_reference_set(path, [(one, "") for one in whole], images)
    reference: ReferenceSet = read_reference_set(path)
    for n, scan in enumerate(scans):
        # The outline's middle is never just where the readers' was.
        told = recognised(scan, CENTRE + np.array([1.3, -1.6, 0.9]), reference.nodules, reference)
        assert [one.same for one in told] == [m == n for m in range(len(scans))]


def test_a_flat_picture_is_like_nothing(paint: Painter, frames: dict[str, Array]) -> None:
    shown = small_picture(paint(lumpy(0), frames["thin"]), CENTRE)
    flat = np.full_like(shown, 7)
    assert likeness(flat, flat) == likeness(shown, flat) == 0
    assert likeness(shown, shown) > 0.999
    assert np.abs(decoded(encoded(shown)).astype(float) - shown).mean() < 3
