"""How fast graders train, in nodules and multiply-adds per second, beside timm's smallest vision transformer."""

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
from ..evaluation.report_sections import markdown
from ..models.grader_settings import GraderSettings
from ..models.graders import cost, outputs_of, train_grader
from ..models.precision import half_where_fast
from .compare import from_readers
from .cross_validation import Study

PEER = "vit_tiny_patch16_224"
#: Images per second as timm publishes it: results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv of its repository.
PUBLISHED = {"where": "RTX 3090, float16, batches of 512", "samples per second": 2299.56}


def speed(study: Study, experiments: Mapping[str, GraderSettings], images: int = 16) -> str:
    """Train each network for one epoch and timm's for some steps, and return their speeds (Markdown).

    Parameters
    ----------
    study : Study
        Nodules are taken at their readers' outlines; the first fold is left out.
    experiments : mapping
        Name -> settings.
    images : int
        Images per step, for timm's.
    """
    fold = study.folds[0]
    training = [part for other, part in from_readers(study).reference.items() if other != fold]
    threads = torch.get_num_threads()
    here = study.device if study.device != "cpu" else f"CPU, {threads} thread{'s' * (threads > 1)}"
    rows = {}
    for name, settings in experiments.items():
        with TemporaryDirectory() as folder:
            model = train_grader(
                fold, training, replace(settings, cycles=(1,)), Path(folder), study.device, study.console
            )
            rate = cost(Path(folder), fold)["nodules_per_second"]
        nodules = [(part, index) for part, source in enumerate(training) for index in range(len(source.table))]
        forward = 0.0
        for nodule in nodules:
            batch, _ = compose(training, [nodule], np.random.default_rng(0), False, settings.config.layout)
            forward += multiply_adds(outputs_of, model, batch.to(study.device), settings.tasks)
        layout = settings.config.layout
        size = f"slices of {layout.pixels} x {layout.pixels}"
        rows[f"{name}, {size}"] = _row(model, forward / len(nodules)) | {"where": here, "samples per second": rate}
    peer = timm.create_model(PEER).to(study.device)
    image = torch.zeros(1, 3, 224, 224, device=study.device)
    own = _row(peer, multiply_adds(peer, image))
    rows[f"timm's {PEER}"] = own | {"where": here, "samples per second": images_a_second(peer, study.device, images)}
    rows[f"timm's {PEER}, published"] = own | PUBLISHED
    table = pd.DataFrame.from_dict(rows, "index").rename_axis("network")
    table["forward, 10⁹ multiply-adds per second"] = (
        table["forward, 10⁶ multiply-adds"] * table["samples per second"] / 1000
    )
    return markdown(table, 1)


@torch.no_grad()
def multiply_adds(function: Callable[..., object], *arguments: object) -> float:
    """Multiply-adds of a function's forward pass: half of what torch counts as floating point operations."""
    with FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops() / 2


def images_a_second(model: nn.Module, device: str, images: int, steps: int = 6) -> float:
    """Images per second of an image classifier in training, images in memory; the first two steps do not count."""
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
