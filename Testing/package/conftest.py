"""The extension, built and installed by CMake with a stand-in for Slicer's macros."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import cmake
import ninja
import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).parent / "slicer_stand_in"


@dataclass(frozen=True)
class Installed:
    """An installed extension.

    Attributes
    ----------
    modules : Path
        The folder from which Slicer loads scripted modules, and which it puts on Python's path.
    description : dict of str to str
        EXTENSION_* as CMake saw them at the end.
    """

    modules: Path
    description: dict[str, str]


@pytest.fixture(scope="session", params=["ON", "OFF"], ids=lambda value: f"BUILD_TESTING={value}")
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Configured, built and installed, away from the checkout."""
    build, prefix = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("slicer")
    program = Path(cmake.CMAKE_BIN_DIR) / "cmake"
    run(
        program,
        *("-S", ROOT, "-B", build, "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={Path(ninja.BIN_DIR) / 'ninja'}",
        f"-DSlicer_DIR={STAND_IN}",
        f"-DBUILD_TESTING={request.param}",
        # project(NoduleRisk) asks for C and C++, as Slicer does; nothing is compiled, so neither needs to be there.
        *(f"-DCMAKE_{language}_COMPILER={program}" for language in ("C", "CXX")),
        *(f"-DCMAKE_{language}_COMPILER_FORCED=ON" for language in ("C", "CXX")),
    )
    run(program, "--build", build)
    run(program, "--install", build, "--prefix", prefix)
    lines = (build / "description.txt").read_text(encoding="utf-8").splitlines()
    return Installed(next(prefix.glob("lib/Slicer-*/qt-scripted-modules")), dict(line.split("=", 1) for line in lines))


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
