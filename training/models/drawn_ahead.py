"""What the steps of an epoch train on, drawn by other processes while the network trains on what came before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

from NoduleRiskLib.imaging.volume import Array

Drawn = TypeVar("Drawn")


def drawn_ahead(
    draw: Callable[[int, np.random.Generator], Drawn], steps: int, rng: np.random.Generator, workers: int
) -> Iterator[Drawn]:
    """What ``draw`` (of a step and its random numbers) makes of each step, in their order.

    Each step has random numbers of its own, so that it makes no difference how many ``workers`` draw.

    Parameters
    ----------
    draw : function
        It must not use a GPU.
    steps : int
    rng : Generator
    workers : int
        Processes beside this one; with 0 it draws itself, when a step is asked for.
    """
    seeds = rng.integers(2**63, size=steps)
    # A step is no batch to be collated, and comes as it was drawn; forked processes share what it is drawn from.
    loader: Any = DataLoader(
        _Steps(draw, seeds),
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        multiprocessing_context="fork" if workers else None,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


class _Steps(Dataset[Drawn], Generic[Drawn]):
    def __init__(self, draw: Callable[[int, np.random.Generator], Drawn], seeds: Array) -> None:
        self._draw, self._seeds = draw, seeds

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, step: int) -> Drawn:
        return self._draw(step, np.random.default_rng(self._seeds[step]))


def _as_it_is(drawn: Drawn) -> Drawn:
    return drawn
