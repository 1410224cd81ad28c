"""The command line: a CT and points from disk, assessments to a folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .. import __version__
from ..dicom.source import NO_DICOM
from ..dicom.web import Server
from ..errors import NoduleRiskError
from ..grades import GRADE_NAMES
from ..guidelines.about import About
from ..guidelines.management import manage
from ..imaging.volume import write_nrrd
from ..networks import model_package
from ..report import write_report
from ..report.document import check_kind
from ..results.result_folder import check_writable
from .arguments import Device, Model, PointCommand, pairs_of
from .arguments import point as point_of
from .cohort_commands import cohort, cohort_demo
from .guideline_tables import answers_on_terminal, questions_on_terminal
from .running import (
    SHOWN,
    about_package,
    assessed,
    dicom_files,
    finish,
    follow,
    progress_bars,
    reports,
    stderr,
    stdout,
    step,
)
from .serving import serve
from .sources import Ct, Points, outlines_of, send
from .terminal import beside_readers, printable

#: The patient of the synthetic CT, for the guidelines in its report.
DEMO = About({"age": 61, "sex": "female", "smoked": True, "setting": "screening", "count": 7})

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    # A bug keeps its plain traceback: it is for the issue tracker.
    pretty_exceptions_enable=False,
    help="Nine LIDC grades and a heatmap for each lung nodule that a point marks on a chest CT. Research use only.",
)

Out = Annotated[
    Path, typer.Option(help="Folder for an index page, CSV, JSON, pictures and maps; made if it is not there.")
]
Dicom = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        metavar="FOLDER",
        help="Write DICOM objects of the CT's study to this folder, too: structured report, outlines, heatmaps.",
    ),
]
NoNames = Annotated[
    bool, typer.Option("--no-names", help="Leave names, numbers and dates of patient and study out of them.")
]
Store = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="URL", help="Store the DICOM objects on this DICOMweb server, too (they stay in --dicom or OUT/dicom)."
    ),
]
#: A grade, for typer's choices.
GradeName = Enum("GradeName", {name: name for name in GRADE_NAMES})  # type: ignore[misc]
GRADE = GradeName(SHOWN)
Heatmaps = Annotated[bool, typer.Option(help="Compute heatmaps: takes most of the time.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        stdout().print(f"NoduleRisk {__version__}")
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
    ct: Annotated[
        str,
        typer.Argument(
            help="DICOM folder, NRRD, NIfTI or MHA file, or a DICOMweb server's address (with --series).", metavar="CT"
        ),
    ],
    point: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="R A S", help="Position of a nodule, R A S in mm; repeat for each nodule."),
    ] = None,
    points: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="File of points, instead of --point: .mrk.json or .fcsv of Slicer, CSV with r,a,s or l,p,s, DICOM "
            "structured report (TID 1500)."
        ),
    ] = None,
    segmentation: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Outlines that you drew: label map, .seg.nrrd of Slicer, DICOM SEG, RTSTRUCT. Points are optional."
        ),
    ] = None,
    segment: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME", help="Which segments of it are nodules, if not all are; repeat."),
    ] = None,
    out: Out = Path("nodulerisk"),
    model: Model = model_package.SHIPPED,
    device: Device = "auto",
    heatmaps: Heatmaps = True,
    grade: Annotated[
        GradeName, typer.Option(help="Whose heatmap is drawn on the pages and written, as a volume and as DICOM.")
    ] = GRADE,
    all_heatmaps: Annotated[
        bool, typer.Option("--all-heatmaps", help="Write the heatmaps of all grades as volumes, not --grade's alone.")
    ] = False,
    series: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="UID", help="Which series of a DICOM folder that holds several, or of a server."),
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
    dicom: Dicom = None,
    fractional: Annotated[
        bool, typer.Option("--fractional", help="DICOM outlines say how likely each voxel is the nodule's.")
    ] = False,
    no_names: NoNames = False,
    store: Store = None,
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
    marked = Points(points, [point_of(n, text) for n, text in enumerate(point or [], 1)])
    # Outlines without a point get names that nobody knows yet.
    told = About.typed(about or (), () if segmentation else marked.labels or ())
    for file in report or ():
        check_kind(file)
    source, server = Ct(ct, series), Server(store) if store else None
    dicom = dicom or (out / "dicom" if server else None)
    with progress_bars() as progress:
        loaded = model_package.load(model)
        volume = source.read(progress)
        if dicom:
            from ..dicom.writing import check_dicom

            check_dicom(volume)
        outlines = outlines_of(segmentation, segment or (), volume)
        assessments, stopped = assessed(progress, volume, marked.on(volume), loaded, device, heatmaps, outlines)
        later = [reports(progress, report or (), volume, assessments, told, loaded)]
        if dicom:
            asked = assessments if about or report else ()
            given = {
                "managements": [manage(one, volume.dicom, told.of(one.point.label)) for one in asked],
                "heatmap": grade.value,
                "anonymous": no_names,
                "fractional": fractional,
            }
            later.append(dicom_files(progress, dicom, server, volume, assessments, loaded, **given))

        def more() -> None:
            if about or report:
                stdout().print(Padding(answers_on_terminal(assessments, volume.dicom, told), (0, 1, 1, 1)))

        finish(
            progress,
            out,
            volume,
            assessments,
            loaded,
            stopped,
            json_,
            more,
            later=chain(*later),
            shown=grade.value,
            maps=GRADE_NAMES if all_heatmaps else (),
        )


@app.command()
def followup(
    prior: Annotated[
        str, typer.Argument(help="The earlier CT: DICOM folder, NRRD, NIfTI, MHA or server.", metavar="PRIOR")
    ],
    current: Annotated[str, typer.Argument(help="The later CT of the same patient.", metavar="CURRENT")],
    points: Annotated[
        Path, typer.Option(help="File of points on the later CT: .mrk.json, .fcsv, CSV or DICOM report.")
    ],
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
    dicom: Dicom = None,
    no_names: NoNames = False,
    store: Store = None,
) -> None:
    """Compare two CTs of one patient: which nodules grew, are new or gone, and in how many days they double."""
    check_writable(out)
    pairs = pairs_of(pair or [])
    marked, earlier = Points(points), Points(prior_points)
    sources, server = (Ct(prior, prior_series), Ct(current, series)), Server(store) if store else None
    with progress_bars() as progress:
        loaded = model_package.load(model)
        before, now = (one.read(progress) for one in sources)
        follow(
            *(
                progress,
                out,
                (before, earlier.on(before)),
                (now, marked.on(now)),
                loaded,
                device,
                heatmaps,
                days,
                pairs,
            ),
            dicom=dicom or (out / "dicom" if server else None),
            server=server,
            anonymous=no_names,
        )


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

        with progress_bars() as progress:
            loaded = model_package.load(model)
            with step(progress, "Making two synthetic chest CTs"):
                both = [(volume, [one.point for one in nodules]) for volume, nodules in pair()]
            follow(progress, out, both[0], both[1], loaded, device, heatmaps, None, {}, cts=True)
        return
    with progress_bars() as progress:
        loaded = model_package.load(model)
        with step(progress, "Making a synthetic chest CT"):
            volume, nodules = chest_ct()
        marked = [one.point for one in nodules]
        assessments, stopped = assessed(progress, volume, marked, loaded, device, heatmaps)

        def more() -> None:
            stdout().print(Padding(beside_readers(assessments, nodules), (0, 1, 1, 1)))
            stdout().print(Padding(Text(f"{NO_DICOM.format(name=volume.name)}.", "dim"), (0, 1, 1, 1)))

        def extra(folder: Path) -> None:
            write_nrrd(folder / "ct.nrrd", volume)
            with step(progress, "Writing the report"):
                write_report(folder / "report.html", volume, assessments, DEMO, about_package(loaded))

        finish(
            *(progress, out, volume, assessments, loaded, stopped, False),
            more=more,
            extra=extra,
        )


app.command()(serve)


@app.command("send")
def send_again(
    folder: Annotated[Path, typer.Argument(help="Where --dicom wrote them.", metavar="FOLDER")],
    url: Annotated[str, typer.Argument(help="The DICOMweb server's address.", metavar="URL")],
) -> None:
    """Store the DICOM objects of a folder on a DICOMweb server; what it holds already changes nothing."""
    server, files = Server(url), sorted(folder.glob("*.dcm"))
    if not files:
        raise NoduleRiskError(f"{folder} holds no .dcm files: give the folder that --dicom wrote.")
    with progress_bars() as progress:
        failed = list(send(progress, files, server))
    if failed:
        raise NoduleRiskError(failed[0])
    stdout().print(Text(printable(f" {len(files)} DICOM objects are on {server.name}.")), soft_wrap=True)


@app.command()
def questions() -> None:
    """List what the guidelines ask beside what is measured, for --about."""
    stdout().print(Padding(questions_on_terminal(), (0, 1)))


@app.command("model")
def show_model(
    path: Annotated[Path, typer.Argument(help="The package's folder.", metavar="PACKAGE")] = model_package.SHIPPED,
) -> None:
    """Verify a model package and say what is in it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in model_package.load(path).describe().items():
        table.add_row(Text(name, "dim"), Text(printable(text), overflow="fold"))
    stdout().print(Padding(table, (0, 1)))
    stdout().print(" Verified: every file is as its SHA-256 says.", style="green")


app.command()(cohort)
app.command()(cohort_demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what the user can mend becomes one sentence and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # A pipe may not know every sign that the tables are drawn with, and labels may hold broken Unicode.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app(arguments, prog_name="nodulerisk")
    except NoduleRiskError as error:
        stderr().print(Text(printable(str(error)), "bold red"), soft_wrap=True)
        sys.exit(2)
