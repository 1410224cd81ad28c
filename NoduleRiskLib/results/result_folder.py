"""The files of a run: written beside and moved into their folder together, so that no half result is ever seen."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NoduleRiskError
from .index_page import index_page
from .tables import csv_text, json_text

if TYPE_CHECKING:
    from ..imaging.volume import Volume
    from .assessment import Assessment

CSV, JSON, INDEX, OUTLINES = "assessments.csv", "assessments.json", "index.html", "outlines.seg.nrrd"
#: Where a run writes until it is whole.
PARTIAL = ".nodulerisk-partial-"
#: A run that is killed leaves its partial folder behind; the next run removes those older than this.
STALE_S = 24 * 3600


def check_writable(out: Path) -> None:
    """Refuse a folder before minutes of work go into it; it is not made yet, since the work may come to nothing.

    Raises
    ------
    NoduleRiskError
        If nothing can be written there, or a table in it is open in another program.
    """
    try:
        there = next((path for path in (out, *out.absolute().parents) if path.exists()), out)
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(1 << 16))
        for path in (out / CSV, out / JSON):
            # A table that is still open in Excel cannot be written to.
            if path.exists():
                path.open("ab").close()
    except OSError as error:
        raise NoduleRiskError(
            f"Nothing can be written to {out} ({error.strerror}): name another folder with --out."
        ) from error


def write_results(
    out: Path,
    volume: Volume,
    assessments: Sequence[Assessment],
    model: Mapping[str, Any] | None = None,
    shown: str = "malignancy",
    drawn: Callable[[], None] = lambda: None,
    extra: Callable[[Path], None] = lambda folder: None,
    maps: Collection[str] = (),
) -> tuple[bool, list[str]]:
    """Write tables, an index page and for each nodule a page, outline and heatmaps; they appear together or not at all.

    Files of an earlier run in the folder are removed; files of other origin stay.

    Parameters
    ----------
    out : Path
        Made if it is not there.
    volume : Volume
        The CT that was assessed.
    assessments : sequence of Assessment
    model : mapping, optional
        As ``tables.as_json`` takes it.
    shown : str
        The grade whose heatmap is drawn and written.
    maps : collection of str
        Further grades whose heatmaps are written.
    drawn : callable
        Called after each nodule's page.
    extra : callable
        Given the folder to write more files of the run into.

    Returns
    -------
    replaced : bool
        Whether the files of an earlier run were removed.
    failures : list of str
        One sentence for each nodule whose page or maps could not be made; the tables hold it all the same.

    Raises
    ------
    NoduleRiskError
        If the tables cannot be written, for want of space for example; the folder is then as it was before.
    """
    try:
        with partial_folder(out) as folder:
            failures = []
            try:
                extra(folder)
                failures = list(_draw(folder, volume, assessments, shown, {shown, *maps}, drawn))
                page = index_page(volume, assessments, _names(folder, INDEX, CSV, JSON))
                (folder / INDEX).write_text(page, encoding="utf-8", errors="replace")
                _write_tables(folder, volume, assessments, model)
            except OSError:
                # The grades are worth more than their pictures.
                for path in folder.iterdir():
                    path.unlink()
                failures = [f"Pictures and maps could not be written to {out}: the disk may be full."]
                _write_tables(folder, volume, assessments, model)
            return _move_all(folder, out), failures
    except OSError as error:
        raise NoduleRiskError(
            f"The results could not be written to {out} ({error.strerror}): free some space or name another folder."
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 file so that it is there whole or not at all, whatever ends the process.

    Raises
    ------
    NoduleRiskError
        If it cannot be written; an older file of that name is still there then.
    """
    try:
        with partial_folder(path.parent) as folder:
            part = folder / path.name
            part.write_text(text, encoding="utf-8", errors="replace", newline="")
            os.replace(part, path)
    except OSError as error:
        raise NoduleRiskError(f"{path} could not be written ({error.strerror}): choose another place.") from error


@contextmanager
def partial_folder(beside: Path) -> Iterator[Path]:
    """A new folder within ``beside``, removed at the end; those that killed runs left long ago are removed too."""
    beside.mkdir(parents=True, exist_ok=True)
    for old in beside.glob(f"{PARTIAL}*"):
        if time.time() - old.stat().st_mtime > STALE_S:
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=beside))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def file_stem(number: int, label: str) -> str:
    """How files of the point of that number (from 1) and name begin, on every file system."""
    slug = re.sub(r"[^\w.-]+", "-", label).strip("-.")[:40] or "nodule"
    return f"{number:02d}-{slug}"


def _draw(
    folder: Path,
    volume: Volume,
    assessments: Sequence[Assessment],
    shown: str,
    maps: Collection[str],
    drawn: Callable[[], None],
) -> Iterator[str]:
    from ..imaging.outline_labels import labels_of, write_labels
    from .nodule_page import write_page

    outlines = [one.nodule.outline.probability if one.nodule else None for one in assessments]
    if any(outlines):
        names = {n: one.point.label for n, one in enumerate(assessments, 1) if one.nodule}
        write_labels(folder / OUTLINES, labels_of(volume, outlines), names)
    for number, one in enumerate(assessments, 1):
        stem = file_stem(number, one.point.label)
        try:
            write_page(folder / f"{stem}.png", volume, one, shown)
            _write_maps(folder, stem, one, maps)
        except OSError:
            raise
        except Exception as error:
            # What was begun of its files is no result.
            for begun in folder.glob(f"{stem}*"):
                begun.unlink()
            yield f"The picture or maps of {one.point.label} could not be made: {error!r}."
        drawn()


def _write_maps(folder: Path, stem: str, assessment: Assessment, grades: Collection[str]) -> None:
    from ..imaging.volume import write_nrrd

    nodule = assessment.nodule
    if nodule is None:
        return
    write_nrrd(folder / f"{stem}-outline.nrrd", nodule.outline.probability)
    for name in [one for one in nodule.heatmaps if one in grades]:
        for plane, map_ in nodule.heatmap_volumes(name).items():
            write_nrrd(folder / f"{stem}-{name}-{plane}.nrrd", map_)


def _write_tables(
    folder: Path, volume: Volume, assessments: Sequence[Assessment], model: Mapping[str, Any] | None
) -> None:
    files = _names(folder, CSV, JSON)
    (folder / CSV).write_text(csv_text(assessments, volume), encoding="utf-8", errors="replace", newline="")
    (folder / JSON).write_text(json_text(volume, assessments, model, files), encoding="utf-8", errors="replace")


def _names(folder: Path, *more: str) -> list[str]:
    """Names of a folder's files, and of those that are still to come."""
    return sorted({*(path.name for path in folder.iterdir()), *more})


def _move_all(folder: Path, out: Path) -> bool:
    """Replace an earlier run's files in ``out`` by those in ``folder``; whether there were any.

    The JSON, which lists all files, is the first to go and the last to come: while it is missing, the folder's
    results are not whole.
    """
    from filelock import FileLock

    # Two runs must not move their files at the same time. The lock lies elsewhere, so that it is nobody's result.
    name = hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"nodulerisk-{name}.lock"):
        earlier = _files_of_earlier_run(out)
        (out / JSON).unlink(missing_ok=True)
        for name in earlier:
            (out / name).unlink(missing_ok=True)
        for path in sorted(folder.iterdir(), key=lambda path: path.name == JSON):
            os.replace(path, out / path.name)
    return bool(earlier)


def _files_of_earlier_run(out: Path) -> list[str]:
    """Names of the files that an earlier run's JSON lists; of version 0.1.0, whose JSON lists none, its tables."""
    try:
        files = json.loads((out / JSON).read_text(encoding="utf-8")).get("files", [CSV, JSON])
        # A name, never a path: what stands in a file must not remove others elsewhere.
        return [name for name in files if isinstance(name, str) and name == Path(name).name and (out / name).is_file()]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return []
