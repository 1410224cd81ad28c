"""A DICOM series with a ball in lung, and its objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_results import PACKAGE

from NoduleRiskLib.cli import commands
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.results.assessment import Assessment
from Testing.unit.dicom.made_series import CENTRE, found_in, series_of

pytest.importorskip("highdicom", reason="DICOM objects need highdicom: pip install 'NoduleRisk[dicom]'.")


@pytest.fixture(scope="session")
def series(paint: Any, ball: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Array], Volume]:
    """Make a DICOM series of a ball around ``CENTRE`` in that frame, and read it."""

    def made(frame: Array, half_mm: float = 13.0, **told: Any) -> Volume:
        return series_of(tmp_path_factory.mktemp("ct"), paint(ball((CENTRE, 6.0)), frame, half_mm), **told)

    return made


@pytest.fixture(scope="session")
def ct_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of ``ct`` lie."""
    return tmp_path_factory.mktemp("plain")


@pytest.fixture(scope="session")
def ct(paint: Any, ball: Any, frames: dict[str, Array], ct_folder: Path) -> Volume:
    """A plain axial series."""
    return series_of(ct_folder, paint(ball((CENTRE, 6.0)), frames["flip--+"], 13.0))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "dicom"


@pytest.fixture
def graded(ct: Volume, monkeypatch: pytest.MonkeyPatch) -> Assessment:
    """A stand-in for the networks: what they say of the ball."""
    one = found_in(ct)
    monkeypatch.setattr(commands.model_package, "load", lambda path: PACKAGE)
    monkeypatch.setattr(commands, "assessed", lambda *given: ([one], False))
    return one
