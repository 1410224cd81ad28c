"""A toy scan and the assessment of its ball, for every test of results."""

from __future__ import annotations

import pytest
from test_results import nodule, scan

from NoduleRiskLib.imaging.volume import Volume
from NoduleRiskLib.results.assessment import Assessment


@pytest.fixture(scope="module")
def volume() -> Volume:
    return scan()


@pytest.fixture(scope="module")
def assessment(volume: Volume) -> Assessment:
    return nodule(volume)
