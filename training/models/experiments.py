"""The experiments that are compared: what each changes in the settings of the multitask grader, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.networks.model_config import ModelConfig, paper_config

from .grader_settings import GraderSettings
from .targets_and_losses import TASKS

MULTITASK = "multitask"
#: Steps of the first lessons for each epoch of a short schedule.
LESSONS_AN_EPOCH = 20
#: Without shape features and evidence: what the slices alone give; both are experiments.
CONFIG = replace(ModelConfig(), shape_features=False)

EXPERIMENTS: dict[str, GraderSettings] = {
    # Nine grades at once by dynamic weight average; again with another seed: smaller differences are chance.
    MULTITASK: GraderSettings(CONFIG),
    "seed-1": GraderSettings(CONFIG, seed=1),
    # The other loss weightings that the paper names.
    "equal": GraderSettings(CONFIG, weighting="equal"),
    "gradnorm": GraderSettings(CONFIG, weighting="gradnorm"),
    "dtp": GraderSettings(CONFIG, weighting="dtp"),
    "uncertainty": GraderSettings(CONFIG, weighting="uncertainty"),
    # Inputs and architecture.
    "shape": GraderSettings(replace(CONFIG, shape_features=True)),
    "evidence": GraderSettings(),
    "no-outline": GraderSettings(replace(CONFIG, outline=False)),
    "linear": GraderSettings(replace(CONFIG, embedding="linear")),
    "paper": GraderSettings(paper_config()),
    "paper-small": GraderSettings(replace(paper_config(), dim=CONFIG.dim, depth=CONFIG.depth, heads=CONFIG.heads)),
    "mean-of-slices": GraderSettings(CONFIG, backbone="transformer, mean of slices"),
    "no-attention": GraderSettings(CONFIG, backbone="mean of tokens"),
    "cnn-3d": GraderSettings(CONFIG, backbone="3-D CNN"),
    # Targets, tasks and nodules.
    "sides": GraderSettings(CONFIG, targets="sides"),
    "votes": GraderSettings(CONFIG, targets="votes"),
    "ten-heads": GraderSettings(CONFIG, tasks=TASKS),
    "weak": GraderSettings(CONFIG, weak_share=1 / 3),
    # Slices are filled in first, without labels, and for as many epochs again.
    "pretrained": GraderSettings(CONFIG, pretrained=True),
    # One grade alone (malignancy's is the direct way, the others are a first stage), and all but one.
    **{f"{name}-alone": GraderSettings(CONFIG, tasks=(name,)) for name in GRADE_NAMES},
    **{
        f"without-{name}": GraderSettings(CONFIG, tasks=tuple(one for one in GRADE_NAMES if one != name))
        for name in GRADE_NAMES
    },
}


def named(text: str, epochs: int, pixels: int, batch: int) -> dict[str, GraderSettings]:
    """The experiments of a list of names with commas between (``all``: every one), at one schedule.

    Parameters
    ----------
    text : str
    epochs : int
        One cosine cycle.
    pixels : int
        Rows and columns of a slice; its size in mm stays.
    batch : int
        Nodules per step.

    Raises
    ------
    NoduleRiskError
        If a name is not in ``EXPERIMENTS``.
    """
    names = list(EXPERIMENTS) if text == "all" else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in EXPERIMENTS]
    if unknown:
        raise NoduleRiskError(f"There is no experiment {', '.join(unknown)}: choose from {', '.join(EXPERIMENTS)}.")
    return {name: at_schedule(EXPERIMENTS[name], epochs, pixels, batch) for name in dict.fromkeys(names)}


def at_schedule(settings: GraderSettings, epochs: int, pixels: int, batch: int) -> GraderSettings:
    """The settings with one cycle of so many epochs and slices of so many pixels, as large in mm as before."""
    layout = settings.config.layout
    coarser = replace(layout, pixels=pixels, pixel_mm=layout.pixel_mm * layout.pixels / pixels)
    lessons = min(settings.lessons, LESSONS_AN_EPOCH * epochs)
    config = replace(settings.config, layout=coarser)
    return replace(settings, config=config, cycles=(epochs,), batch=batch, lessons=lessons)
