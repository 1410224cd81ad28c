"""What a newcomer would lose: pages that lead nowhere, checks at other versions, a Python that nobody tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
DECISIONS = ROOT / "docs" / "decisions"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
)
#: The checks that run before a commit, and the command of `make` that runs the same one.
CHECKS = {"ruff": "make lint", "mypy": "make types"}


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def links(text: str) -> list[str]:
    """Targets of Markdown links and pictures, without code, web addresses and anchors."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(<?([^)\s>]+)", text) + re.findall(r"^\[[^]]+\]:\s*(\S+)", text, re.MULTILINE)
    paths = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    return [unquote(path) for path in paths if path]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    folder = (ROOT / page).parent
    broken = [target for target in links((ROOT / page).read_text(encoding="utf-8")) if not (folder / target).exists()]
    assert broken == []


def test_links_are_found_at_all() -> None:
    assert links("[a](b.md#c) ![d](e/f%20g.png) [h](https://i.org) `[j](k)`") == ["b.md", "e/f g.png"]
    assert "docs/architecture.md" in links((ROOT / "README.md").read_text(encoding="utf-8"))


def test_every_decision_is_listed_once_and_in_order() -> None:
    pages = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    table = (DECISIONS / "README.md").read_text(encoding="utf-8").partition("| --- |")[2]
    assert ["0000-template.md", *links(table)] == pages
    assert [name[:4] for name in pages] == [f"{number:04}" for number in range(len(pages))]


def test_every_decision_has_the_parts_of_the_template() -> None:
    for path in DECISIONS.glob("[0-9]*.md"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], path.name
        assert text.startswith(f"# {path.name[:4]}: "), path.name


@pytest.mark.parametrize("tool", CHECKS)
def test_a_commit_is_checked_at_the_version_that_the_tests_use(tool: str) -> None:
    """A hook either runs the command of make, and so the pinned version, or names that version itself."""
    pinned = re.findall(rf'"{tool}==([\d.]+)"', PROJECT)
    assert len(pinned) == 1, f"pyproject.toml pins {tool} once, in its extra test"
    repos = read_yaml(".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for repo in repos if repo["repo"] == "local" for hook in repo["hooks"]]
    versions = [repo["rev"].lstrip("v") for repo in repos if tool in repo["repo"]]
    assert versions == pinned or (not versions and CHECKS[tool] in entries)


def test_the_oldest_python_that_is_promised_is_the_one_that_is_checked_and_tested() -> None:
    found = re.search(r'^requires-python = ">=(3\.\d+)"', PROJECT, re.MULTILINE)
    assert found
    oldest = found[1]
    jobs = read_yaml(".github/workflows/tests.yml")["jobs"]
    # As text: YAML would read 3.10 without quotation marks as 3.1.
    pythons = jobs["all"]["strategy"]["matrix"]["python"]
    assert all(isinstance(python, str) for python in pythons)
    assert min(pythons, key=lambda python: int(python.split(".")[1])) == oldest == "3.10"
    assert f'target-version = "py{oldest.replace(".", "")}"' in PROJECT
    assert f'python_version = "{oldest}"' in PROJECT


def test_every_system_that_the_readme_names_is_tested() -> None:
    jobs = read_yaml(".github/workflows/tests.yml")["jobs"]
    systems = {jobs["all"]["runs-on"], *jobs["unit"]["strategy"]["matrix"]["os"]}
    assert systems == {"ubuntu-latest", "windows-latest", "macos-latest"}
    assert any("make test" in step.get("run", "") for step in jobs["all"]["steps"])
    assert any("pytest Testing/unit" in step.get("run", "") for step in jobs["unit"]["steps"])


def test_a_workflow_may_only_read() -> None:
    assert read_yaml(".github/workflows/tests.yml")["permissions"] == {"contents": "read"}


def test_the_issue_forms_ask_for_the_version_and_refuse_patient_data() -> None:
    for name in ("bug.yml", "wrong-result.yml"):
        form = read_yaml(f".github/ISSUE_TEMPLATE/{name}")
        fields = {field.get("id"): field for field in form["body"]}
        assert fields["version"]["validations"]["required"]
        assert "nodulerisk --version" in fields["version"]["attributes"]["description"]
        assert "Never attach patient data" in form["body"][0]["attributes"]["value"]
