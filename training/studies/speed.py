"""How fast graders train, in nodules and multiply-adds a second, beside timm's smallest vision transformer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..data.augmentation import compose
from ..evaluation.metrics import markdown
from ..models.graders import GraderRun, history, said_by, train_grader
from ..models.precision import half_where_fast
from .compare import from_readers
from .cross_validation import Study

PEER = "vit_tiny_patch16_224"
#: Images a second as timm publishes it: results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv of its repository.
PUBLISHED = {"where": "RTX 3090, float16, batches of 512", "samples a second": 2299.56}


def speed(study: Study, runs: Mapping[str, GraderRun], images: int = 16) -> str:
    """Train each run for one epoch and the peer for some steps, and return what that tells (Markdown).

    Parameters
    ----------
    study : Study
        Nodules are taken at their readers' outlines; the first fold is left out.
    runs : mapping
        Name -> run.
    images : int
        A step, for the peer.
    """
    fold = study.folds[0]
    training = [part for other, part in from_readers(study).reference.items() if other != fold]
    threads = torch.get_num_threads()
    here = study.device if study.device != "cpu" else f"CPU, {threads} thread{'s' * (threads > 1)}"
    rows = {}
    for name, run in runs.items():
        with TemporaryDirectory() as folder:
            model = train_grader(fold, training, replace(run, cycles=(1,)), Path(folder), study.device, study.console)
            rate = history(Path(folder), fold)["nodules_per_second"]
        nodules = [
            (part, index) for part, found_outlines in enumerate(training) for index in range(len(found_outlines.table))
        ]
        forward = 0.0
        for nodule in nodules:
            batch, _ = compose(training, [nodule], np.random.default_rng(0), False, run.config.layout)
            forward += multiply_adds(said_by, model, batch.to(study.device), run.tasks)
        layout = run.config.layout
        size = f"slices of {layout.pixels} x {layout.pixels}"
        rows[f"{name}, {size}"] = _row(model, forward / len(nodules)) | {"where": here, "samples a second": rate}
    peer = timm.create_model(PEER).to(study.device)
    image = torch.zeros(1, 3, 224, 224, device=study.device)
    own = _row(peer, multiply_adds(peer, image))
    rows[f"timm's {PEER}"] = own | {"where": here, "samples a second": images_a_second(peer, study.device, images)}
    rows[f"timm's {PEER}, published"] = own | PUBLISHED
    table = pd.DataFrame.from_dict(rows, "index").rename_axis("network")
    table["forward, 10⁹ multiply-adds a second"] = (
        table["forward, 10⁶ multiply-adds"] * table["samples a second"] / 1000
    )
    return markdown(table, 1)


@torch.no_grad()
def multiply_adds(function: Callable[..., object], *arguments: object) -> float:
    """Of what a function computes of its arguments: half of what torch counts as floating point operations."""
    with FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops() / 2


def images_a_second(model: nn.Module, device: str, images: int, steps: int = 6) -> float:
    """Of an image classifier in training on images that are already there; the first two steps do not count."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    shown = torch.randn(images, 3, 224, 224, device=device)
    wanted = torch.zeros(images, dtype=torch.int64, device=device)
    model.train()
    began = 0.0
    for step in range(steps):
        if step == 2:
            began = time.monotonic()
        with half_where_fast(device):
            loss = nn.functional.cross_entropy(model(shown), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # A GPU has done what its results are read from.
        loss.item()
    return images * (steps - 2) / (time.monotonic() - began)


def _row(model: nn.Module, forward: float) -> dict[str, float]:
    parameters = sum(one.numel() for one in model.parameters())
    return {"parameters, 10⁶": parameters / 1e6, "forward, 10⁶ multiply-adds": forward / 1e6}
