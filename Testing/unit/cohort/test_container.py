"""What somebody without this checkout's environment would lose: images that can be built, MHub's module that works."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CONTAINER = ROOT / "Resources" / "container"
MHUB = CONTAINER / "mhub" / "nodulerisk"
DOCKERFILES = [CONTAINER / "Dockerfile", MHUB / "dockerfiles" / "Dockerfile"]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The Runner's module over a stand-in for mhubio, whose decorators hand over inputs by name as mhubio's do."""

    def nothing(*given: Any, **more: Any) -> Any:
        return lambda decorated: decorated

    class Module:
        heatmaps = False

        def log(self, text: str) -> None:
            self.logged = text

    core = ModuleType("mhubio.core")
    named = {"IO": SimpleNamespace(Config=nothing, Instance=nothing, Input=nothing, Output=nothing), "Module": Module}
    core.__dict__.update({**named, "Instance": object, "InstanceData": object})
    monkeypatch.setitem(sys.modules, "mhubio", ModuleType("mhubio"))
    monkeypatch.setitem(sys.modules, "mhubio.core", core)
    spec = importlib.util.spec_from_file_location("NoduleRiskRunner", MHUB / "utils" / "NoduleRiskRunner.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def called(runner: Any, folder: Path, command: str) -> Any:
    """Call the Runner as MHub does, with a command line of ours."""
    program = folder / "nodulerisk"
    program.write_text(f"#!{sys.executable}\n{command}")
    program.chmod(0o755)
    runner.COMMAND = str(program)
    files = {name: SimpleNamespace(abspath=str(folder / name)) for name in ("ct", "points", "table", "record")}
    module = runner.NoduleRiskRunner()
    module.task(instance=None, **files)
    return module


@pytest.mark.skipif(os.name == "nt", reason="MHub's images are Linux")
def test_the_runner_calls_the_command_line_and_takes_its_tables(
    runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = (
        "import sys, pathlib, json\n"
        "from NoduleRiskLib.cli.commands import app\n"
        "import typer\n"
        "parameters = {one.name for one in typer.main.get_command(app).commands['assess'].params}\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "(out / 'assessments.csv').write_text('label')\n"
        "(out / 'assessments.json').write_text(json.dumps([sys.argv[1:], sorted(parameters)]))\n"
        "print('graded')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    module = called(runner, tmp_path, command)
    assert (tmp_path / "table").read_text() == "label" and module.logged.strip() == "graded"
    given, known = json.loads((tmp_path / "record").read_text())
    assert given[:4] == ["assess", str(tmp_path / "ct"), "--points", str(tmp_path / "points")]
    # Options that the command line knows.
    options = {one.removeprefix("--").removeprefix("no-") for one in given if one.startswith("--")}
    assert options == {"points", "out", "heatmaps"} and options <= set(known)


@pytest.mark.skipif(os.name == "nt", reason="MHub's images are Linux")
def test_the_runner_passes_the_sentence_on(runner: Any, tmp_path: Path) -> None:
    command = "import sys\nprint('The point lies outside the CT.', file=sys.stderr)\nsys.exit(2)\n"
    with pytest.raises(RuntimeError, match=r"^The point lies outside the CT\.$"):
        called(runner, tmp_path, command)
    assert not (tmp_path / "table").exists()


def test_mhub_s_files_name_what_is_there() -> None:
    meta = json.loads((MHUB / "meta.json").read_text(encoding="utf-8"))
    assert meta["name"] == MHUB.name and {"id", "title", "summary", "details", "info"} <= set(meta)
    for file in (MHUB / "config").glob("*.yml"):
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert config["execute"] == ["FileStructureImporter", "NoduleRiskRunner", "DataOrganizer"], file.name
        assert set(config["modules"]) == set(config["execute"])
        imported = " ".join(config["modules"]["FileStructureImporter"]["structures"])
        # What the Runner asks for is what the importer gives.
        assert "mod=ct" in imported and "json:type=slicerpoints" in imported
    assert (MHUB / "config" / "default.yml").exists()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["command line", "mhub"])
def test_dockerfiles_are_clean(dockerfile: Path) -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(dockerfile)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""


def test_the_image_copies_what_is_there_and_is_no_root() -> None:
    lines = (CONTAINER / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [one for line in lines if line.startswith("COPY ") and "--from" not in line for one in line.split()[1:-1]]
    assert copied and all((ROOT / one).exists() for one in copied)
    kept = (CONTAINER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{one}" for one in copied} <= set(kept)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users and users[-1] not in ("root", "0")
