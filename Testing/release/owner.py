"""Whose the repository is: ``python -m Testing.release.owner [NAME]``.

Files that others read as they are (the Extensions Index, PyPI, GitHub) have to name the repository's address in full.
``pyproject.toml`` is the one that counts; with a NAME, all others and it are written anew, without one they are listed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "SlicerNoduleRisk"
#: An address of the repository or of its pages; the owner is what is between.
ADDRESS = re.compile(
    rf"(?P<before>(?:github|raw\.githubusercontent)\.com/)(?P<owner>[\w-]+)(?P<after>/{NAME}\b)"
    rf"|(?P<page>[\w-]+)(?P<pages>\.github\.io/{NAME}\b)"
)


def owner() -> str:
    """Of pyproject.toml's project.urls."""
    found = re.search(rf'^Repository = "https://github.com/([\w-]+)/{NAME}"$', text("pyproject.toml"), re.MULTILINE)
    assert found, "pyproject.toml has no project.urls.Repository"
    return found[1]


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def named() -> dict[str, set[str]]:
    """For each file that git knows and that names an address: the owners that it names."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "grep", "-lI", "-e", NAME, "--", "."], capture_output=True, text=True, check=True
    )
    found = {
        path: {one["owner"] or one["page"] for one in ADDRESS.finditer(text(path))} for path in listed.stdout.split()
    }
    return {path: owners for path, owners in found.items() if owners}


def rename(new: str) -> list[str]:
    """Write ``new`` wherever the owner stands; which files that were."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}", new):
        raise SystemExit(f"{new!r} cannot be a name on GitHub: letters, digits and single hyphens, at most 39.")

    def written(match: re.Match[str]) -> str:
        if match["pages"]:
            return f"{new.lower()}{match['pages']}"
        return f"{match['before']}{new}{match['after']}"

    files = list(named())
    for path in files:
        (ROOT / path).write_bytes(ADDRESS.sub(written, text(path)).encode())
    return files


if __name__ == "__main__":
    if sys.argv[1:]:
        print("\n".join(rename(sys.argv[1])))
    else:
        for path, owners in named().items():
            print(path, *sorted(owners))
