"""The command line: a CT and points from disk, assessments to a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..errors import NoduleRiskError
from ..guidelines.about import About
from ..imaging.points import Point
from ..imaging.points import read as read_points
from ..imaging.volume import Volume, write_nrrd
from ..networks import model_package
from ..report import write_report
from ..report.document import check_kind
from ..results.assessment import Assessment
from ..results.result_folder import JSON, check_writable, write_results
from ..results.tables import json_text
from . import followup_table
from .arguments import PointCommand, pairs_of, points_csv
from .arguments import point as point_of
from .guideline_tables import answers_on_terminal, questions_on_terminal
from .terminal import beside_readers, on_terminal, printable

#: The grade whose heatmap is written and drawn.
SHOWN = "malignancy"
#: The patient of the synthetic CT, for the guidelines in its report.
DEMO = About({"age": 61, "sex": "female", "smoked": True, "setting": "screening", "count": 7})

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    # A bug keeps its plain traceback: it is for the issue tracker.
    pretty_exceptions_enable=False,
    help="Nine LIDC grades and a heatmap for each lung nodule that a point marks on a chest CT. Research use only.",
)

Out = Annotated[Path, typer.Option(help="Folder for CSV, JSON, pictures and maps; made if it is not there.")]
Model = Annotated[Path, typer.Option(help="Model package: a folder with model.json.")]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda:0, ...")]
Heatmaps = Annotated[bool, typer.Option(help="Compute heatmaps: takes most of the time.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        _stdout().print(f"NoduleRisk {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Nine LIDC grades and a heatmap for each lung nodule that a point marks on a chest CT. Research use only."""


@app.command(cls=PointCommand)
def assess(
    ct: Annotated[Path, typer.Argument(help="DICOM folder, NRRD, NIfTI or MHA file.", metavar="CT")],
    point: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="R A S", help="Position of a nodule, R A S in mm; repeat for each nodule."),
    ] = None,
    points: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="File of points, instead of --point: .mrk.json or .fcsv of Slicer, or CSV with r,a,s or l,p,s."
        ),
    ] = None,
    segmentation: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Outlines that you drew: label map, Slicer's .seg.nrrd or DICOM SEG. Points are then optional."
        ),
    ] = None,
    out: Out = Path("nodulerisk"),
    model: Model = model_package.SHIPPED,
    device: Device = "auto",
    heatmaps: Heatmaps = True,
    series: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="UID", help="Which series of a DICOM folder that holds several."),
    ] = None,
    about: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="NAME=VALUE",
            help="What you know for the guidelines: age=61, smoked=yes; of one nodule: 'nodule 1:lobe=upper'; or a "
            "JSON file. Repeat as needed; `nodulerisk questions` lists all.",
        ),
    ] = None,
    report: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(metavar="FILE", help="Write a report with guidelines, too: .html, .pdf or .txt; may be repeated."),
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the JSON and nothing else (files are still written to --out).")
    ] = False,
) -> None:
    """Grade the lung nodules of a CT at given points, at outlines that you drew, or both."""
    if (point and points) or not (point or points or segmentation):
        raise NoduleRiskError(
            "Say where the nodules are: either --point R A S (once per nodule) or --points FILE, "
            "or --segmentation FILE with outlines."
        )
    check_writable(out)
    marked = read_points(points) if points else [point_of(n, text) for n, text in enumerate(point or [], 1)]
    # Outlines without a point get names that nobody knows yet.
    told = About.typed(about or (), () if segmentation else [one.label for one in marked])
    for file in report or ():
        check_kind(file)
    from ..imaging.reading import read

    with _progress() as progress:
        loaded = model_package.load(model)
        with _step(progress, f"Reading {ct.name or ct}"):
            volume = read(ct, series)
        assessments, stopped = _assess(progress, volume, marked, loaded, device, heatmaps, segmentation)
        failed = list(_reports(progress, report or (), volume, assessments, told, loaded))

        def more() -> None:
            if about or report:
                _stdout().print(Padding(answers_on_terminal(assessments, volume.dicom, told), (0, 1, 1, 1)))

        _finish(progress, out, volume, assessments, loaded, stopped, json_, more, failed=failed)


@app.command()
def followup(
    prior: Annotated[Path, typer.Argument(help="The earlier CT: DICOM folder, NRRD, NIfTI or MHA.", metavar="PRIOR")],
    current: Annotated[Path, typer.Argument(help="The later CT of the same patient.", metavar="CURRENT")],
    points: Annotated[Path, typer.Option(help="File of points on the later CT: .mrk.json, .fcsv or CSV.")],
    prior_points: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File of points on the earlier CT; without it nodules are looked for at their places."),
    ] = None,
    days: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Days between both CTs, where their DICOM headers do not tell."),
    ] = None,
    pair: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NOW=BEFORE", help="Names of one nodule in both CTs (NOW= for none); repeat."),
    ] = None,
    out: Out = Path("followup"),
    model: Model = model_package.SHIPPED,
    device: Device = "auto",
    heatmaps: Heatmaps = False,
    prior_series: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="UID", help="Which series of PRIOR, if it holds several."),
    ] = None,
    series: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="UID", help="Which series of CURRENT, if it holds several."),
    ] = None,
) -> None:
    """Compare two CTs of one patient: which nodules grew, are new or gone, and in how many days they double."""
    check_writable(out)
    pairs = pairs_of(pair or [])
    marked = read_points(points)
    earlier = read_points(prior_points) if prior_points else []
    from ..imaging.reading import read

    with _progress() as progress:
        loaded = model_package.load(model)
        with _step(progress, f"Reading {prior.name or prior}"):
            before = read(prior, prior_series)
        with _step(progress, f"Reading {current.name or current}"):
            now = read(current, series)
        _follow(progress, out, (before, earlier), (now, marked), loaded, device, heatmaps, days, pairs)


@app.command()
def demo(
    out: Out = Path("demo"),
    model: Model = model_package.SHIPPED,
    device: Device = "auto",
    heatmaps: Heatmaps = True,
    followup: Annotated[
        bool,
        typer.Option(
            "--followup", help="Two CTs of one synthetic patient, 120 days apart: grown, new and gone nodules."
        ),
    ] = False,
) -> None:
    """Make a synthetic chest CT with seven nodules, grade them and write a report."""
    from ..phantom.chest_ct import chest_ct

    check_writable(out)
    if followup:
        from ..phantom.later_ct import pair

        with _progress() as progress:
            loaded = model_package.load(model)
            with _step(progress, "Making two synthetic chest CTs"):
                both = [(volume, [one.point for one in nodules]) for volume, nodules in pair()]
            _follow(progress, out, both[0], both[1], loaded, device, heatmaps, None, {}, cts=True)
        return
    with _progress() as progress:
        loaded = model_package.load(model)
        with _step(progress, "Making a synthetic chest CT"):
            volume, nodules = chest_ct()
        marked = [one.point for one in nodules]
        assessments, stopped = _assess(progress, volume, marked, loaded, device, heatmaps)

        def more() -> None:
            _stdout().print(Padding(beside_readers(assessments, nodules), (0, 1, 1, 1)))

        def extra(folder: Path) -> None:
            write_nrrd(folder / "ct.nrrd", volume)
            with _step(progress, "Writing the report"):
                write_report(folder / "report.html", volume, assessments, DEMO, _about(loaded))

        _finish(
            *(progress, out, volume, assessments, loaded, stopped, False),
            more=more,
            extra=extra,
        )


@app.command()
def questions() -> None:
    """List what the guidelines ask beside what is measured, for --about."""
    _stdout().print(Padding(questions_on_terminal(), (0, 1)))


@app.command("model")
def show_model(
    path: Annotated[Path, typer.Argument(help="The package's folder.", metavar="PACKAGE")] = model_package.SHIPPED,
) -> None:
    """Verify a model package and say what is in it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in model_package.load(path).describe().items():
        table.add_row(Text(name, "dim"), Text(printable(text), overflow="fold"))
    _stdout().print(Padding(table, (0, 1)))
    _stdout().print(" Verified: every file is as its SHA-256 says.", style="green")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what the user can mend becomes one sentence and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # A pipe may not know every sign that the tables are drawn with, and labels may hold broken Unicode.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app(arguments, prog_name="nodulerisk")
    except NoduleRiskError as error:
        _stderr().print(Text(printable(str(error)), "bold red"), soft_wrap=True)
        sys.exit(2)


def _assess(
    progress: Progress,
    volume: Volume,
    marked: list[Point],
    loaded: model_package.ModelPackage,
    device: str,
    heatmaps: bool,
    segmentation: Path | None = None,
) -> tuple[list[Assessment], bool]:
    """The assessments of all points, or of those that were done when the user pressed Ctrl-C, and whether that was."""
    with _step(progress, f"Loading {loaded.name}"):
        # Late: torch takes seconds that no help text and no mistyped option should wait for.
        from ..assessor import Assessor

        assessor = Assessor(loaded, device)
    done: list[Assessment] = []
    # How many outlines a segmentation holds, nobody knows yet.
    count = len(marked) if segmentation is None else 1
    with _step(progress, f"Assessing on {assessor.device_name}", count) as task:
        try:
            for one in assessor.assess(volume, marked, heatmaps, segmentation):
                done.append(one)
                progress.advance(task)
        except KeyboardInterrupt:
            if not done:
                raise
            return done, True
    return done, False


def _follow(
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
) -> None:
    """Assess both CTs, compare them, write and print both; ``cts`` writes the CTs and the points, too."""
    from ..followup import page, tables
    from ..followup.comparison import Examination, follow_up

    with _step(progress, f"Loading {loaded.name}"):
        from ..assessor import Assessor

        assessor = Assessor(loaded, device)
    prepared = {volume: assessor.prepare(volume) for volume, _ in (prior, current)}
    examinations = []
    for (volume, marked), name, explained in ((prior, "earlier", False), (current, "later", heatmaps)):
        found: list[Assessment] = []
        with _step(progress, f"Assessing the {name} CT on {assessor.device_name}", len(marked)) as task:
            for one in assessor.assess(prepared[volume], marked, explained) if marked else ():
                found.append(one)
                progress.advance(task)
        examinations.append(Examination(volume, tuple(found)))
    # Lungs, matches, then each nodule of either CT.
    steps = 2 + sum(len(one.assessments) for one in examinations)
    with _step(progress, "Comparing both CTs", steps) as task:
        followed = follow_up(
            examinations[0],
            examinations[1],
            lambda volume, places: list(assessor.assess(prepared[volume], places, False)),
            days=days,
            pairs=pairs,
            done=lambda step: progress.advance(task),
        )

    def extra(folder: Path) -> None:
        (folder / "followup.csv").write_text(tables.csv_text(followed), encoding="utf-8", newline="")
        (folder / "followup.json").write_text(tables.json_text(followed), encoding="utf-8")
        page.write_page(folder / "followup.png", prior[0], current[0], followed)
        for name, (volume, marked) in (("prior", prior), ("current", current)) if cts else ():
            write_nrrd(folder / f"{name}.nrrd", volume)
            (folder / f"{name}.csv").write_text(points_csv(marked), encoding="utf-8", newline="")

    def more() -> None:
        _stdout().print(followup_table.on_terminal(followed))

    _finish(progress, out, current[0], list(examinations[1].assessments), loaded, False, False, more, extra)


def _finish(
    progress: Progress,
    out: Path,
    volume: Volume,
    assessments: list[Assessment],
    loaded: model_package.ModelPackage,
    stopped: bool,
    as_json: bool,
    more: Callable[[], None] = lambda: None,
    extra: Callable[[Path], None] = lambda folder: None,
    failed: Sequence[str] = (),
) -> None:
    """Write the results, print them, and say what went wrong; results that cannot be written are still printed."""
    failures: list[str] = []
    unwritten, replaced = None, False
    about = _about(loaded)
    with _step(progress, "Drawing", len(assessments)) as task:
        try:
            replaced, failures = write_results(
                out, volume, assessments, about, SHOWN, lambda: progress.advance(task), extra
            )
        except NoduleRiskError as error:
            unwritten = error
    progress.stop()
    if as_json:
        sys.stdout.write(json_text(volume, assessments, about) if unwritten else (out / JSON).read_text("utf-8"))
    else:
        _stdout().print(on_terminal(assessments))
        more()
        if unwritten is None:
            where = Text.assemble(" Written to ", (str(out.resolve()), "bold"))
            where.append(", in place of an earlier run's files" if replaced else "")
            _stdout().print(where, soft_wrap=True)
    if unwritten:
        raise unwritten
    if stopped:
        failures.append(f"Stopped after {len(assessments)} points: the others were not assessed.")
    failures += failed
    for failure in failures:
        _stderr().print(Text(printable(failure), "bold red"), soft_wrap=True)
    if failures:
        raise typer.Exit(1)


def _reports(
    progress: Progress,
    files: Sequence[Path],
    volume: Volume,
    assessments: Sequence[Assessment],
    about: About,
    loaded: model_package.ModelPackage,
) -> Iterator[str]:
    """Write the reports; a sentence for each that could not be written."""
    for file in files:
        with _step(progress, f"Writing {file.name}"):
            try:
                write_report(file, volume, assessments, about, _about(loaded))
            except NoduleRiskError as error:
                yield str(error)


def _about(loaded: model_package.ModelPackage) -> dict[str, Any]:
    """What files say of the model package."""
    return {
        "name": loaded.name,
        "version": loaded.manifest.version,
        "digest": loaded.digest,
        "layout": asdict(loaded.config.layout),
    }


@contextmanager
def _progress() -> Iterator[Progress]:
    console = _stderr()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    # In a log file a bar that never moves would only be an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


@contextmanager
def _step(progress: Progress, what: str, total: int = 1) -> Iterator[Any]:
    task = progress.add_task(printable(what), total=total if total > 1 else None)
    yield task
    progress.update(task, total=total, completed=total)


def _stdout() -> Console:
    return Console(highlight=False)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)
