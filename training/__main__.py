"""The command line of the training: from the data folder to tables and the model package."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import torch
import typer
from rich.console import Console

from NoduleRiskLib.assessor import Assessor
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.explain.heatmaps import DEFAULT
from NoduleRiskLib.explain.pixel_attribution import PIXEL_METHODS
from NoduleRiskLib.explain.slice_attribution import SLICE_METHODS
from NoduleRiskLib.imaging import points, reading
from NoduleRiskLib.networks.model_package import SHIPPED, Networks, load, with_card
from NoduleRiskLib.phantom import chest_ct

from .data import dicom_crops, lidc
from .data.crops import FOLDS, SAMPLE_PATIENT, nodule_table
from .evaluation import faithfulness, heatmap_tables
from .evaluation import tables as scores
from .evaluation.metrics import markdown, outline_table
from .evaluation.robustness import false_finds, moves
from .models.devices import on
from .models.experiments import MULTITASK, RUNS, at_schedule, named
from .models.false_positive_reduction import told_apart
from .models.graders import GraderRun, going_on
from .models.segmentation import SegmentationRun
from .studies import cross_validation, radiomics
from .studies import label_study as labels
from .studies.compare import SOURCES
from .studies.compare import compare as compared
from .studies.drawings import draw
from .studies.export import export
from .studies.speed import speed as measured_speed

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
Data = Annotated[Path, typer.Option(envvar="NODULERISK_DATA", help="The folder that holds lidc/.")]
Out = Annotated[Path, typer.Option(help="Caches, training states and tables; a killed run goes on from here.")]
Device = Annotated[Optional[str], typer.Option(help="A torch device; without it a GPU if there is one.")]  # noqa: UP045
Epochs = Annotated[Optional[int], typer.Option(help="Instead of the run's own number.")]  # noqa: UP045
Limit = Annotated[Optional[int], typer.Option(help="Only so many nodules of each fold, to try things out.")]  # noqa: UP045
Folds = Annotated[str, typer.Option(help="Which of the five folds, such as 0,2: to run several side by side.")]
Start = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="A package of these five folds: graders go on from its own for 8 epochs instead of beginning."),
]
Package = Annotated[Path, typer.Option(help="The model package's folder.")]
OUT = Path("out")
ALL_FOLDS = ",".join(map(str, range(FOLDS)))


@app.command()
def study(
    out: Out = OUT,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(envvar="NODULERISK_DATA", help="The folder that holds lidc/, for LUNA16's own diameters."),
    ] = None,
) -> None:
    """What the labels say, without any image: similarity, grades to malignancy, agreement, baselines."""
    text = labels.study(lidc.readings(out), out, None if data is None else nodule_table(data))
    _write(out / "study.md", text, Console(stderr=True))


@app.command()
def outlines(data: Data, out: Out = OUT, epochs: Epochs = None, limit: Limit = None, folds: Folds = ALL_FOLDS) -> None:
    """Train locators and recognisers and score them on crops and cubes of patients that they never saw."""
    study = _study(data, out, None, epochs, None, limit, folds)
    found_by, told_by = cross_validation.segmentation_nets(study), cross_validation.false_positive_nets(study)
    outlined, opinions = {}, []
    for name, cubes in (("crops with surroundings", False), ("cubes", True)):
        found_outlines = cross_validation.outlines(study, found_by, cubes)
        outlined[name] = cross_validation.joined(found_outlines)
        outlined[f"{name}, without learning"] = cross_validation.joined(
            cross_validation.classical_outlines(study, cubes)
        )
        opinions += [
            f"### Nodules or not: {name}\n",
            markdown(told_apart(cross_validation.opinions(found_outlines, told_by))),
        ]
    text = "\n".join(["### Outlines against the readers' consensus\n", markdown(outline_table(outlined)), *opinions])
    _write(out / "outlines.md", text, study.console)


@app.command()
def grades(
    data: Data,
    out: Out = OUT,
    device: Device = None,
    segmentation_epochs: Epochs = None,
    epochs: Epochs = None,
    start: Start = None,
    limit: Limit = None,
    folds: Folds = ALL_FOLDS,
) -> None:
    """Train the graders of some folds (all locators first, where they are not there yet)."""
    study = _study(data, out, device, segmentation_epochs, epochs, limit, ALL_FOLDS, start)
    with on(study.device).rank_zero_first():
        found_outlines = cross_validation.outlines(study, cross_validation.segmentation_nets(study))
    cross_validation.graders(replace(study, folds=_folds(folds)), found_outlines)


@app.command("all")
def everything(
    data: Data,
    out: Out = OUT,
    package: Package = SHIPPED,
    version: Annotated[str, typer.Option(help="The package's version.")] = "0.1.0",
    device: Device = None,
    segmentation_epochs: Epochs = None,
    epochs: Epochs = None,
    start: Start = None,
    limit: Limit = None,
) -> None:
    """From the data folder to the model package: locators, outlines, graders, tables, export."""
    study = _study(data, out, device, segmentation_epochs, epochs, limit, ALL_FOLDS, start)
    found_by = cross_validation.segmentation_nets(study)
    found_outlines = cross_validation.outlines(study, found_by)
    trained = cross_validation.graders(study, found_outlines)
    crops = cross_validation.out_of_fold(study, found_outlines, trained)
    cubes = cross_validation.out_of_fold(
        study, cross_validation.outlines(study, found_by, cubes=True), trained, cubes=True
    )
    out.mkdir(parents=True, exist_ok=True)
    for name, table in (("crops", crops), ("cubes", cubes)):
        table.to_csv(out / f"out-of-fold-{name}.csv", index=False)
    _write(out / "tables.md", scores.tables(out), study.console)
    shipped = Networks(
        list(trained.values()),
        [cross_validation.shipped_segmentation(study)],
        [cross_validation.shipped_false_positive(study)],
    )
    command = "python -m training all --data DATA" + (" --start PACKAGE" if start else "")
    made = export(package, version, shipped, scores.beside(crops, out), cubes, command)
    study.console.print(f"{made.model_id} written to {made.path}")


@app.command()
def compare(
    data: Data,
    out: Out = OUT,
    runs: Annotated[str, typer.Option(help="Names of experiments, comma-separated, or all.")] = "all",
    source: Annotated[str, typer.Option(help=f"Whose outlines: {' or '.join(SOURCES)}.")] = "readers",
    folds: Folds = ALL_FOLDS,
    epochs: Annotated[int, typer.Option(help="Of every run.")] = 10,
    batch: Annotated[int, typer.Option(help="Nodules a step.")] = 16,
    pixels: Annotated[int, typer.Option(help="Rows and columns of a slice, as large in mm as the package's.")] = 32,
    device: Device = None,
    limit: Limit = None,
) -> None:
    """Train named runs on the same folds and schedule, and score them beside the first; goes on where it was killed."""
    if source not in SOURCES:
        raise NoduleRiskError(f"There are no outlines of {source!r}: choose {' or '.join(SOURCES)}.")
    study = _study(data, out, device, None, None, limit, folds)
    given = f"--runs {runs} --source {source} --folds {folds} --epochs {epochs} --batch {batch} --pixels {pixels}"
    command = f"python -m training compare {given}" + (f" --limit {limit}" if limit else "")
    text = compared(study, named(runs, epochs, pixels, batch), source, command)
    if on(study.device).is_global_zero:
        _write(out / f"compare-{source}.md", text, study.console)


@app.command()
def speed(data: Data, out: Out = OUT, device: Device = None) -> None:
    """How fast a grader trains, in nodules and multiply-adds a second, beside timm's smallest vision transformer."""
    study = _study(data, out, device, None, None, None, ALL_FOLDS)
    runs = {"compared": at_schedule(RUNS[MULTITASK], 1, 32, 16), "shipped": GraderRun()}
    _write(out / "speed.md", measured_speed(study, runs), study.console)


@app.command()
def tables(out: Out = OUT) -> None:
    """All tables of the out-of-fold estimates that `all` left in --out, beside those of `baselines` if it ran."""
    _write(out / "tables.md", scores.tables(out), Console(stderr=True))


@app.command()
def baselines(data: Data, out: Out = OUT) -> None:
    """What hand-made features of the crops say of each grade (gradient boosting, out of fold), without any network."""
    radiomics.out_of_fold(data, out)
    _write(out / "baselines.md", scores.baselines(data, out), Console(stderr=True))


@app.command()
def crops(
    dicom: Annotated[Path, typer.Argument(help="The folder of LIDC-IDRI's DICOM files, a series a folder.")],
    data: Data,
    out: Out = OUT,
    jobs: Annotated[Optional[int], typer.Option(help="Scans read at a time; without it one a core.")] = None,  # noqa: UP045
) -> None:
    """LIDC-IDRI's DICOM files become the data set that all other commands read: DATA/lidc."""
    console = Console(stderr=True)
    nodules, left_out = dicom_crops.build(dicom, data, lidc.readings(out), jobs)
    for row in left_out.itertuples():
        console.print(f"left out: {row.nodule_id}: {row.reason}", markup=False)
    console.print(f"{len(nodules):,} nodules of {nodules.series_uid.nunique():,} scans written to {data / 'lidc'}")


@app.command()
def robustness(data: Data, out: Out = OUT, package: Package = SHIPPED) -> None:
    """How far the package's grades move when nothing about the nodule does, and what it says where there is none."""
    phantom_ct, nodules = chest_ct.chest_ct()
    folder = data / "ct" / SAMPLE_PATIENT
    sample_ct, marked = reading.read(folder), points.read(folder.parent / "points.csv")
    assessor = Assessor(package)
    text = [
        f"### Synthetic CT, {len(nodules)} nodules\n",
        markdown(moves(assessor, [(phantom_ct, [one.point for one in nodules])])),
        f"### {SAMPLE_PATIENT}, its nodule\n",
        markdown(moves(assessor, [(sample_ct, marked)])),
        f"### Points on no nodule of {SAMPLE_PATIENT}\n",
        markdown(false_finds(assessor, sample_ct, marked)),
    ]
    _write(out / "robustness.md", "\n".join(text), Console(stderr=True))


@app.command("faithfulness")
def heatmaps(
    data: Data,
    out: Out = OUT,
    package: Package = SHIPPED,
    nodules: Annotated[int, typer.Option(help="So many nodules of each fold.")] = 20,
    folds: Folds = ALL_FOLDS,
    keep: Annotated[bool, typer.Option(help="Write what was measured into the package and its model card.")] = False,
) -> None:
    """Whether the heatmaps tell the truth: every method against controls, on nodules that the grader never saw."""
    console = Console(stderr=True)
    loaded = load(package)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    # Of other weights nothing is taken over.
    kept = out / "faithfulness" / loaded.manifest.weights_sha256[:12]
    measured = faithfulness.collect(data, kept, loaded, nodules, _folds(folds), console)
    for kind, methods in (("blocks", list(PIXEL_METHODS)), ("slices", list(SLICE_METHODS))):
        heatmap_tables.plot_curves(out / f"faithfulness-{kind}.png", measured, kind, methods)
    heatmap_tables.plot_heads(out / "faithfulness-heads.png", measured)
    text = heatmap_tables.report(measured, DEFAULT, faithfulness.cost(data, loaded))
    _write(out / "faithfulness.md", text, console)
    if keep:
        command = f"python -m training faithfulness --nodules {nodules}"
        found = heatmap_tables.faithfulness(measured, DEFAULT, command)
        with_card(loaded, heatmap_tables.on_card(loaded.card, heatmap_faithfulness.summary(found)), found)


@app.command()
def drawings(
    package: Package = SHIPPED, folder: Annotated[Path, typer.Option()] = SHIPPED.parents[2] / "Resources"
) -> None:
    """Draw the README's pictures of the flow, the model and the maps, from the synthetic CT alone."""
    for path in draw(folder, load(package)):
        Console(stderr=True).print(f"Written to {path}")


def _study(
    data: Path,
    out: Path,
    device: str | None,
    segmentation_epochs: int | None,
    epochs: int | None,
    limit: int | None,
    folds: str,
    start: Path | None = None,
) -> cross_validation.Study:
    # One thread a run: the networks are small, and folds run side by side.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    grader = going_on(start) if start else GraderRun()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return cross_validation.Study(
        data=data,
        out=out,
        segmentation_net=SegmentationRun(epochs=segmentation_epochs or SegmentationRun.epochs),
        grader=replace(grader, cycles=(epochs,)) if epochs else grader,
        device=device,
        folds=_folds(folds),
        limit=limit,
        console=Console(stderr=True, quiet=not on(device).is_global_zero),
    )


def _folds(folds: str) -> tuple[int, ...]:
    try:
        chosen = tuple(int(fold) for fold in folds.split(","))
    except ValueError:
        chosen = (-1,)
    if not set(chosen) <= set(range(FOLDS)):
        raise NoduleRiskError(f"The folds are numbers from 0 to {FOLDS - 1} with commas between, not {folds!r}.")
    return chosen


def _write(path: Path, text: str, console: Console) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    console.print(text, markup=False, soft_wrap=True)
    console.print(f"Written to {path}")


def main() -> None:
    """Run the command line; what the user can mend becomes one sentence and exit code 2."""
    try:
        app()
    except NoduleRiskError as error:
        Console(stderr=True).print(str(error), style="bold red")
        sys.exit(2)


if __name__ == "__main__":
    main()
