"""What the Extensions Index would refuse, or a visitor of the store would miss."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENTRY = ROOT / "NoduleRisk.json"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
#: Key -> type, as schema 1.0.2 has it: the first three must be there, a key beyond these is refused.
REQUIRED = {"$schema": str, "category": str, "scm_url": str}
OPTIONAL = {
    "build_dependencies": list,
    "build_subdirectory": str,
    "dicom_support_rule": str,
    "enabled": bool,
    "scm_revision": str,
    "scm_type": str,
    "tier": int,
}
#: Those of the index's categories that a nodule grader could stand under.
CATEGORIES = ("Analysis", "Chest Imaging Platform", "Quantification")


@pytest.fixture
def entry() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ENTRY.read_text(encoding="utf-8"))
    return found


def metadata(key: str) -> str:
    """``set(EXTENSION_key "...")`` of the top CMakeLists.txt; the index's script asks for this very form."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.search(rf'^set\(EXTENSION_{key} "([^"]+)"\)$', text, re.MULTILINE)
    assert found, f"CMakeLists.txt has no EXTENSION_{key} on one line"
    return found[1]


def in_checkout(url: str) -> Path:
    """The file of this checkout that a raw address on the repository's main branch shows."""
    raw = f"https://raw.githubusercontent.com/{repository()}/main/"
    assert url.startswith(raw), f"{url} is not under {raw}"
    return ROOT / url.removeprefix(raw)


def repository() -> str:
    """Owner and name, from the homepage."""
    return metadata("HOMEPAGE").removeprefix("https://github.com/")


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", f"{path} is no PNG"
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def test_the_index_accepts_the_entry(entry: dict[str, Any]) -> None:
    assert set(REQUIRED) <= set(entry) <= set(REQUIRED) | set(OPTIONAL)
    for key, value in entry.items():
        assert type(value) is (REQUIRED | OPTIONAL)[key], key
    assert entry["$schema"] == SCHEMA
    assert entry["category"] in CATEGORIES
    assert entry.get("scm_type", "git") == "git"
    assert 1 <= entry.get("tier", 1) <= 5
    assert b"\r" not in ENTRY.read_bytes()


def test_slicer_installs_pytorch_with_the_extension(entry: dict[str, Any]) -> None:
    assert entry["build_dependencies"] == ["PyTorch"]
    assert metadata("DEPENDS").split() == entry["build_dependencies"]


def test_the_index_builds_the_repository_that_the_store_shows(entry: dict[str, Any]) -> None:
    owner, _, name = repository().partition("/")
    assert entry["scm_url"] == f"https://github.com/{owner}/{name}.git"
    # The index asks for a repository that begins with Slicer, and an extension that does not.
    assert name == f"Slicer{ENTRY.stem}"
    assert entry["scm_revision"] == "main"


def test_the_extension_has_the_entry_s_name() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.findall(r"^project\((\w+)\)$", text, re.MULTILINE) == [ENTRY.stem]


@pytest.mark.parametrize("icon", ["Resources/NoduleRisk.png", "NoduleRisk/Resources/Icons/NoduleRisk.png"])
def test_store_and_module_show_one_icon(icon: str) -> None:
    store = in_checkout(metadata("ICONURL"))
    assert png_size(ROOT / icon) == (128, 128)
    assert (ROOT / icon).read_bytes() == store.read_bytes()
    assert store.stat().st_size < 30_000


def test_the_store_s_pictures_load() -> None:
    urls = metadata("SCREENSHOTURLS").split()
    assert urls
    for url in urls:
        width, height = png_size(in_checkout(url))
        assert width >= 300 and height >= 300, url


def test_the_store_says_what_it_is_and_is_not() -> None:
    text = metadata("DESCRIPTION")
    assert "nodules" in text and "not a medical device" in text
    assert "cancer" not in text
