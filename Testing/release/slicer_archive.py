"""The archive that Slicer loads: the files that CMake's lists name, laid out as CMake installs them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("NoduleRisk", "NoduleRiskLib")
TOP = "NoduleRisk-slicer"
HOW = """NoduleRisk {version} for 3D Slicer 5.12 or newer. Research use only, not a medical device.

1. Unzip this archive where it can stay.
2. In Slicer: Edit > Application Settings > Modules > Additional module paths: add this folder (it holds NoduleRisk.py).
3. View > Extensions Manager: install the extension PyTorch.
4. Restart Slicer. The module is Quantification > Nodule Risk.

Help: {documentation}
"""


def listed(root: Path, folder: str, variable: str) -> list[str]:
    """The files that ``set(variable ...)`` of a folder's CMakeLists.txt names, as they stand there."""
    text = re.sub(r"#.*", "", (root / folder / "CMakeLists.txt").read_text(encoding="utf-8"))
    found = re.search(rf"set\(\s*{variable}\s([^)]*)\)", text)
    assert found, f"{folder}/CMakeLists.txt sets no {variable}"
    return found[1].replace("${MODULE_NAME}", folder).split()


def contents(root: Path) -> Iterator[tuple[Path, str]]:
    """Each file and its name in the archive's folder: the module at its top, the library beside it."""
    for folder in FOLDERS:
        for variable in ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"):
            for name in listed(root, folder, variable):
                yield root / folder / name, name if folder == "NoduleRisk" else f"{folder}/{name}"
    for name in ("LICENSE.txt", "README.md"):
        yield root / name, name


def write(root: Path, path: Path, version: str, documentation: str) -> None:
    """Write the archive; the same files give the same bytes."""
    how = HOW.format(version=version, documentation=documentation)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for source, name in contents(root):
            archive.writestr(zipfile.ZipInfo(f"{TOP}/{name}"), source.read_bytes(), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(f"{TOP}/INSTALL.txt"), how, zipfile.ZIP_DEFLATED)
