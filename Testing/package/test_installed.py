"""What a user would lose between this checkout and the extension that Slicer's Extension Manager installs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from NoduleRiskLib.networks import model_package

ROOT = Path(__file__).resolve().parents[2]
#: What Slicer never has (of the command line's and the training's), and the checkout's own that no user has.
COMMAND_LINE = ("pandas", "sklearn", "typer", "rich", "training")
#: What Slicer lacks until the user has agreed to install it, too.
ABSENT = ("torch", "torchvision", "timm", "safetensors", "matplotlib", *COMMAND_LINE)
#: The command line's files, which need its libraries.
CLI = (
    "arguments",
    "cohort_commands",
    "commands",
    "followup_table",
    "guideline_tables",
    "running",
    "serving",
    "sources",
    "terminal",
)
#: What only Slicer has.
SLICER = {"slicer", "vtk", "qt", "ctk"}
LOOK = """
import importlib, json, pathlib, pkgutil, sys
place, *absent = sys.argv[1:]
sys.modules.update(dict.fromkeys(absent))  # None: neither imported nor found
# The editable install would answer for a file that the package lacks.
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "").lower()]
sys.path[:] = [place, *(one for one in sys.path if not pathlib.Path(one, "NoduleRiskLib").is_dir())]
library = importlib.import_module("NoduleRiskLib")
missing = {}
for one in pkgutil.walk_packages(library.__path__, "NoduleRiskLib."):
    if not one.name.endswith("__main__"):
        try:
            importlib.import_module(one.name)
        except ModuleNotFoundError as error:
            # A part of a package names the package; a part of ours stays what it is.
            ours = error.name.startswith("NoduleRiskLib")
            missing[one.name] = error.name if ours else error.name.partition(".")[0]
        else:
            missing[one.name] = ""
from NoduleRiskLib.networks import model_package
from NoduleRiskLib.phantom import chest_ct
print(json.dumps({
    "files": [module.__file__ for name, module in sys.modules.items() if name.startswith("NoduleRiskLib")],
    "missing": missing,
    "loaded": sorted({name.split(".")[0] for name, module in sys.modules.items() if module}),
    "phantom": len(chest_ct.source()["nodules"]),
    "model": model_package.load().name if model_package.SHIPPED.is_dir() else "",
}))
"""


def look(modules: Path, elsewhere: Path, absent: tuple[str, ...]) -> dict[str, Any]:
    """Import every module of the installed library in a fresh Python that stands in another folder."""
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", LOOK, str(modules), *absent],
        capture_output=True,
        text=True,
        cwd=elsewhere,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert all((modules / "NoduleRiskLib") in Path(file).parents for file in found["files"]), "came from elsewhere"
    return found


def test_nothing_of_the_checkout_but_the_module_and_its_library_is_installed(installed) -> None:
    inside = {path.relative_to(installed.modules) for path in installed.modules.rglob("*") if path.is_file()}
    assert {path.parts[0] for path in inside} == {"NoduleRisk.py", "Resources", "NoduleRiskLib"}
    strange = {path for path in inside if {"Testing", "training", "CMakeLists.txt", "__pycache__"} & set(path.parts)}
    assert strange == set()


def test_installed_files_are_the_checkout_s(installed) -> None:
    for path in installed.modules.rglob("*"):
        where = path.relative_to(installed.modules)
        source = ROOT / where if where.parts[0] == "NoduleRiskLib" else ROOT / "NoduleRisk" / where
        assert path.is_dir() or path.read_bytes() == source.read_bytes(), where


def test_the_package_carries_our_licence_and_readme(installed) -> None:
    assert Path(installed.description["LICENSE_FILE"]) == ROOT / "LICENSE.txt"
    assert Path(installed.description["README_FILE"]) == ROOT / "README.md"
    assert "Apache License" in (ROOT / "LICENSE.txt").read_text(encoding="utf-8")


def test_slicer_reads_the_store_s_texts(installed) -> None:
    assert installed.description["NAME"] == "NoduleRisk"
    assert installed.description["DEPENDS"] == "PyTorch"
    for key in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"):
        assert installed.description[key], key


def test_the_installed_library_works_before_torch_is_there(installed, tmp_path: Path) -> None:
    seen = look(installed.modules, tmp_path, ABSENT)
    assert not set(ABSENT) & set(seen["loaded"])
    # What needs torch says so by name; a module of ours that is missing from the package would be named here too.
    assert set(seen["missing"].values()) <= {"", *ABSENT, *SLICER} - {"training"}
    without = {
        f"NoduleRiskLib.{name}"
        for name in (
            "grades",
            "imaging.points",
            "imaging.volume",
            "networks.model_package",
            "phantom.chest_ct",
            "results.assessment",
        )
    }
    assert without <= {name for name, lacks in seen["missing"].items() if not lacks}
    assert seen["phantom"] > 0


def test_the_installed_library_is_whole_once_torch_is_there(installed, tmp_path: Path) -> None:
    seen = look(installed.modules, tmp_path, COMMAND_LINE)
    lacking = {name: lacks for name, lacks in seen["missing"].items() if lacks and lacks not in SLICER}
    assert lacking.keys() <= {f"NoduleRiskLib.cli.{name}" for name in CLI}, lacking
    assert set(lacking.values()) <= set(COMMAND_LINE)
    assert "torch" in seen["loaded"]


def test_the_installed_model_is_verified_before_torch_is_there(installed, tmp_path: Path) -> None:
    assert look(installed.modules, tmp_path, ABSENT)["model"] == model_package.SHIPPED.name
