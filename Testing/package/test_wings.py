"""What a reader would lose if files imported each other in circles: wings that can be understood one after another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: A wing imports from lower floors and from itself, never from another wing of its own floor.
FLOORS = {
    "NoduleRiskLib": (
        ("errors", "grades"),
        ("imaging",),
        ("networks", "phantom"),
        ("explain", "similar"),
        ("results",),
        ("guidelines",),
        ("followup",),
        ("report", "dicom"),
        ("assessor",),
        ("cohort",),
        ("slicer_scene",),
        ("panel",),
        ("browser",),
        ("cli",),
        ("__init__", "__main__"),
    ),
    "training": (("checkpoints",), ("data",), ("models",), ("evaluation",), ("studies",), ("__main__",)),
}
LONGEST = 400


def own_files() -> Iterator[Path]:
    """All Python files of ours."""
    for folder in ("NoduleRisk", "NoduleRiskLib", "training", "Testing"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def modules(package: str, root: Path = ROOT) -> dict[str, Path]:
    """Full name -> file of every module of a package; a folder's ``__init__`` stands for the folder."""
    found = {}
    for file in sorted((root / package).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)] = file
    return found


def arrows(name: str, file: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the same package that a module imports anywhere, also in functions and for types alone."""
    package = name if file.name == "__init__.py" and not name.endswith("__init__") else name.rpartition(".")[0]
    targets: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            inner = {f"{module}.{alias.name}" for alias in node.names}
            targets |= (inner & set(known)) or {module}
    return {target for target in targets if target in known} - {name}


def upward(graph: dict[str, set[str]], package: str) -> list[str]:
    """Arrows that point up, or to another wing of the same floor."""
    floor = {wing: number for number, wings in enumerate(FLOORS[package]) for wing in wings}
    wrong = []
    for name, targets in graph.items():
        for target in targets:
            wing, other = (one.split(".")[1] for one in (name, target))
            if wing != other and floor[wing] <= floor[other]:
                wrong.append(f"{name} imports {target}")
    return wrong


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one import circle, or none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for target in sorted(graph.get(name, ())):
                if found := visit(target, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in graph if (found := visit(name, []))), [])


@pytest.fixture(scope="module", params=list(FLOORS))
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def graph(package: str) -> dict[str, set[str]]:
    known = modules(package)
    assert len(known) > 30
    return {name: arrows(name, file, known) for name, file in known.items()}


def test_every_module_lies_in_a_known_wing(package: str, graph: dict[str, set[str]]) -> None:
    named = {wing for wings in FLOORS[package] for wing in wings}
    assert {name.split(".")[1] for name in graph} - named <= {"__init__"}


def test_arrows_point_down(package: str, graph: dict[str, set[str]]) -> None:
    assert upward(graph, package) == []


def test_there_is_no_import_circle(graph: dict[str, set[str]]) -> None:
    assert circle(graph) == []


def test_the_library_knows_nothing_of_the_training() -> None:
    for file in modules("NoduleRiskLib").values():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in ("training", "Testing")], file


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("from .models import nets", True),
        ("def f():\n    from training.models.nets import Net", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import training.models.nets", True),
        ("from .data import crops", False),
    ],
)
def test_an_upward_arrow_is_noticed_wherever_it_hides(tmp_path: Path, text: str, wrong: bool) -> None:
    for folder in ("data", "models"):
        (tmp_path / "training" / folder).mkdir(parents=True)
    (tmp_path / "training" / "checkpoints.py").write_text(text)
    (tmp_path / "training" / "data" / "crops.py").touch()
    (tmp_path / "training" / "models" / "nets.py").touch()
    known = modules("training", tmp_path)
    found = {name: arrows(name, file, known) for name, file in known.items()}
    # Data, too, lies above the ground floor.
    assert upward(found, "training") == [
        f"training.checkpoints imports training.{'models.nets' if wrong else 'data.crops'}"
    ]


def test_a_circle_is_noticed() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_file_is_longer_than_anyone_reads() -> None:
    lines = {
        file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines()) for file in own_files()
    }
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}
