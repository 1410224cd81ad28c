"""What a stopped run goes on from: files that are written whole or not at all, each with the settings it was made with.

Every artefact (network, cache, table of estimates) keeps a *key*: the name and the value, as text, of everything that
it depends on. It is read only where all of them are the same; otherwise a sentence says which one differs.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.volume import Array

Key = dict[str, str]
#: Where a folder of arrays keeps its key.
KEY_FILE = "key.json"
#: What reading a corrupt file raises, by NumPy, pandas, json and torch.
CORRUPT = (OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError, pickle.UnpicklingError)


def key_of(settings: object, **more: object) -> Key:
    """The fields of a dataclass (nested ones as ``config.layout.pixels``) and whatever else is named, as text."""
    values: Key = {}
    if is_dataclass(settings):
        for field in fields(settings):
            value = getattr(settings, field.name)
            if is_dataclass(value):
                values |= {f"{field.name}.{name}": text for name, text in key_of(value).items()}
            else:
                values[field.name] = str(value)
    return values | {name: str(value) for name, value in more.items()}


def digest(*parts: object) -> str:
    """Twelve hex digits that stand for texts, keys, arrays and the weights of networks, in this order."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.nn.Module):
            part = {name: value.cpu().numpy() for name, value in part.state_dict().items()}
        if isinstance(part, Mapping):
            total.update(digest(*(one for pair in part.items() for one in pair)).encode())
        elif isinstance(part, np.ndarray):
            total.update(np.ascontiguousarray(part).tobytes())
        else:
            total.update(f"{part}\n".encode())
    return total.hexdigest()[:12]


def check_key(path: Path, kept: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise ``NoduleRiskError``, naming what differs, unless both keys are the same."""
    differ = [name for name in {**wanted, **kept} if kept.get(name) != wanted.get(name)]
    if differ:
        changes = ", ".join(
            f"{name} {kept.get(name, 'unknown')} (now {wanted.get(name, 'not used')})" for name in differ
        )
        raise NoduleRiskError(
            f"{path} was made with other settings: {changes}. Choose another --out, or remove it to start again."
        )


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values; a kill while writing leaves the file before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state), path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def read_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What ``write_state`` wrote; raises ``NoduleRiskError`` if it is missing or corrupt."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
        return dict(state)
    except CORRUPT as error:
        raise corrupt(path) from error


def write_table(path: Path, table: pd.DataFrame, index: bool = False) -> None:
    """Write a CSV file; a kill while writing leaves the one before."""
    write_text(path, table.to_csv(index=index))


def read_table(path: Path, **how: Any) -> pd.DataFrame:
    """A CSV file as ``pandas.read_csv`` reads it; raises ``NoduleRiskError`` if it is missing or corrupt."""
    try:
        return pd.read_csv(path, **how)
    except CORRUPT as error:
        raise corrupt(path) from error


def write_keyed_table(path: Path, table: pd.DataFrame, key: Key, notes: Mapping[str, float] | None = None) -> None:
    """Write a CSV file, and beside it as JSON its key and some numbers about how it was made."""
    path.with_suffix(".json").unlink(missing_ok=True)
    write_table(path, table)
    write_text(path.with_suffix(".json"), json.dumps({"key": key, "notes": dict(notes or {})}, indent=1))


def read_keyed_table(path: Path, key: Key) -> tuple[pd.DataFrame, dict[str, float]] | None:
    """What ``write_keyed_table`` wrote; ``None`` if it was not finished.

    Raises
    ------
    NoduleRiskError
        If a file is corrupt, or the table was made with other settings.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    try:
        kept = json.loads(beside.read_text(encoding="utf-8"))
        found, notes = dict(kept["key"]), dict(kept["notes"])
    except CORRUPT as error:
        raise corrupt(beside) from error
    check_key(path, found, key)
    return read_table(path), notes


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8); a kill while writing leaves the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


@dataclass(frozen=True, eq=False)
class Arrays:
    """A table of N nodules and arrays of T slices: nodule n has slices ``first[n]`` to ``first[n + 1]`` of each."""

    table: pd.DataFrame
    first: Array
    slices: Mapping[str, Array]


def write_arrays(folder: Path, table: pd.DataFrame, parts: Mapping[str, Sequence[Array]], key: Key) -> None:
    """Keep slices of nodules in ``folder``; where another process was quicker, its folder stays.

    Parameters
    ----------
    folder : Path
        Its files are written into another folder, which is then renamed.
    table : DataFrame
        One row per nodule.
    parts : mapping of str to sequence of ndarray
        For each array its part of every nodule.
    key : dict
        What all of this depends on.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f"{folder.name}.part-", dir=folder.parent) as unfinished:
        whole = Path(unfinished) / folder.name
        whole.mkdir()
        for name, arrays in parts.items():
            np.save(whole / f"{name}.npy", np.concatenate(arrays))
        np.save(whole / "first.npy", np.cumsum([0, *(len(part) for part in next(iter(parts.values())))]))
        table.to_csv(whole / "table.csv", index=False)
        (whole / KEY_FILE).write_text(json.dumps(key, indent=1), encoding="utf-8")
        if not folder.exists():
            os.replace(whole, folder)


def read_arrays(folder: Path, names: Sequence[str], key: Key, mapped: bool = False) -> Arrays:
    """What ``write_arrays`` kept under this key.

    Parameters
    ----------
    folder : Path
    names : sequence of str
        The arrays to read.
    key : dict
    mapped : bool
        Whether arrays stay on disk: processes that train side by side then share one copy in memory.

    Raises
    ------
    NoduleRiskError
        If a file is missing or corrupt, or the key is another one.
    """
    check_key(folder, _read_key(folder), key)
    path = folder / "table.csv"
    try:
        table = pd.read_csv(path, dtype={"annotation_ids": str})
        path = folder / "first.npy"
        first = np.load(path)
        whole = len(first) == len(table) + 1
        slices = {}
        for name in names:
            path = folder / f"{name}.npy"
            slices[name] = np.load(path, mmap_mode="r" if mapped else None)
            whole = whole and len(slices[name]) == first[-1]
    except CORRUPT as error:
        raise corrupt(path, folder) from error
    if not whole:
        raise corrupt(folder / "table.csv", folder)
    return Arrays(table, first, slices)


def _read_key(folder: Path) -> Key:
    try:
        return dict(json.loads((folder / KEY_FILE).read_text(encoding="utf-8")))
    except CORRUPT as error:
        raise corrupt(folder / KEY_FILE, folder) from error


def corrupt(path: Path, made: Path | None = None) -> NoduleRiskError:
    """The sentence about a file that cannot be read; ``made`` is the folder that is made as a whole."""
    return NoduleRiskError(
        f"{path} is missing or corrupt: remove {made or path} and run the command again to make it anew."
    )
