"""The command line: a CT and points from disk, assessments to a folder."""

from __future__ import annotations

import math
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from ..errors import NoduleRiskError
from ..grades import GRADES
from ..imaging.points import Point
from ..imaging.points import read as read_points
from ..imaging.volume import Volume, write_nrrd
from ..networks import model_package
from ..results.assessment import Assessment
from ..results.tables import as_json, dumps, percent, write_csv, write_json
from .terminal import SHORT, on_terminal

if TYPE_CHECKING:
    from ..phantom.chest_ct import PhantomNodule

CSV, JSON = "assessments.csv", "assessments.json"
#: The grade whose heatmap is written and drawn.
SHOWN = "malignancy"
#: A decimal comma is joined to its number, too, so that the user is told about it and not about an unknown option.
NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    # A bug keeps its plain traceback: it is for the issue tracker.
    pretty_exceptions_enable=False,
    help="Nine LIDC grades and a heatmap for each lung nodule that a point marks on a chest CT. Research use only.",
)


class _PointCommand(TyperCommand):
    """A command whose --point takes three numbers, any of them negative, and may be repeated."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _joined(args))


Out = Annotated[Path, typer.Option(help="Folder for CSV, JSON, pictures and maps; made if it is not there.")]
Model = Annotated[Path, typer.Option(help="Model package: a folder with model.json.")]
Device = Annotated[str, typer.Option(help="auto (a GPU if there is one), cpu, cuda:0, ...")]
Heatmaps = Annotated[bool, typer.Option(help="Explain the grades: takes most of the time.")]


@app.command(cls=_PointCommand)
def assess(
    ct: Annotated[Path, typer.Argument(help="DICOM folder, NRRD, NIfTI or MHA file.", metavar="CT")],
    point: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="R A S", help="A nodule, RAS millimetres; repeat it for more nodules."),
    ] = None,
    points: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="File with points instead: Slicer's .mrk.json or .fcsv, or CSV with r,a,s or l,p,s."),
    ] = None,
    out: Out = Path("nodulerisk"),
    model: Model = model_package.SHIPPED,
    device: Device = "auto",
    heatmaps: Heatmaps = True,
    series: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="UID", help="Which series of a DICOM folder that holds several."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the JSON and nothing else.")] = False,
) -> None:
    """Grade the nodules under points of a CT."""
    if bool(point) == bool(points):
        raise NoduleRiskError("Say where the nodules are: either --point R A S (once a nodule) or --points FILE.")
    _writable(out)
    marked = read_points(points) if points else [_point(i + 1, text) for i, text in enumerate(point or [])]
    from ..imaging.reading import read

    with _progress() as progress:
        loaded = model_package.load(model)
        with _step(progress, f"Reading {ct.name or ct}"):
            volume = read(ct, series)
        assessments = _assess(progress, volume, marked, loaded, device, heatmaps)
        _write_tables(out, volume, assessments, loaded)
        failures = _write_pictures(progress, out, volume, assessments)
    if json_:
        sys.stdout.write(dumps(as_json(volume, assessments, loaded)) + "\n")
    else:
        _stdout().print(on_terminal(assessments))
        _say_where(out)
    _tell(failures)


@app.command()
def demo(
    out: Out = Path("demo"),
    model: Model = model_package.SHIPPED,
    device: Device = "auto",
    heatmaps: Heatmaps = True,
) -> None:
    """Make a synthetic chest CT with seven nodules and grade them."""
    from ..phantom.chest_ct import chest_ct

    _writable(out)
    with _progress() as progress:
        loaded = model_package.load(model)
        with _step(progress, "Making a synthetic chest CT"):
            volume, nodules = chest_ct()
            write_nrrd(out / "ct.nrrd", volume)
        marked = [one.point for one in nodules]
        assessments = _assess(progress, volume, marked, loaded, device, heatmaps)
        _write_tables(out, volume, assessments, loaded)
        failures = _write_pictures(progress, out, volume, assessments)
    console = _stdout()
    console.print(on_terminal(assessments))
    console.print(Padding(_beside_readers(assessments, nodules), (0, 1, 1, 1)))
    _say_where(out)
    _tell(failures)


@app.command("model")
def show_model(
    path: Annotated[Path, typer.Argument(help="The package's folder.", metavar="PACKAGE")] = model_package.SHIPPED,
) -> None:
    """Verify a model package and say what is in it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in model_package.load(path).describe().items():
        table.add_row(Text(name, "dim"), Text(text, overflow="fold"))
    _stdout().print(Padding(table, (0, 1)))
    _stdout().print(" Verified: every file is as its SHA-256 says.", style="green")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what the user can mend becomes one sentence and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # A pipe on Windows may not know every sign that the tables are drawn with.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app(arguments, prog_name="python -m NoduleRiskLib")
    except NoduleRiskError as error:
        _stderr().print(Text(str(error), "bold red"), soft_wrap=True)
        sys.exit(2)


def _joined(args: list[str]) -> list[str]:
    """Arguments with the numbers that follow ``--point`` made one, so that a minus sign starts no option."""
    joined: list[str] = []
    while args:
        first, *args = args
        joined.append(first)
        numbers = list(takewhile(NUMBER.fullmatch, args[:3])) if first == "--point" else []
        if numbers:
            joined.append(" ".join(numbers))
            args = args[len(numbers) :]
    return joined


def _point(number: int, text: str) -> Point:
    text = text.strip()
    parts = re.split(r"\s*[,;]\s*|\s+", text)
    # A comma that separates some of the numbers only stands inside the others.
    separators = {found.strip() for found in re.findall(r"\s*[,;]\s*|\s+", text)}
    try:
        r, a, s = (float(part) if NUMBER.fullmatch(part) else math.nan for part in parts)
    except ValueError:
        r = a = s = math.nan
    if len(separators) != 1 or not all(map(math.isfinite, (r, a, s))):
        comma = " with points and not commas in the numbers," if "," in text else ""
        raise NoduleRiskError(
            f"--point takes three numbers, R A S in millimetres,{comma} such as --point -56.2 -86.2 -115; "
            f"this is {text!r}."
        )
    return Point(f"nodule {number}", (r, a, s))


def _writable(out: Path) -> None:
    """Refuse a folder before minutes of work go into it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        for path in (out / CSV, out / JSON):
            # A table that is still open in Excel cannot be written to.
            if path.exists():
                path.open("ab").close()
    except OSError as error:
        raise NoduleRiskError(
            f"Nothing can be written to {out} ({error.strerror}): name another folder with --out."
        ) from error


def _assess(
    progress: Progress,
    volume: Volume,
    marked: list[Point],
    loaded: model_package.ModelPackage,
    device: str,
    heatmaps: bool,
) -> list[Assessment]:
    with _step(progress, f"Loading {loaded.name}"):
        # Late: torch takes seconds that no help text and no mistyped option should wait for.
        from ..assessor import Assessor

        assessor = Assessor(loaded, device)
    with _step(progress, f"Assessing on {assessor.device_name}", len(marked)) as task:
        return assessor.assess(volume, marked, heatmaps, lambda done, _: progress.update(task, completed=done))


def _write_tables(out: Path, volume: Volume, assessments: list[Assessment], loaded: model_package.ModelPackage) -> None:
    write_csv(out / CSV, assessments)
    write_json(out / JSON, volume, assessments, loaded)


def _write_pictures(progress: Progress, out: Path, volume: Volume, assessments: list[Assessment]) -> list[str]:
    """A picture and maps a nodule; returns a sentence for each nodule whose files could not be made."""
    from ..results.nodule_page import write_page

    failures = []
    with _step(progress, "Drawing", len(assessments)) as task:
        for number, one in enumerate(assessments, 1):
            stem = f"{number:02d}-{_slug(one.label)}"
            try:
                write_page(out / f"{stem}.png", volume, one, SHOWN)
                _write_maps(out, stem, one)
            except Exception as error:
                # The grades are worth more than their picture: they stand in the tables already.
                failures.append(f"The picture or maps of {one.label} could not be made: {error!r}.")
            progress.advance(task)
    return failures


def _write_maps(out: Path, stem: str, assessment: Assessment) -> None:
    if assessment.outline:
        write_nrrd(out / f"{stem}-outline.nrrd", assessment.outline.probability)
    if SHOWN in assessment.heatmaps:
        for plane, map_ in assessment.heatmap_volumes(SHOWN).items():
            write_nrrd(out / f"{stem}-{SHOWN}-{plane}.nrrd", map_)


def _slug(label: str) -> str:
    """A label as part of a file name on every system."""
    return re.sub(r"[^\w.-]+", "-", label).strip("-.")[:40] or "nodule"


def _beside_readers(assessments: list[Assessment], nodules: Sequence[PhantomNodule]) -> Table:
    """The estimates beside what LIDC's readers said of the nodules that the phantom's are copies of."""
    table = Table(
        box=None,
        padding=(0, 1, 0, 0),
        header_style="dim",
        title="Estimates, and the grades that LIDC's readers gave the real nodules of these shapes",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("")
    for short in SHORT:
        table.add_column(short, justify="right")
    for one, nodule in zip(assessments, nodules, strict=True):
        readers = {grade.name: f"{nodule.grades[grade.name]:.1f}" for grade in GRADES}
        estimates = dict.fromkeys(readers, "–") | {e.grade.name: f"{e.value:.1f}" for e in one.estimates}
        readers["calcification"] = percent(nodule.calcified)
        if one.calcification:
            estimates["calcification"] = percent(one.calcification.presence)
        table.add_row(Text(one.label), *estimates.values())
        table.add_row("  its readers", *readers.values(), style="dim")
    return table


@contextmanager
def _progress() -> Iterator[Progress]:
    console = _stderr()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    # In a log file a bar that never moves would only be an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


@contextmanager
def _step(progress: Progress, what: str, total: int = 1) -> Iterator[Any]:
    task = progress.add_task(what, total=total if total > 1 else None)
    yield task
    progress.update(task, total=total, completed=total)


def _stdout() -> Console:
    return Console(highlight=False)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)


def _say_where(out: Path) -> None:
    _stdout().print(Text.assemble(" Written to ", (str(out.resolve()), "bold")), soft_wrap=True)


def _tell(failures: list[str]) -> None:
    for failure in failures:
        _stderr().print(Text(failure, "bold red"), soft_wrap=True)
    if failures:
        raise typer.Exit(1)
