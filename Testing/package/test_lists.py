"""What an installed extension would lack if CMake's lists, kept by hand as Slicer does, forgot a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from NoduleRiskLib.networks import model_package
from Testing.release.slicer_archive import FOLDERS, contents, listed

ROOT = Path(__file__).resolve().parents[2]


def scripts(folder: str) -> list[str]:
    return listed(ROOT, folder, "MODULE_PYTHON_SCRIPTS")


def resources(folder: str) -> list[str]:
    return listed(ROOT, folder, "MODULE_PYTHON_RESOURCES")


def there(folder: str) -> set[str]:
    """Every file of a folder that belongs into the package, relative to the folder."""
    return {
        path.relative_to(ROOT / folder).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.name != "CMakeLists.txt" and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_python_file_is_missing_from_the_package(folder: str) -> None:
    assert {path for path in there(folder) if path.endswith(".py")} == set(scripts(folder))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_panel_picture_phantom_or_weight_is_missing_from_the_package(folder: str) -> None:
    assert {path for path in there(folder) if not path.endswith(".py")} == set(resources(folder))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_list_can_be_read_by_a_person(folder: str) -> None:
    for names in (scripts(folder), resources(folder)):
        assert names == sorted(set(names)), "sorted, each file once: a forgotten one is then seen"


def test_slicer_finds_the_module_under_its_name() -> None:
    assert scripts("NoduleRisk") == ["NoduleRisk.py"]
    assert {"Resources/Icons/NoduleRisk.png", "Resources/UI/NoduleRisk.ui"} <= set(resources("NoduleRisk"))


def test_the_model_that_assesses_by_default_ships() -> None:
    shipped = model_package.SHIPPED.relative_to(ROOT / "NoduleRiskLib").as_posix()
    files = {f"{shipped}/{name}" for name in (model_package.WEIGHTS, model_package.SETTINGS, model_package.CARD)}
    assert files == {name for name in resources("NoduleRiskLib") if name.startswith(f"{shipped}/")}


def test_the_model_is_verified_on_windows_too() -> None:
    """Git there may turn line ends into CR LF, and the card's SHA-256 would no longer fit."""
    lines = (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    assert "NoduleRiskLib/Models/** -text" in lines


def test_what_pip_installs_has_the_same_data_files() -> None:
    """pyproject.toml names data files by pattern; a file that no pattern finds would be in Slicer's package alone."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r"^NoduleRiskLib = \[([^]]*)\]", text, re.MULTILINE)
    assert found, "pyproject.toml names no package data"
    patterns = re.findall(r'"([^"]+)"', found[1])
    matched = {path for path in resources("NoduleRiskLib") for one in patterns if Path(path).match(one)}
    assert matched == set(resources("NoduleRiskLib"))


def test_slicer_installs_the_versions_that_pip_does() -> None:
    """The panel asks pip for requirements.txt, beside the torch that the PyTorch extension chooses."""
    wanted = set((ROOT / "NoduleRisk/Resources/requirements.txt").read_text(encoding="utf-8").split())
    tested = set(re.findall(r'"([\w.-]+>=[\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert wanted and wanted <= tested
    assert not {one for one in wanted if one.startswith("torch")}


def test_every_dependency_says_from_which_version_on_it_is_tested() -> None:
    """`make test-oldest` installs these lower bounds; what has none is only ever tested in its newest version."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = text[text.index("\ndependencies = [") : text.index("\ncompare = ")]
    names = {re.split("[>=]=", one)[0]: one for one in re.findall(r'"([\w-]+(?:[>=]=[\d.]+)?)"', lists)}
    assert {"numpy", "typer", "highdicom", "pandas"} <= set(names)
    # torchvision follows torch, version by version.
    assert [name for name, one in names.items() if name == one] == ["torchvision"]


def test_the_archive_that_slicer_loads_holds_what_cmake_installs_and_nothing_twice() -> None:
    names = [name for _, name in contents(ROOT)]
    assert len(names) == len(set(names))
    own = {name for name in names if not name.startswith("NoduleRiskLib/")} - {"LICENSE.txt", "README.md"}
    assert own == there("NoduleRisk")
    assert {name.removeprefix("NoduleRiskLib/") for name in names if name not in own} >= there("NoduleRiskLib")
