"""The commands of cohorts: many series at once, and one to try it with."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from .. import __version__
from ..errors import NoduleRiskError
from ..networks import model_package
from .arguments import Model
from .running import about_package, progress_bars, stderr, stdout, step
from .terminal import printable

if TYPE_CHECKING:
    from ..cohort.manifest import Series

#: How many sentences --dry-run prints.
SHOWN = 20
#: In a log file, where no bar moves, a line of progress this often.
SECONDS_A_LINE = 60.0


def cohort(
    manifest: Annotated[
        str,
        typer.Argument(
            metavar="MANIFEST",
            help="CSV or Parquet with id and ct (and points or segmentation); idc-index's manifests; LUNA16's "
            "annotations.csv.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the data set; made if it is not there, gone on with if it is.")],
    points: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="TABLE", help="A second table: id with r,a,s or l,p,s, or with points or segmentation."),
    ] = None,
    cts: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FOLDER", help="Where CTs lie that the manifest gives no path of, called by their ids."),
    ] = None,
    address: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="A Ray cluster: auto, or ray://HOST:10001. Without it, this computer alone."),
    ] = None,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="How many series at a time; as many as processors, GPUs and memory allow."),
    ] = None,
    together: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Series that a worker reads at a time and grades in one go: 4 on a GPU, 1 on a CPU."),
    ] = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="Only the manifest's first so many series.")] = None,  # noqa: UP045
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with what is in OUT, or refuse if anything is.")
    ] = True,
    again: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="STATUS", help="Try series of this status again: failed or refused; repeat."),
    ] = None,
    model: Model = model_package.SHIPPED,
    device: Annotated[str, typer.Option(help="auto (GPUs if Ray finds some), cpu, cuda.")] = "auto",
    heatmaps: Annotated[
        bool, typer.Option(help="Compute heatmaps, for --pages and --dicom: takes most of the time.")
    ] = False,
    pages: Annotated[
        bool, typer.Option("--pages", help="Write each nodule's page and maps to OUT/files, too.")
    ] = False,
    dicom: Annotated[bool, typer.Option("--dicom", help="Write DICOM objects to OUT/files, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check manifest and headers only.")] = False,
) -> None:
    """Grade the nodules of many CTs on one computer or a Ray cluster, into Parquet tables and a summary."""
    from ..cohort import check_installed
    from ..cohort.manifest import read_manifest
    from ..results.cohort_tables import DONE, STATUSES

    check_installed()
    series = read_manifest(manifest, points, cts)[:limit]
    if dry_run:
        _checked(series)
        return
    if wrong := set(again or ()) - (set(STATUSES) - {DONE}):
        raise NoduleRiskError(f"--again takes failed or refused, not {min(wrong)}.")
    from ..cohort.data_set import DataSet
    from ..cohort.grading import Wanted
    from ..cohort.inputs import with_digests
    from ..cohort.running import run
    from ..cohort.summary import COLUMNS, SUMMARY, summary_html
    from ..results.cohort_tables import parts, read_cohort

    if not resume and parts(out):
        raise NoduleRiskError(f"{out} holds results: leave --no-resume away to go on, or name another folder.")
    series = with_digests(series, manifest)
    loaded = model_package.load(model)
    wanted = Wanted(
        model=os.path.abspath(model),
        package_sha256=loaded.digest,
        device=device,
        heatmaps=heatmaps,
        files=os.path.abspath(out / "files"),
        pages=pages,
        dicom=dicom,
        about=about_package(loaded),
    )
    with DataSet(out, {"model package": loaded.digest, "NoduleRisk": __version__}) as data_set:
        before = data_set.done()
        known = [one for one in series if one.id in before]
        changed = {one.id for one in known if before[one.id].inputs not in (None, "", one.inputs)}
        forgotten = changed | {one.id for one in known if before[one.id].status in (again or ())}
        data_set.forget(forgotten)
        if changed:
            text = f"{len(changed)} series have another CT, points or outlines than before: they are graded again."
            stderr().print(Text(printable(text)), soft_wrap=True)
        left = [one for one in series if one.id not in before or one.id in forgotten]
        if len(left) < len(series):
            text = f"{len(series) - len(left)} of {len(series)} series are in {out} already."
            stderr().print(Text(printable(text)), soft_wrap=True)
        if left:
            with _progress(len(left)) as done:
                run(left, data_set, wanted, address, workers, together, done)
        there = read_cohort(out, COLUMNS)
        page = data_set.write_summary(SUMMARY, summary_html(there, out.resolve().name))
    counts = Counter(there.series["status"][there.series["id"].isin([one.id for one in series])])
    told = Text.assemble(" ", *(f"{counts[one]} {one}, " for one in STATUSES if counts[one]))
    stdout().print(told.append("written to ").append(str(page), "bold"), soft_wrap=True)


def cohort_demo(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to; made if it is not there.")] = Path(
        "demo-cohort"
    ),
    count: Annotated[int, typer.Option(min=1, help="How many CTs.")] = 20,
) -> None:
    """Make synthetic chest CTs and a manifest for `nodulerisk cohort`; the last two are broken, as some always are."""
    from ..cohort.demo import POINTS, write_demo

    with progress_bars() as progress, step(progress, "Making synthetic CTs", count) as task:
        manifest = write_demo(out, count, lambda: progress.advance(task), broken=count > 2)
    command = f"nodulerisk cohort {manifest} --points {out / POINTS} --out {out / 'results'}"
    stdout().print(Text(f" Written to {out}. Next: {command}"), soft_wrap=True)


@contextmanager
def _progress(count: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """How far the series are and how long the others will take, while the block runs; in a log a line a minute."""
    console, states = stderr(), Counter[str]()
    told, first = time.monotonic(), 0.0

    def described() -> str:
        return ", ".join(f"{number} {state}" for state, number in states.items()) or "Starting Ray"

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(described(), total=count)

        def done(row: dict[str, Any]) -> None:
            nonlocal told, first
            states[row["status"]] += 1
            bar.update(task, advance=1, description=described())
            now = time.monotonic()
            # The start of Ray and of the workers comes once and counts for none of those that are left.
            first = first or now
            if not console.is_terminal and now - told > SECONDS_A_LINE:
                told = now
                number = states.total()
                minutes = (now - first) / 60 / max(number - 1, 1) * (count - number)
                left = f"; about {minutes:.0f} minutes left" if number > 1 else ""
                console.print(f"{number} of {count}: {described()}{left}")

        yield done


def _checked(series: Sequence[Series]) -> None:
    """Say what --dry-run finds; exit code 1 if anything is wrong."""
    from ..cohort.checking import checked

    with progress_bars() as progress, step(progress, "Checking headers", len(series)) as task:
        found = []
        for one in checked(series):
            found.append(one)
            progress.advance(task)
    wrong = [one for one in found if one.sentence]
    most = max((one.needed_mb for one in found), default=0.0)
    for one in wrong[:SHOWN]:
        stderr().print(Text(printable(f"{one.series.id}: {one.sentence}"), "yellow"), soft_wrap=True)
    if len(wrong) > SHOWN:
        stderr().print(f"... and {len(wrong) - SHOWN} more.")
    stdout().print(
        f" {len(series)} series: {len(series) - len(wrong)} can be tried, {len(wrong)} would be refused. "
        f"The largest takes about {most / 1e3:.1f} GB of memory.",
        soft_wrap=True,
    )
    if wrong:
        raise typer.Exit(1)
