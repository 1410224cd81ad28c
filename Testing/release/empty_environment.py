"""An environment that holds a package and what its metadata asks for, and nothing else: nothing is downloaded.

What it asks for is linked from the environment that runs this: a second PyTorch would take gigabytes and minutes.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def environment(folder: Path) -> Path:
    """An empty environment; its Python."""
    venv.EnvBuilder(with_pip=False, symlinks=sys.platform != "win32").create(folder)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install(python: Path, package: Path, extras: set[str]) -> None:
    """Put a wheel and what it asks for, with these extras, into an environment."""
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, str(package)], check=True)
    site = site_packages(python)
    (own,) = (one for one in site.glob("[Nn]odule[Rr]isk-*.dist-info"))
    link(site, Distribution.at(own), extras)


def site_packages(python: Path) -> Path:
    """Where an environment's packages lie."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def link(site: Path, package: Distribution, extras: set[str]) -> None:
    """Link into ``site`` whatever a package asks for, and what that asks for."""
    waiting, seen = [(package, extras)], set()
    while waiting:
        asking, wanted = waiting.pop()
        for line in asking.requires or []:
            one = Requirement(line)
            if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                continue
            if one.name.lower() == package.metadata["Name"].lower():
                # An extra that names others of the same package.
                waiting.append((package, set(one.extras)))
                continue
            if (key := (one.name, *sorted(one.extras))) not in seen:
                seen.add(key)
                try:
                    found = distribution(one.name)
                except PackageNotFoundError:
                    raise SystemExit(
                        f"{asking.metadata['Name']} asks for {line}, which is not installed here."
                    ) from None
                _link_files(site, found)
                waiting.append((found, set(one.extras)))


def _link_files(site: Path, found: Distribution) -> None:
    for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
        source = Path(str(found.locate_file(top)))
        # .pth files are run when Python starts: they belong to the other environment.
        if source.suffix != ".pth" and not (site / top).exists():
            (site / top).symlink_to(source)
