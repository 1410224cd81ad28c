"""What would be looked for at the wrong place, or pass as growth, where an outline runs on into a vessel."""

from __future__ import annotations

import numpy as np
import pytest

from NoduleRiskLib.followup.core import core_ras, within
from NoduleRiskLib.imaging.outline import Outline, measure
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.imaging.volume import Volume

CT = Volume(np.zeros((60, 60, 60), np.int16), np.eye(4))
MIDDLE = np.array((30.0, 30.0, 30.0))


def outline(
    radius: float, vessel: tuple[float, float, float] | None = None, axes: tuple[float, ...] = (1, 1, 1)
) -> Outline:
    """An ellipsoid at ``MIDDLE``, and a vessel of 2.5 mm radius that leaves it for 12 mm."""
    stack = cut(CT, MIDDLE, Layout("outline", slices=51))
    offset = stack.pixels_ras() - MIDDLE
    inside = np.linalg.norm(offset / axes, axis=-1) < radius
    if vessel is not None:
        way = np.array(vessel) / np.linalg.norm(vessel)
        along = offset @ way
        inside |= (along > 0) & (along < radius + 12) & (np.linalg.norm(offset - along[..., None] * way, axis=-1) < 2.5)
    found = measure(stack, inside.astype(np.float32))
    assert found is not None
    return found


@pytest.mark.parametrize("axes", [(1, 1, 1), (1, 0.7, 1), (1, 0.8, 0.6)])
def test_the_core_of_a_nodule_is_its_middle(axes: tuple[float, ...]) -> None:
    assert core_ras(outline(7, axes=axes)) == pytest.approx(MIDDLE, abs=0.5)


@pytest.mark.parametrize("vessel", [(1, 0, 0), (0, 0.3, 1), (-1, -1, 0.5)])
def test_a_vessel_moves_the_centroid_and_not_the_core(vessel: tuple[float, float, float]) -> None:
    leaking = outline(5, vessel)
    assert np.linalg.norm(leaking.centre_ras - MIDDLE) > 2
    assert core_ras(leaking) == pytest.approx(MIDDLE, abs=0.7)


def test_what_grew_holds_what_it_was_and_a_vessel_is_told() -> None:
    before, now = outline(4), outline(7, axes=(1, 0.8, 0.9))
    assert within(before, now) == within(now, before) > 0.95
    assert within(outline(4, (1, 0, 0)), outline(4.5, (0, 1, 0.5))) < 0.75
