"""The training nodules in every kind of surroundings that there is: synthetic lung, real lung, their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ..checkpoints import digest
from .context_synthesis import ContextStacks, of_cubes, with_context
from .crops import SAMPLE_PATIENT, load, nodule_table
from .real_lungs import LungCT, implanted, in_place, lung_cts

#: So many readers marked a nodule whose outline is learned.
READERS = 2


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The same nodules, each in several surroundings.

    Attributes
    ----------
    synthetic : tuple of ContextStacks
        Crops with synthetic lung, as they are and at 1 mm: the same nodules in the same order.
    implanted : ContextStacks or None
        Crops in the lungs of the whole CTs.
    cubes : ContextStacks
        Nodules with their own surroundings, at 1 mm.
    whole : ContextStacks or None
        The whole CTs' own nodules.
    lone : ContextStacks or None
        Crops that one reader alone marked, with synthetic lung: they teach no outline, for it would be one hand's.
    cts : tuple of LungCT
        The whole CTs.
    """

    synthetic: tuple[ContextStacks, ...]
    implanted: ContextStacks | None
    cubes: ContextStacks
    whole: ContextStacks | None
    lone: ContextStacks | None
    cts: tuple[LungCT, ...] = ()

    @property
    def key(self) -> str:
        """Digest of what all of it was made from."""
        parts = (*self.synthetic, self.implanted, self.cubes, self.whole, self.lone)
        return digest(*(one.key for one in parts if one))

    def without(self, fold: int) -> Surroundings:
        """What a fold's network may learn from: neither patient nor lung of that fold, never the sample's."""

        def keep(table: pd.DataFrame) -> pd.Series:
            hosts = table.get("host_fold", table.fold)
            return (table.fold != fold) & (hosts != fold) & (table.patient_id != SAMPLE_PATIENT)

        return self._chosen(keep, tuple(ct for ct in self.cts if ct.fold != fold))

    def of_fold(self, fold: int) -> Surroundings:
        """What a fold's network is scored on; nothing is put into lungs that are not the nodule's own."""
        within = self._chosen(lambda table: table.fold == fold, tuple(ct for ct in self.cts if ct.fold == fold))
        return replace(within, implanted=None)

    def _chosen(self, keep: Callable[[pd.DataFrame], pd.Series], cts: tuple[LungCT, ...]) -> Surroundings:
        return Surroundings(
            tuple(_chosen(one, keep) for one in self.synthetic),
            self.implanted and _chosen(self.implanted, keep),
            _chosen(self.cubes, keep),
            self.whole and _chosen(self.whole, keep),
            self.lone and _chosen(self.lone, keep),
            cts,
        )


def surroundings(data: Path, cache: Path) -> Surroundings:
    """All nodules of the data set; the first call writes ``cache``, later ones read it."""
    table = nodule_table(data)
    outlined = table[table.n_readers >= READERS].reset_index(drop=True)
    alone = table[table.n_readers < READERS].reset_index(drop=True)
    cts = lung_cts(data)
    return Surroundings(
        synthetic=(
            with_context(outlined, data, cache / "context-native", False, 1),
            with_context(outlined, data, cache / "context-cubic", True, 2),
        ),
        implanted=implanted(outlined, data, cts, cache / "context-implanted", 3) if cts else None,
        cubes=of_cubes(load(data, cache, cubes=True)),
        whole=in_place(data, cts) if cts else None,
        lone=with_context(alone, data, cache / "context-lone", False, 4) if len(alone) else None,
        cts=tuple(cts),
    )


def _chosen(nodules: ContextStacks, keep: Callable[[pd.DataFrame], pd.Series]) -> ContextStacks:
    kept = keep(nodules.table).to_numpy()
    return replace(
        nodules, table=nodules.table[kept].reset_index(drop=True), first=nodules.first[kept], last=nodules.last[kept]
    )
