"""What a reader would lose: examples that no longer run, options that are not there, keys that nobody explains."""

from __future__ import annotations

import ast
import doctest
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import typer

from NoduleRiskLib.cli.commands import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def blocks(path: Path, kind: str) -> list[str]:
    """The fenced code of one kind on a page."""
    return [textwrap.dedent(code) for _, name, code in BLOCK.findall(path.read_text(encoding="utf-8")) if name == kind]


@pytest.fixture(scope="module")
def examples() -> dict[str, Any]:
    """The names that the examples of the page made, once all have run and shown what the page says."""
    path = DOCS / "reference" / "examples.md"
    test = doctest.DocTestParser().get_doctest(path.read_text(encoding="utf-8"), {}, path.name, str(path), 0)
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=told.append, clear_globs=False)
    assert len(test.examples) > 30
    assert not runner.failures, "".join(told)
    return dict(test.globs)


def test_every_example_shows_what_the_page_says(examples: dict[str, Any]) -> None:
    assert examples["one"].nodule is not None


def test_every_key_of_the_json_file_is_explained(examples: dict[str, Any]) -> None:
    page = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    values = examples["one"].to_dict()
    nodule = values["nodule"]
    keys = {*values, *nodule["outline"], *(f"nodule.{name}" for name in nodule)} - {"nodule"}
    assert {key for key in keys if f"`{key}`" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_on_a_page_is_python(page: Path) -> None:
    for code in blocks(page, "python"):
        ast.parse(re.sub(r"^(>>> |\.\.\. ).*|.*", shown, code, flags=re.MULTILINE) if ">>>" in code else code)


def shown(line: re.Match[str]) -> str:
    """The code of an interpreter's line; what it put out is none."""
    return line[0][4:] if line[1] else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_names_no_option_that_the_command_line_does_not_have(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for code in blocks(page, "") + blocks(page, "text"):
        for line in code.replace("\\\n", " ").splitlines():
            found = re.match(r"\s*nodulerisk ([\w-]+)(.*)", line.partition("#")[0])
            if found and found[1].islower():
                assert found[1] in commands, line
                known = {name for one in commands[found[1]].params for name in (*one.opts, *one.secondary_opts)}
                assert set(re.findall(r"(?<= )--[\w-]+", found[2])) <= known, line
