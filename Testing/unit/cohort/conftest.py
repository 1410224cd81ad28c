"""A small CT with a nodule on disk, and an assessor that takes no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_results import PACKAGE, nodule, scan

from NoduleRiskLib.cohort.grading import Wanted
from NoduleRiskLib.errors import InputWarning
from NoduleRiskLib.imaging.inputs import as_points
from NoduleRiskLib.imaging.volume import Volume, write_nrrd
from NoduleRiskLib.results.assessment import Assessment

MATRIX = np.diag((-0.8, -0.8, 2.0, 1.0))


class Quick:
    """Gives every point the same nodule; a CT that is called after an exception raises it."""

    package = PACKAGE

    def __init__(self, raises: Exception | None = None) -> None:
        self._raises = raises

    def assess(self, volume: Volume, points: Any, heatmaps: bool, outlines: Any) -> Iterator[Assessment]:
        if self._raises:
            raise self._raises
        for one in as_points(points, volume):
            yield replace(nodule(scan()), point=one, warnings=(InputWarning("The slices are thick.", "ct"),))


@pytest.fixture
def quick() -> Callable[..., Quick]:
    return Quick


@pytest.fixture
def wanted() -> Wanted:
    return Wanted("", "0123456789abcdef" * 4)


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """A CT that can be read: 30 slices from air to tissue."""
    from Testing.unit.imaging.made_scans import chest

    path = tmp_path / "ct.nrrd"
    write_nrrd(path, Volume(chest(30), MATRIX))
    return path
