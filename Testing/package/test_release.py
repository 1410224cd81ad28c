"""What a release would lose: one version, one owner, packages that hold what they should and nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

import NoduleRiskLib
from Testing.release import empty_environment, owner
from Testing.release.slicer_archive import contents, write

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
#: Read as they are, by the Extensions Index and by PyPI: these cannot do without an owner.
MUST_NAME = {"CMakeLists.txt", "NoduleRisk.json", "pyproject.toml"}


def workflow(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


def tracked(pattern: str) -> list[str]:
    """Files that git knows and that hold a text."""
    command = ["git", "-C", str(ROOT), "grep", "-lIF", "-e", pattern]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def test_the_version_stands_in_one_file() -> None:
    version = NoduleRiskLib.__version__
    assert str(Version(version)) == version, "as PyPI writes it"
    # What others read as it is has to say it again, and says the same.
    follow = [path.relative_to(ROOT).as_posix() for path in (ROOT / "Resources").rglob("meta.json")]
    assert set(tracked(f'"{version}"')) - {"CHANGELOG.md"} == {"NoduleRiskLib/__init__.py", *follow}
    assert 'version = { attr = "NoduleRiskLib.__version__" }' in PROJECT
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_address_names_the_owner_of_pyproject() -> None:
    found = owner.named()
    assert set(found) >= MUST_NAME
    assert {name.lower() for owners in found.values() for name in owners} == {owner.owner().lower()}


def test_a_new_owner_is_written_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in owner.named():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    before = owner.owner()
    monkeypatch.setattr(owner, "ROOT", tmp_path)
    owner.rename("Somebody-Else")
    assert owner.owner() == "Somebody-Else"
    assert {name.lower() for owners in owner.named().values() for name in owners} == {"somebody-else"}
    assert all(before not in (tmp_path / name).read_text(encoding="utf-8") for name in owner.named())
    for bad in ("", "two words", "-a", "a--b", "a/b"):
        with pytest.raises(SystemExit, match="cannot be a name"):
            owner.rename(bad)


def test_no_placeholder_is_left_over_in_other_words() -> None:
    """Whoever looks for the placeholder by its name finds no place that `make owner` would miss."""
    assert set(tracked("placeholder" + "_owner")) <= set(owner.named())


def test_lidc_s_own_pictures_are_in_no_package() -> None:
    """The file may lie in a checkout, and package data names ``*.zip``: packages are made from what git knows."""
    assert not [name for _, name in contents(ROOT) if name.endswith(".zip")]
    ignored = subprocess.run(["git", "-C", str(ROOT), "check-ignore", "NoduleRiskLib/similar/lidc-nodules.zip"])
    assert ignored.returncode == 0


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        write(ROOT, tmp_path / name, "1.0", "https://example.org")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_an_empty_environment_holds_what_is_asked_for_and_no_more(tmp_path: Path) -> None:
    python = empty_environment.environment(tmp_path)
    site = empty_environment.site_packages(python)
    empty_environment.link(site, empty_environment.distribution("rich"), set())
    tried = "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('pygments', 'markdown_it', 'numpy')])"
    done = subprocess.run([python, "-I", "-c", tried], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[True, True, False]"


def test_a_release_is_tried_before_it_is_published_and_refuses_a_wrong_tag() -> None:
    jobs = workflow("release.yml")["jobs"]
    commands = " ".join(step.get("run", "") for step in jobs["package"]["steps"])
    assert "make package" in commands and "NoduleRiskLib/__init__.py" in commands
    for name in ("pypi", "github"):
        assert jobs[name]["needs"] == "package"


@pytest.mark.parametrize("name", ["release.yml", "docs.yml", "tests.yml"])
def test_a_workflow_may_write_only_where_a_job_says_so(name: str) -> None:
    assert workflow(name)["permissions"] == {"contents": "read"}


def test_pypi_shows_what_it_is_and_where_it_is() -> None:
    for word in ("description", "readme", "keywords", "classifiers", "authors", "license"):
        assert re.search(rf"^{word} = ", PROJECT, re.MULTILINE), word
    for name in ("Homepage", "Documentation", "Repository", "Issues", "Changelog"):
        assert re.search(rf'^{name} = "https://', PROJECT, re.MULTILINE), name
    assert "not a medical device" in (ROOT / "README.md").read_text(encoding="utf-8")
