"""Scene tests need the environment of requirements.txt; elsewhere they are not collected."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if importlib.util.find_spec("slicer") and importlib.util.find_spec("PySide6"):
    sys.path[:0] = [p for p in (str(HERE), str(HERE.parent / "panel"), str(HERE.parents[1])) if p not in sys.path]
    import standins

    standins.start()
else:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def mrml():
    """The application's scene, empty but for its views."""
    import slicer

    slicer.mrmlScene.Clear(0)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(0)


@pytest.fixture
def assessor():
    import fakes

    return fakes.FakeAssessor()


@pytest.fixture
def logic(mrml, assessor):
    import NoduleRisk

    logic = NoduleRisk.NoduleRiskLogic(lambda package, device: assessor)
    yield logic
    logic.worker.stop()


@pytest.fixture
def ct(mrml):
    import fakes

    from NoduleRiskLib.slicer_scene import inputs

    return inputs.add_volume(fakes.lungs())


@pytest.fixture
def points(mrml):
    import fakes

    from NoduleRiskLib.imaging.points import Point
    from NoduleRiskLib.slicer_scene import inputs

    return inputs.add_points("Nodules", [Point(f"N-{n + 1}", place) for n, place in enumerate(fakes.PLACES)])
