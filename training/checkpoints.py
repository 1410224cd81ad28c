"""What a killed run goes on from: states of training and tables, each written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from NoduleRiskLib.errors import NoduleRiskError


def keep_state(state: Mapping[str, Any], path: Path) -> None:
    """Write what ``torch.load`` with ``weights_only`` reads; a kill while writing leaves the state before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state), path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def resumed(state: dict[str, Any], kept: Mapping[str, Any], path: Path, device: torch.device | str) -> dict[str, Any]:
    """The state in ``path`` where there is one, otherwise ``state``; what it holds goes into ``kept``.

    Parameters
    ----------
    state : dict
        A new run's; ``run`` tells its settings.
    kept : mapping
        Name in the state -> whatever has ``load_state_dict``.

    Raises
    ------
    NoduleRiskError
        If ``path`` is of a run with other settings.
    """
    if not path.is_file():
        return state
    known: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
    if known["run"] != state["run"]:
        raise NoduleRiskError(f"{path} is of a run with other settings: remove it or choose another --out.")
    for name, one in kept.items():
        one.load_state_dict(known[name])
    return known


def keep_table(table: pd.DataFrame, path: Path, index: bool = False) -> None:
    """Write a CSV file; a kill while writing leaves the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".csv.part")
    table.to_csv(unfinished, index=index)
    os.replace(unfinished, path)
