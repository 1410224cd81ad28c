"""What the steps of training need, drawn by other processes while the network trains on what came before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

Wanted = TypeVar("Wanted")
Drawn = TypeVar("Drawn")


class DrawnAhead(Generic[Wanted, Drawn]):
    """Draws what is wanted, one after the other, each with random numbers of its own.

    So it makes no difference how many processes draw. They start when something is wanted for the first time, share
    what is there by then, and wait for more until this object is gone.

    Parameters
    ----------
    draw : function
        Of what is wanted and its random numbers; it must not use a GPU.
    workers : int
        Processes beside this one; with 0 it draws itself, when the next one is asked for.
    """

    def __init__(self, draw: Callable[[Wanted, np.random.Generator], Drawn], workers: int) -> None:
        self._wanted: list[tuple[Wanted, int]] = []
        # What is drawn is a batch already.
        self._loader: Any = DataLoader(
            _Drawing(draw),
            sampler=self._wanted,
            batch_size=None,
            num_workers=workers,
            collate_fn=_as_it_is,
            multiprocessing_context="fork" if workers else None,
            prefetch_factor=4 if workers else None,
            persistent_workers=workers > 0,
        )

    def each(self, wanted: Sequence[Wanted], rng: np.random.Generator) -> Iterator[Drawn]:
        """What is drawn for each of ``wanted``, in their order; ask only when the last ones were all taken."""
        self._wanted[:] = zip(wanted, rng.integers(2**63, size=len(wanted)).tolist(), strict=True)
        drawn: Iterator[Drawn] = iter(self._loader)
        return drawn


class _Drawing(Dataset[Drawn], Generic[Wanted, Drawn]):
    def __init__(self, draw: Callable[[Wanted, np.random.Generator], Drawn]) -> None:
        self._draw = draw

    def __getitem__(self, wanted: tuple[Wanted, int]) -> Drawn:
        what, seed = wanted
        return self._draw(what, np.random.default_rng(seed))


def _as_it_is(drawn: Drawn) -> Drawn:
    return drawn
