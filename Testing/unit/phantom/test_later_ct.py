"""What the demo and Sample Data would lose if the synthetic patient's later CT were not what it says."""

from __future__ import annotations

import numpy as np
import pytest

from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.phantom import later_ct
from NoduleRiskLib.phantom.chest_ct import PhantomNodule

EDGE_HU = -400

Made = tuple[tuple[Volume, tuple[PhantomNodule, ...]], tuple[Volume, tuple[PhantomNodule, ...]]]


@pytest.fixture(scope="module")
def made() -> Made:
    return later_ct.pair()


def dense_mm3(volume: Volume, nodule: PhantomNodule) -> float:
    """How much in a nodule's box is denser than lung and drawn by some reader."""
    places = nodule.share.to_ras(np.argwhere(nodule.share.array > 0)[:, ::-1])
    k, j, i = np.rint(volume.to_ijk(places)).astype(int).T[::-1]
    unique = np.unique(np.stack([k, j, i], 1), axis=0).T
    return float((volume.array[tuple(unique)] > EDGE_HU).sum() * volume.spacing_mm.prod())


def test_one_grew_one_is_gone_one_is_new_and_the_others_are_as_they_were(made: Made) -> None:
    (first, before), (later, after) = made
    was, now = ({one.label: one for one in some} for some in (before, after))
    assert set(was) - set(now) == {later_ct.GONE} and set(now) - set(was) == {later_ct.NEW}
    moved = later_ct.movement()
    for label in set(was) & set(now):
        times = dense_mm3(later, now[label]) / max(dense_mm3(first, was[label]), 1)
        if label == later_ct.GROWN:
            assert times == pytest.approx(later_ct.TIMES, rel=0.15)
        elif label not in ("ground glass", "part-solid", "juxtapleural"):
            assert times == pytest.approx(1, abs=0.12), label
        place = moved[:3, :3] @ was[label].point_ras + moved[:3, 3]
        assert np.linalg.norm(place - now[label].point_ras) < 1.5, label
    gone = moved[:3, :3] @ was[later_ct.GONE].point_ras + moved[:3, 3]
    k, j, i = np.rint(later.to_ijk(gone)).astype(int)[::-1]
    assert later.array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].mean() < -600
    assert now[later_ct.NEW].diameter_mm == pytest.approx(was[later_ct.GONE].diameter_mm * later_ct.NEW_SCALE)


def test_the_days_between_stand_in_both_cts(made: Made) -> None:
    (first, _), (later, _) = made
    assert first.acquired is not None and later.acquired is not None
    assert (later.acquired - first.acquired).days == later_ct.DAYS
    assert first.digest != later.digest and "synthetic" in later.warnings[0]
