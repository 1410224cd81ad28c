"""Training and evaluation of NoduleRisk's networks, from LIDC-IDRI to tables and the model package.

Every command writes its report into --out, and goes on there after it was stopped.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional, get_args

import torch
import typer
from rich.console import Console

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.networks.model_package import SHIPPED, load
from NoduleRiskLib.similar.reference_set import FILE as SIMILAR

from .checkpoints import write_text
from .data import dicom_crops, lidc
from .data.crops import FOLDS, nodule_table
from .evaluation import tables as reports
from .evaluation.out_of_fold import read as read_estimates
from .models.devices import on
from .models.experiments import EXPERIMENTS, MULTITASK, at_schedule, named
from .models.grader_settings import GraderSettings, fine_tuning
from .models.segmentation import SegmentationSettings
from .studies import compare as comparison
from .studies import cross_validation, label_study, radiomics
from .studies.drawings import draw
from .studies.heatmap_study import heatmaps
from .studies.leaking import leaking as measure_leaking
from .studies.measured_study import measures as study_measures
from .studies.outline_study import study_outlines
from .studies.published_study import REFERENCE_FILE, grade_with_package
from .studies.published_study import published as score_as_published
from .studies.release import PACKAGES, release
from .studies.robustness_study import robustness as study_robustness
from .studies.sign_study import keep_sign_tests
from .studies.sign_study import signs as study_signs
from .studies.similar_study import similar as study_similar
from .studies.solid_part_study import solid_parts as study_solid_parts
from .studies.speed import speed as measure_speed

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
ALL_FOLDS = ",".join(map(str, range(FOLDS)))
OUT = Path("out")

Data = Annotated[Path, typer.Option(envvar="NODULERISK_DATA", help="The folder that holds lidc/.")]
Out = Annotated[Path, typer.Option(help="Caches, training states and reports; a stopped run goes on from here.")]
Device = Annotated[Optional[str], typer.Option(help="A torch device; default: a GPU if there is one.")]  # noqa: UP045
Workers = Annotated[int, typer.Option(help="Processes that draw nodules and plant signs while a GPU trains.")]
Epochs = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=0, help="Number of epochs; default: that of the settings. 0: the graders of --start as they are."),
]
Limit = Annotated[Optional[int], typer.Option(help="Only so many nodules of each fold, to try things out.")]  # noqa: UP045
Folds = Annotated[str, typer.Option(help="Which of the five folds, such as 0,2: folds can run side by side.")]
Start = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="A package of the same five folds: its graders are trained on."),
]
FoldNetworks = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(help="fold-networks.safetensors of an earlier run: its networks outline, instead of new ones."),
]
CycleEpochs = Annotated[int, typer.Option("--epochs", help="Number of epochs of every experiment.")]
Batch = Annotated[int, typer.Option(help="Nodules per step.")]
Pixels = Annotated[int, typer.Option(help="Rows and columns of a slice, which stays as large in mm.")]
Package = Annotated[Path, typer.Option(help="The model package's folder.")]


@app.command()
def crops(
    dicom: Annotated[Path, typer.Argument(help="The folder of LIDC-IDRI's DICOM files, one folder per series.")],
    data: Data,
    out: Out = OUT,
    jobs: Annotated[Optional[int], typer.Option(help="Scans read at a time; default: one per core.")] = None,  # noqa: UP045
) -> None:
    """Make the data set that all other commands read (DATA/lidc) from LIDC-IDRI's DICOM files."""
    console = Console(stderr=True)
    nodules, left_out = dicom_crops.build(dicom, data, lidc.readings(out), jobs)
    for row in left_out.itertuples():
        console.print(f"left out: {row.nodule_id}: {row.reason}", markup=False)
    console.print(f"{len(nodules):,} nodules of {nodules.series_uid.nunique():,} scans written to {data / 'lidc'}")


@app.command()
def study(
    out: Out = OUT,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(envvar="NODULERISK_DATA", help="The folder that holds lidc/, for LUNA16's own diameters."),
    ] = None,
) -> None:
    """Study the labels without any image: similarity of grades, grades to malignancy, reader agreement."""
    text = label_study.study(lidc.readings(out), out, None if data is None else nodule_table(data))
    _report(out / "study.md", text)


@app.command()
def baselines(data: Data, out: Out = OUT) -> None:
    """Predict each grade from radiomics features of the crops (gradient boosting, out of fold), without any network."""
    radiomics.estimates(data, out)
    _report(out / "baselines.md", reports.baselines(data, out))


@app.command()
def outlines(
    data: Data,
    out: Out = OUT,
    epochs: Epochs = None,
    limit: Limit = None,
    folds: Folds = ALL_FOLDS,
    fold_networks: FoldNetworks = None,
) -> None:
    """Train and score the segmentation and false-positive networks, on patients that they never saw."""
    settings = _study(data, out, segmentation_epochs=epochs, limit=limit, folds=folds, fold_networks=fold_networks)
    _report(out / "outlines.md", study_outlines(settings), settings.console)


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
    fold_networks: FoldNetworks = None,
    workers: Workers = 0,
) -> None:
    """Train the graders of some folds (and first all segmentation networks, where they are missing)."""
    settings = _study(
        data, out, device, segmentation_epochs, epochs, limit, start=start, fold_networks=fold_networks, workers=workers
    )
    with on(settings.device).rank_zero_first():
        nodules = cross_validation.outlines(settings, cross_validation.segmentation_nets(settings))
    cross_validation.graders(replace(settings, folds=_folds(folds)), nodules)


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
    fold_networks: FoldNetworks = None,
    workers: Workers = 0,
) -> None:
    """Make the model package: train all networks, score them out of fold, export."""
    settings = _study(
        data, out, device, segmentation_epochs, epochs, limit, start=start, fold_networks=fold_networks, workers=workers
    )
    made = release(settings, package, version)
    settings.console.print(f"{made.model_id} written to {made.path}, its tables to {out / 'tables.md'}")


@app.command()
def tables(out: Out = OUT) -> None:
    """Write all tables of the out-of-fold estimates that `all` left in --out, beside those of `baselines`."""
    _report(out / "tables.md", reports.tables(out))


@app.command()
def published(
    data: Data,
    out: Out = OUT,
    package: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Whose graders made the estimates in --out: grades nodules of one or two readers with them."),
    ] = None,
    fold_networks: FoldNetworks = None,
    limit: Limit = None,
) -> None:
    """Score the out-of-fold estimates that `all` left in --out as published studies score theirs."""
    if package:
        grade_with_package(_study(data, out, limit=limit, fold_networks=fold_networks), package)
    _report(out / "published.md", score_as_published(data, out))


@app.command()
def compare(
    data: Data,
    out: Out = OUT,
    experiments: Annotated[str, typer.Option(help="Names of experiments, comma-separated, or all.")] = "all",
    source: Annotated[
        str, typer.Option(help=f"Whose outlines: {' or '.join(get_args(comparison.Source))}.")
    ] = "readers",
    folds: Folds = ALL_FOLDS,
    epochs: CycleEpochs = 10,
    batch: Batch = 16,
    pixels: Pixels = 32,
    device: Device = None,
    limit: Limit = None,
    fold_networks: FoldNetworks = None,
    workers: Workers = 0,
) -> None:
    """Train named experiments on the same folds and schedule, and score them beside the first one."""
    chosen = next((one for one in comparison.SOURCES if one == source), None)
    if chosen is None:
        raise NoduleRiskError(f"There are no outlines of '{source}': choose {' or '.join(comparison.SOURCES)}.")
    settings = _study(data, out, device, limit=limit, folds=folds, fold_networks=fold_networks, workers=workers)
    given = f"--experiments {experiments} --source {source} --folds {folds} --epochs {epochs} --batch {batch}"
    command = f"python -m training compare {given} --pixels {pixels}" + (f" --limit {limit}" if limit else "")
    text = comparison.compare(settings, named(experiments, epochs, pixels, batch), chosen, command)
    if on(settings.device).is_global_zero:
        _report(out / f"compare-{source}.md", text, settings.console)


@app.command()
def leaking(
    data: Data,
    out: Out = OUT,
    experiment: Annotated[str, typer.Option(help="One experiment's name; shape: the package's network.")] = "shape",
    folds: Folds = ALL_FOLDS,
    epochs: CycleEpochs = 40,
    batch: Batch = 32,
    pixels: Pixels = 64,
    device: Device = None,
    limit: Limit = None,
    fold_networks: FoldNetworks = None,
) -> None:
    """Measure what leaking is worth: the same network trained with folds by patient and with folds by nodule."""
    settings = _study(data, out, device, limit=limit, folds=folds, fold_networks=fold_networks)
    given = f"--experiment {experiment} --folds {folds} --epochs {epochs} --batch {batch} --pixels {pixels}"
    command = f"python -m training leaking {given}" + (f" --limit {limit}" if limit else "")
    ((name, grader),) = named(experiment, epochs, pixels, batch).items()
    _report(out / "leaking.md", measure_leaking(settings, name, grader, command), settings.console)


@app.command()
def robustness(data: Data, out: Out = OUT, package: Package = SHIPPED) -> None:
    """Measure how far the package's grades move when nothing about the nodule changes."""
    _report(out / "robustness.md", study_robustness(data, package, out / PACKAGES))


@app.command()
def solid_parts(data: Data, out: Out = OUT, limit: Limit = None) -> None:
    """Compare the solid part that a threshold finds with the readers' texture, at their outlines."""
    _report(out / "solid_parts.md", study_solid_parts(data, out, limit))


@app.command()
def faithfulness(
    data: Data,
    out: Out = OUT,
    package: Package = SHIPPED,
    nodules: Annotated[int, typer.Option(help="So many nodules of each fold.")] = 20,
    folds: Folds = ALL_FOLDS,
    keep: Annotated[bool, typer.Option(help="Write what was measured into the package and its model card.")] = False,
) -> None:
    """Measure whether the heatmaps show what the grades depend on: every method against controls, out of fold."""
    _one_thread()
    text = heatmaps(data, out, package, nodules, _folds(folds), keep, Console(stderr=True))
    _report(out / "faithfulness.md", text)


@app.command()
def signs(
    data: Data,
    out: Out = OUT,
    package: Package = SHIPPED,
    nodules: Annotated[int, typer.Option(help="So many nodules of each fold for each sign.")] = 24,
    folds: Folds = ALL_FOLDS,
    keep: Annotated[bool, typer.Option(help="Write what was measured of the maps into the package.")] = False,
    fold_networks: FoldNetworks = None,
    limit: Limit = None,
) -> None:
    """Plant known signs into nodules that the grader never saw: do the grades answer, do the maps find them?"""
    settings = _study(data, out, limit=limit, folds=folds, fold_networks=fold_networks)
    loaded = load(package)
    own = cross_validation.outlines(settings, cross_validation.segmentation_nets(settings))
    text, tested = study_signs(loaded, own, nodules, out)
    if keep:
        keep_sign_tests(loaded, tested, text)
    _report(out / "signs.md", text)


@app.command()
def measures(
    data: Data,
    out: Out = OUT,
    package: Package = SHIPPED,
    fold_networks: FoldNetworks = None,
    limit: Limit = None,
) -> None:
    """Compare what heads and hand-made measures say of the grades that have both, and both together, out of fold."""
    settings = _study(data, out, limit=limit, fold_networks=fold_networks)
    own = cross_validation.outlines(settings, cross_validation.segmentation_nets(settings))
    _report(out / "measures.md", study_measures(load(package), own))


@app.command()
def similar(
    data: Data,
    out: Out = OUT,
    package: Package = SHIPPED,
    file: Annotated[Path, typer.Option(help="Where the reference nodules with their pictures go.")] = SIMILAR,
    fold_networks: FoldNetworks = None,
) -> None:
    """Measure what similar nodules are best found by, and write the reference nodules that are shown."""
    settings = _study(data, out, fold_networks=fold_networks)
    own = cross_validation.outlines(settings, cross_validation.segmentation_nets(settings))
    text = study_similar(settings, own, load(package), read_estimates(out / REFERENCE_FILE), file)
    _report(out / "similar.md", text)


@app.command()
def speed(data: Data, out: Out = OUT, device: Device = None) -> None:
    """Measure how fast a grader trains, beside timm's smallest vision transformer."""
    settings = _study(data, out, device)
    networks = {"compared": at_schedule(EXPERIMENTS[MULTITASK], 1, 32, 16), "shipped": GraderSettings()}
    _report(out / "speed.md", measure_speed(settings, networks), settings.console)


@app.command()
def drawings(
    package: Package = SHIPPED, folder: Annotated[Path, typer.Option()] = SHIPPED.parents[2] / "Resources"
) -> None:
    """Draw the README's pictures of the pipeline, the model and the heatmaps, from the synthetic CT alone."""
    for path in draw(folder, load(package)):
        Console(stderr=True).print(f"Written to {path}")


def _study(
    data: Path,
    out: Path,
    device: str | None = None,
    segmentation_epochs: int | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    folds: str = ALL_FOLDS,
    start: Path | None = None,
    fold_networks: Path | None = None,
    workers: int = 0,
) -> cross_validation.Study:
    _one_thread()
    if epochs == 0 and not start:
        raise NoduleRiskError("No epochs leave graders untrained: name with --start the package whose graders to take.")
    grader = fine_tuning(start) if start else GraderSettings()
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return cross_validation.Study(
        data=data,
        out=out,
        segmentation=SegmentationSettings(epochs=segmentation_epochs or SegmentationSettings.epochs),
        grader=grader if epochs is None else replace(grader, cycles=(epochs,)),
        device=device,
        workers=workers,
        folds=_folds(folds),
        fold_networks=fold_networks,
        limit=limit,
        console=Console(stderr=True, quiet=not on(device).is_global_zero),
    )


def _one_thread() -> None:
    # The networks are small, and folds run side by side.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _folds(folds: str) -> tuple[int, ...]:
    try:
        chosen = tuple(int(fold) for fold in folds.split(","))
    except ValueError:
        chosen = (-1,)
    if not set(chosen) <= set(range(FOLDS)):
        raise NoduleRiskError(f"The folds are numbers from 0 to {FOLDS - 1} with commas between, not {folds!r}.")
    return chosen


def _report(path: Path, text: str, console: Console | None = None) -> None:
    console = console or Console(stderr=True)
    write_text(path, text)
    console.print(text, markup=False, soft_wrap=True)
    console.print(f"Written to {path}")


def main() -> None:
    """Run the command line; what the user can mend becomes one sentence and exit code 2."""
    try:
        app()
    except NoduleRiskError as error:
        Console(stderr=True).print(str(error), style="bold red", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
