"""The runs that are compared, one table: what each changes in the multitask run that ships, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.networks.model_config import ModelConfig, paper_config

from .graders import GraderRun
from .pretraining import MASKED
from .targets_and_losses import TASKS

MULTITASK = "multitask"
#: What the slices tell alone: the measures of the outline's shape are compared like anything else.
CONFIG = replace(ModelConfig(), shape_features=False)

RUNS: dict[str, GraderRun] = {
    # Nine grades at once by dynamic weight average; again with another seed: differences below that are chance.
    MULTITASK: GraderRun(CONFIG),
    "seed-1": GraderRun(CONFIG, seed=1),
    # The other loss weights that the paper names.
    "equal": GraderRun(CONFIG, balance="equal"),
    "gradnorm": GraderRun(CONFIG, balance="gradnorm"),
    "dtp": GraderRun(CONFIG, balance="dtp"),
    "uncertainty": GraderRun(CONFIG, balance="uncertainty"),
    # What the network is made of.
    "shape": GraderRun(),
    "no-outline": GraderRun(replace(CONFIG, outline=False)),
    "linear": GraderRun(replace(CONFIG, embedding="linear")),
    "paper": GraderRun(paper_config()),
    "paper-small": GraderRun(replace(paper_config(), dim=CONFIG.dim, depth=CONFIG.depth, heads=CONFIG.heads)),
    "mean-of-slices": GraderRun(CONFIG, trunk="transformer, mean of slices"),
    "no-attention": GraderRun(CONFIG, trunk="mean of tokens"),
    "cnn-3d": GraderRun(CONFIG, trunk="3-D CNN"),
    # What the heads are asked, and of which nodules.
    "sides": GraderRun(CONFIG, answers="sides"),
    "votes": GraderRun(CONFIG, answers="votes"),
    "ten-heads": GraderRun(CONFIG, tasks=TASKS),
    "weak": GraderRun(CONFIG, weak_share=1 / 3),
    # Slices are filled in first, without labels, and for as many epochs again.
    "pretrained": GraderRun(CONFIG, start=MASKED),
    # One grade alone (malignancy's is the direct way, the others are a first stage), and all but one.
    **{f"{name}-alone": GraderRun(CONFIG, tasks=(name,)) for name in GRADE_NAMES},
    **{
        f"without-{name}": GraderRun(CONFIG, tasks=tuple(one for one in GRADE_NAMES if one != name))
        for name in GRADE_NAMES
    },
}


def named(text: str, epochs: int, pixels: int, batch: int) -> dict[str, GraderRun]:
    """The runs of a list of names with commas between (``all``: every one), at one schedule.

    Parameters
    ----------
    text : str
    epochs : int
        One cosine cycle.
    pixels : int
        Rows and columns of a slice; its size in mm stays.
    batch : int
        Nodules a step.

    Raises
    ------
    NoduleRiskError
        If a name is not in ``RUNS``.
    """
    names = list(RUNS) if text == "all" else [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        raise NoduleRiskError(f"There is no run named {', '.join(unknown)}: choose from {', '.join(RUNS)}.")
    return {name: at_schedule(RUNS[name], epochs, pixels, batch) for name in dict.fromkeys(names)}


def at_schedule(run: GraderRun, epochs: int, pixels: int, batch: int) -> GraderRun:
    """The run with one cycle of so many epochs and slices of so many pixels, as large in mm as before."""
    layout = run.config.layout
    coarser = replace(layout, pixels=pixels, pixel_mm=layout.pixel_mm * layout.pixels / pixels)
    return replace(run, config=replace(run.config, layout=coarser), cycles=(epochs,), batch=batch)
