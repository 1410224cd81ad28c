"""Run the notebooks: ``python -m Testing.release.notebooks [--keep]``.

Every one is executed from start to end; an exception in a cell fails. ``--keep`` writes what they put out into the
notebooks, as the site shows them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def run(path: Path, keep: bool) -> None:
    """Execute one notebook in its own folder, with the library of this checkout."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    if keep:
        for cell in notebook.cells:
            # When and in which order: another value with each run.
            cell.metadata.pop("execution", None)
            if "outputs" in cell:
                # Warnings of libraries, which name folders of this computer.
                cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
        notebook.metadata.language_info = {"name": "python"}
        nbformat.write(notebook, path)


def main(keep: bool) -> int:
    """The exit code: how many failed."""
    os.environ["PYTHONPATH"] = str(ROOT)
    failed = 0
    for path in NOTEBOOKS:
        try:
            run(path, keep)
            print(f"PASS {path.name}")
        except CellExecutionError as error:
            failed += 1
            print(f"FAIL {path.name}\n{error}")
    return failed


if __name__ == "__main__":
    sys.exit(main("--keep" in sys.argv[1:]))
