"""What Slicer would fail to start with: everything that loading the module imports must be in Slicer already."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "NoduleRisk" / "NoduleRisk.py"
ALLOWED = {*sys.stdlib_module_names, "numpy", "vtk", "SimpleITK", "slicer", "qt", "ctk"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def at_file_scope(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the file is loaded: class bodies, if and try too; functions and TYPE_CHECKING not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from at_file_scope(ast.Module([other], []))
        elif not isinstance(child, FUNCTIONS):
            yield from at_file_scope(child)


def names(statement: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    """Full names of the modules, or of what is taken out of them, that a statement imports."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    above = package.split(".")[: len(package.split(".")) - statement.level + 1] if statement.level else []
    module = ".".join([*above, *filter(None, [statement.module])])
    return [module, *(f"{module}.{alias.name}" for alias in statement.names)]


def own_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)


def imported(path: Path, package: str, seen: dict[str, Path]) -> dict[str, Path]:
    """Foreign top-level names that loading ``path`` imports, each with the first file that does; ours are followed."""
    foreign: dict[str, Path] = {}
    for statement in at_file_scope(ast.parse(path.read_text(encoding="utf-8"))):
        for name in names(statement, package):
            file = own_file(name)
            if name.split(".")[0] not in ("NoduleRiskLib", "NoduleRisk", "training", "Testing"):
                foreign.setdefault(name.split(".")[0], path)
            elif file is not None and name not in seen:
                seen[name] = file
                inside = name if file.name == "__init__.py" else name.rpartition(".")[0]
                foreign = imported(file, inside, seen) | foreign
    return foreign


def told(foreign: dict[str, Path]) -> dict[str, str]:
    return {name: path.relative_to(ROOT).as_posix() for name, path in foreign.items() if name not in ALLOWED}


def test_slicer_starts_without_torch_timm_and_the_rest() -> None:
    assert told(imported(MODULE, "", {})) == {}


def test_loading_the_module_needs_nothing_that_is_not_installed() -> None:
    seen: dict[str, Path] = {}
    imported(MODULE, "", seen)
    assert seen, "the module imports nothing of NoduleRiskLib: this test looks at the wrong file"
    assert {name.split(".")[0] for name in seen} == {"NoduleRiskLib"}


def test_loading_the_module_runs_nothing() -> None:
    """A call at file scope would run at every start of Slicer, before anyone opens the panel."""
    for statement in ast.parse(MODULE.read_text(encoding="utf-8")).body:
        called = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        assert not called, f"NoduleRisk.py:{statement.lineno} runs {ast.unparse(statement)}"


def wings_that_import(*modules: str) -> set[str]:
    """The folders of NoduleRiskLib in which a file imports one of these modules, anywhere in the file."""
    return {
        path.relative_to(ROOT / "NoduleRiskLib").parts[0]
        for path in (ROOT / "NoduleRiskLib").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and {name.split(".")[0] for name in names(node, "NoduleRiskLib")} & set(modules)
    }


def test_only_the_scene_wing_the_panel_and_the_browser_s_sessions_know_slicer() -> None:
    """The library serves the command line and the tests too, where there is no Slicer."""
    assert wings_that_import("slicer", "vtk") == {"browser", "panel", "slicer_scene"}


def test_only_the_panel_knows_qt() -> None:
    """What reads and fills a scene serves scripts, and Slicer without a window."""
    assert wings_that_import("qt", "ctk") == {"panel"}


def test_nothing_below_the_panel_imports_it() -> None:
    """The library works without the panel; ``NoduleRisk.py`` puts it up, and a browser's session uses its logic."""
    importers = {
        path.relative_to(ROOT / "NoduleRiskLib").parts[0]
        for path in (ROOT / "NoduleRiskLib").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(
            name.startswith("NoduleRiskLib.panel")
            for name in names(node, ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1]))
        )
    }
    assert importers == {"browser", "panel"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import torch", {"torch"}),
        ("try:\n    from timm import layers\nexcept ImportError:\n    pass", {"timm"}),
        ("class A:\n    import torch.nn", {"torch"}),
        ("from NoduleRiskLib.networks import nodule_vit", {"torch", "timm"}),
        ("from NoduleRiskLib.grades import GRADES", set()),
        ("def f():\n    import torch", set()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", set()),
    ],
)
def test_a_heavy_import_is_noticed_wherever_it_hides(tmp_path: Path, text: str, found: set[str]) -> None:
    file = tmp_path / "module.py"
    file.write_text(text, encoding="utf-8")
    assert {"torch", "timm"} & set(imported(file, "", {})) == found
