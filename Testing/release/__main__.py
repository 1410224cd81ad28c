"""``make package``: build the wheel, the sdist and the Slicer archive, and try each as somebody who has nothing else.

Each is put into an environment that holds only what it asks for, away from the checkout, and grades the synthetic CT.
What cannot be tried here is said.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from . import empty_environment, slicer_archive
from .owner import owner

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "out" / "package"
#: What may be downloaded at once, and what a checkout may hold without its history (bytes).
LIMIT = 25_000_000
#: The same in all three: grades the synthetic CT without heatmaps, and says where the library came from.
GRADE = """
import json, sys
# The library first; what an extension brings after what is there already.
sys.path[:0], sys.path[len(sys.path):] = sys.argv[1:2], sys.argv[2:]
import NoduleRiskLib
from NoduleRiskLib.phantom.chest_ct import chest_ct
ct, nodules = chest_ct()
graded = NoduleRiskLib.assess(ct, [nodule.point for nodule in nodules], heatmaps=False, device="cpu")
malignancy = {one.point.label: round(one.nodule.estimate("malignancy").value, 2) for one in graded}
print(json.dumps({"version": NoduleRiskLib.__version__, "file": NoduleRiskLib.__file__, "malignancy": malignancy}))
"""


def main() -> None:
    """Build all, try all; ends with exit code 1 where one does not do what it should."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        wheel, sdist, archive = build(export(work / "checkout"), OUT)
        run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
        sizes([wheel, sdist, archive], work / "checkout")
        grades = [try_wheel(work, wheel), try_sdist(work, sdist), *try_archive(work, archive)]
    assert all(one == grades[0] for one in grades), grades
    print(f"PASS {wheel.name}, {sdist.name}, {archive.name}: the same grades of {len(grades[0])} nodules")


def export(folder: Path) -> Path:
    """The files that git knows, or would add: neither caches nor LIDC's own pictures, which may lie in a checkout."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-coz", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def build(checkout: Path, out: Path) -> tuple[Path, Path, Path]:
    """The wheel (made from the sdist), the sdist and the Slicer archive of a checkout."""
    # Into a copy: building leaves folders behind, which a second build would read.
    shutil.copytree(checkout, checkout.parent / "build")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout.parent / "build")
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    version = sdist.name.removeprefix("nodulerisk-").removesuffix(".tar.gz")
    archive = out / f"NoduleRisk-{version}-slicer.zip"
    slicer_archive.write(checkout, archive, version, f"https://{owner()}.github.io/SlicerNoduleRisk/")
    return wheel, sdist, archive


def sizes(packages: Sequence[Path], checkout: Path) -> None:
    """Say how large all is; too large ends."""
    found = {path.name: path.stat().st_size for path in packages}
    found["the checkout without its history"] = sum(
        path.stat().st_size for path in checkout.rglob("*") if path.is_file()
    )
    for name, size in found.items():
        print(f"{size / 1e6:6.2f} MB  {name}")
    assert max(found.values()) <= LIMIT, f"more than {LIMIT / 1e6:g} MB"


def try_wheel(work: Path, wheel: Path) -> dict[str, float]:
    """As ``pip install "NoduleRisk[cli]"``, ``nodulerisk demo``."""
    python = empty_environment.environment(work / "wheel")
    empty_environment.install(python, wheel, {"cli"})
    run(python.parent / "nodulerisk", "demo", "--no-heatmaps", "--out", work / "demo", cwd=work)
    written = json.loads((work / "demo" / "assessments.json").read_text(encoding="utf-8"))
    assert (work / "demo" / "report.html").is_file()
    print("PASS wheel: nodulerisk demo")
    return {one["label"]: round(one["nodule"]["estimates"]["malignancy"]["value"], 2) for one in written["nodules"]}


def try_sdist(work: Path, sdist: Path) -> dict[str, float]:
    """As ``pip install NoduleRisk-VERSION.tar.gz``: the library alone."""
    made = work / "from-sdist"
    alone = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "wheel", *alone, "--wheel-dir", made, sdist)
    python = empty_environment.environment(work / "sdist")
    (wheel,) = made.glob("*.whl")
    empty_environment.install(python, wheel, set())
    print("PASS sdist: assess")
    return graded(python, work, inside=work / "sdist")


def try_archive(work: Path, archive: Path) -> list[dict[str, float]]:
    """As Slicer does: the unzipped folder on Python's path, beside what Slicer and the PyTorch extension bring."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(work / "slicer")
    folder = work / "slicer" / slicer_archive.TOP
    assert (folder / "NoduleRisk.py").is_file() and (folder / "INSTALL.txt").is_file()
    cache = Path(os.environ.get("SLICER_KIT_CACHE") or "not there")
    if not (cache / "venv-torch").is_dir():
        print("LEFT OUT: the Slicer archive in Slicer's own Python (SLICER_KIT_CACHE names no folder that holds it)")
        # What the sdist asks for is what Slicer and its extension bring.
        return [graded(work / "sdist" / "bin" / "python", work, folder, inside=folder)]
    (torch,) = (cache / "venv-torch").glob("lib/python*/site-packages")
    found = graded(cache / "venv-slicer" / "bin" / "python", work, folder, torch, inside=folder)
    print("PASS Slicer archive: assess in Slicer's own Python")
    return [found]


def graded(python: Path, work: Path, *paths: Path, inside: Path) -> dict[str, float]:
    """Malignancy by nodule, by the library that lies in ``inside``."""
    done = subprocess.run([python, "-I", "-c", GRADE, *paths], cwd=work, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["file"]).is_relative_to(inside), f"the library came from {found['file']}"
    return dict(found["malignancy"])


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command, or end with what it said."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
