"""What the commands do once their options are read: assess, compare, write and print, with progress bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from ..errors import NoduleRiskError
from ..guidelines.about import About
from ..imaging.points import Point
from ..imaging.volume import Volume, write_nrrd
from ..networks import model_package
from ..report import write_report
from ..results.assessment import Assessment
from ..results.result_folder import JSON, write_results
from ..results.tables import json_text
from . import followup_table
from .arguments import points_csv
from .sources import send
from .terminal import on_terminal, printable

if TYPE_CHECKING:
    from ..dicom.web import Server
    from ..imaging.segment import Segment

#: The grade whose heatmap is written and drawn unless another is asked for.
SHOWN = "malignancy"


def assessed(
    progress: Progress,
    volume: Volume,
    marked: list[Point],
    loaded: model_package.ModelPackage,
    device: str,
    heatmaps: bool,
    outlines: Sequence[Segment] | None = None,
) -> tuple[list[Assessment], bool]:
    """The assessments of all points, or of those that were done when the user pressed Ctrl-C, and whether that was."""
    with step(progress, f"Loading {loaded.name}"):
        # Late: torch takes seconds that no help text and no mistyped option should wait for.
        from ..assessor import Assessor

        assessor = Assessor(loaded, device)
    done: list[Assessment] = []
    # A point in or near an outline shares it.
    count = max(len(marked), len(outlines or ()))
    with step(progress, f"Assessing on {assessor.device_name}", count) as task:
        try:
            for one in assessor.assess(volume, marked, heatmaps, outlines):
                done.append(one)
                progress.advance(task)
        except KeyboardInterrupt:
            if not done:
                raise
            return done, True
    return done, False


def follow(
    progress: Progress,
    out: Path,
    prior: tuple[Volume, list[Point]],
    current: tuple[Volume, list[Point]],
    loaded: model_package.ModelPackage,
    device: str,
    heatmaps: bool,
    days: float | None,
    pairs: dict[str, str],
    cts: bool = False,
    dicom: Path | None = None,
    server: Server | None = None,
    anonymous: bool = False,
) -> None:
    """Assess both CTs, compare them, write and print both.

    ``cts`` writes the CTs and the points, too; ``dicom`` is the folder for the later CT's DICOM objects, and
    ``server`` stores them.
    """
    from ..followup import page, tables
    from ..followup.comparison import Examination, follow_up

    if dicom:
        from ..dicom.writing import check_dicom

        check_dicom(current[0])
    with step(progress, f"Loading {loaded.name}"):
        from ..assessor import Assessor

        assessor = Assessor(loaded, device)
    prepared = {volume: assessor.prepare(volume) for volume, _ in (prior, current)}
    examinations = []
    for (volume, marked), name, explained in ((prior, "earlier", False), (current, "later", heatmaps)):
        found: list[Assessment] = []
        with step(progress, f"Assessing the {name} CT on {assessor.device_name}", len(marked)) as task:
            for one in assessor.assess(prepared[volume], marked, explained) if marked else ():
                found.append(one)
                progress.advance(task)
        examinations.append(Examination(volume, tuple(found)))
    # Lungs, matches, then each nodule of either CT.
    steps = 2 + sum(len(one.assessments) for one in examinations)
    with step(progress, "Comparing both CTs", steps) as task:
        followed = follow_up(
            examinations[0],
            examinations[1],
            lambda volume, places: list(assessor.assess(prepared[volume], places, False)),
            days=days,
            pairs=pairs,
            done=lambda done: progress.advance(task),
        )

    def extra(folder: Path) -> None:
        (folder / "followup.csv").write_text(tables.csv_text(followed), encoding="utf-8", newline="")
        (folder / "followup.json").write_text(tables.json_text(followed), encoding="utf-8")
        page.write_page(folder / "followup.png", prior[0], current[0], followed)
        for name, (volume, marked) in (("prior", prior), ("current", current)) if cts else ():
            write_nrrd(folder / f"{name}.nrrd", volume)
            (folder / f"{name}.csv").write_text(points_csv(marked), encoding="utf-8", newline="")

    def more() -> None:
        stdout().print(followup_table.on_terminal(followed))

    assessments = list(examinations[1].assessments)
    later: Iterable[str] = ()
    if dicom:
        from ..dicom.following import followed_on, growth_of

        assessments = followed_on(examinations[0], examinations[1], followed.nodules)
        growth = growth_of(examinations[1], followed.nodules)
        given = {"growth": growth, "anonymous": anonymous}
        later = dicom_files(progress, dicom, server, current[0], assessments, loaded, **given)
    finish(progress, out, current[0], assessments, loaded, False, False, more, extra, later)


def finish(
    progress: Progress,
    out: Path,
    volume: Volume,
    assessments: list[Assessment],
    loaded: model_package.ModelPackage,
    stopped: bool,
    as_json: bool,
    more: Callable[[], None] = lambda: None,
    extra: Callable[[Path], None] = lambda folder: None,
    later: Iterable[str] = (),
    shown: str = SHOWN,
    maps: Collection[str] = (),
) -> None:
    """Write the results, print them, and say what went wrong; results that cannot be written are still printed.

    ``later`` is what is written and sent when the results are safe: a generator of what went wrong with it.
    """
    failures: list[str] = []
    unwritten, replaced = None, False
    about = about_package(loaded)
    with step(progress, "Drawing", len(assessments)) as task:
        try:
            replaced, failures = write_results(
                out, volume, assessments, about, shown, lambda: progress.advance(task), extra, maps
            )
        except NoduleRiskError as error:
            unwritten = error
    failed = list(later)
    progress.stop()
    if as_json:
        sys.stdout.write(json_text(volume, assessments, about) if unwritten else (out / JSON).read_text("utf-8"))
    else:
        stdout().print(on_terminal(assessments))
        more()
        if unwritten is None:
            where = Text.assemble(" Written to ", (str(out.resolve()), "bold"))
            where.append(", in place of an earlier run's files" if replaced else "")
            stdout().print(where, soft_wrap=True)
    if unwritten:
        raise unwritten
    if stopped:
        failures.append(f"Stopped after {len(assessments)} points: the others were not assessed.")
    failures += failed
    for failure in failures:
        stderr().print(Text(printable(failure), "bold red"), soft_wrap=True)
    if failures:
        raise typer.Exit(1)


def reports(
    progress: Progress,
    files: Sequence[Path],
    volume: Volume,
    assessments: Sequence[Assessment],
    about: About,
    loaded: model_package.ModelPackage,
) -> Iterator[str]:
    """Write the reports; a sentence for each that could not be written."""
    for file in files:
        with step(progress, f"Writing {file.name}"):
            try:
                write_report(file, volume, assessments, about, about_package(loaded))
            except NoduleRiskError as error:
                yield str(error)


def dicom_files(
    progress: Progress,
    folder: Path,
    server: Server | None,
    volume: Volume,
    assessments: Sequence[Assessment],
    loaded: model_package.ModelPackage,
    **more: Any,
) -> Iterator[str]:
    """Write the DICOM objects, ``more`` as ``dicom_objects`` takes it, and store them; a sentence if that failed."""
    from ..dicom.writing import dicom_objects, write_dicom

    with step(progress, "Writing DICOM"):
        try:
            objects = dicom_objects(volume, assessments, model=about_package(loaded), **more)
            paths = write_dicom(folder, objects)
        except NoduleRiskError as error:
            yield str(error)
            return
    if server:
        yield from send(progress, paths, server)


def about_package(loaded: model_package.ModelPackage) -> dict[str, Any]:
    """What files say of the model package."""
    return {
        "name": loaded.name,
        "version": loaded.manifest.version,
        "digest": loaded.digest,
        "layout": asdict(loaded.config.layout),
    }


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Progress bars on the error stream, while the block runs."""
    console = stderr()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    # In a log file a bar that never moves would only be an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


@contextmanager
def step(progress: Progress, what: str, total: int = 1) -> Iterator[Any]:
    """One bar; gives the task to advance."""
    task = progress.add_task(printable(what), total=total if total > 1 else None)
    yield task
    progress.update(task, total=total, completed=total)


def stdout() -> Console:
    """The console of results."""
    return Console(highlight=False)


def stderr() -> Console:
    """The console of what goes wrong, and of progress."""
    return Console(stderr=True, highlight=False)
