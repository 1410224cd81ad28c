"""One training of a small network on the CPU: warmed-up cosine rates, resumable; locators and recognisers use it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from ..checkpoints import keep_state

Network = TypeVar("Network", bound=nn.Module)


class Run(Protocol):
    """What ``fit`` needs to know of a run."""

    @property
    def epochs(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def seed(self) -> int: ...


def fit(
    make: Callable[[], Network],
    begin: Callable[[np.random.Generator], tuple[int, Callable[[Network, int], Tensor]]],
    run: Run,
    weight_decay: float,
    kind: str,
    name: str,
    folder: Path,
    console: Console,
) -> Network:
    """Train a new network; resumes from ``folder`` after a kill, losing no more than an epoch.

    Parameters
    ----------
    make : callable
        The untrained network.
    begin : callable
        Draws an epoch's examples: how many steps it has, and the loss of the network at a step.
    run : Run
    weight_decay : float
    kind, name : str
        Name the state; ``name`` seeds the run, too.
    folder : Path
    console : Console
    """
    seed = [run.seed, *name.encode()]
    torch.manual_seed(int(np.random.default_rng(seed).integers(2**31)))
    network = make()
    optimizer = torch.optim.AdamW(network.parameters(), lr=run.learning_rate, weight_decay=weight_decay)
    state_file = folder / f"{kind}-{name}.pt"
    start = 0
    if state_file.is_file():
        state = torch.load(state_file, weights_only=True)
        network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["epoch"]
    for epoch in range(start, run.epochs):
        steps, loss_of = begin(np.random.default_rng([*seed, epoch]))
        network.train()
        total = 0.0
        for step in range(steps):
            progress = (epoch + step / steps) / run.epochs
            rate = run.learning_rate * min(1.0, progress * 20 + 0.02) * 0.5 * (1 + math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(network, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        console.print(f"{kind} {name}, epoch {epoch + 1}/{run.epochs}: loss {total / max(steps, 1):.4f}")
        keep_state({"model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}, state_file)
    return network.eval()
