"""What a stopped run would lose: files cut in the middle, or artefacts of other settings mixed with its own."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from NoduleRiskLib.errors import NoduleRiskError
from training import checkpoints

PARTS = {"pixels": [np.arange(6).reshape(2, 3), np.arange(3).reshape(1, 3)], "offset_mm": [np.zeros(2), np.ones(1)]}
TABLE = pd.DataFrame({"nodule_id": ["a", "b"], "annotation_ids": ["1;2", "3"], "value": [0.1, np.nan]})
KEY = {"nodules": "2", "seed": "0"}


@dataclass(frozen=True)
class Inner:
    pixels: int = 64


@dataclass(frozen=True)
class Settings:
    config: Inner = field(default_factory=Inner)
    cycles: tuple[int, ...] = (40, 30)


def test_a_key_names_every_setting_down_to_the_nested_ones() -> None:
    assert checkpoints.key_of(Settings(), fold=1) == {"config.pixels": "64", "cycles": "(40, 30)", "fold": "1"}


def test_what_differs_is_named_with_both_values(tmp_path: Path) -> None:
    kept, wanted = checkpoints.key_of(Settings(), fold=1), checkpoints.key_of(Settings(Inner(32), (8,)), fold=1)
    with pytest.raises(NoduleRiskError, match=r"config.pixels 64 \(now 32\), cycles \(40, 30\) \(now \(8,\)\). Choose"):
        checkpoints.check_key(tmp_path, kept, wanted)
    checkpoints.check_key(tmp_path, kept, dict(reversed(kept.items())))


def test_a_digest_tells_weights_and_arrays_apart() -> None:
    network = torch.nn.Linear(2, 2)
    before = checkpoints.digest(network)
    assert before == checkpoints.digest(network)
    with torch.no_grad():
        network.bias[0] += 1e-6
    assert before != checkpoints.digest(network)
    assert checkpoints.digest(np.arange(3)) != checkpoints.digest(np.arange(3)[::-1])
    assert checkpoints.digest("ab", "c") != checkpoints.digest("a", "bc")


@pytest.mark.parametrize("mapped", [False, True])
def test_arrays_come_back_as_they_were(tmp_path: Path, mapped: bool) -> None:
    checkpoints.write_arrays(tmp_path / "cache", TABLE, PARTS, KEY)
    kept = checkpoints.read_arrays(tmp_path / "cache", ("pixels", "offset_mm"), KEY, mapped)
    assert kept.table.equals(TABLE) and kept.first.tolist() == [0, 2, 3]
    assert np.array_equal(kept.slices["pixels"], np.concatenate(PARTS["pixels"]))
    assert isinstance(kept.slices["pixels"], np.memmap) == mapped
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_arrays_of_another_key_are_refused(tmp_path: Path) -> None:
    checkpoints.write_arrays(tmp_path / "cache", TABLE, PARTS, KEY)
    with pytest.raises(NoduleRiskError, match=r"cache was made with other settings: seed 0 \(now 1\)"):
        checkpoints.read_arrays(tmp_path / "cache", ("pixels",), KEY | {"seed": "1"})


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", ["pixels.npy", "first.npy", "offset_mm.npy", "table.csv", "key.json"])
def test_a_missing_cut_or_foreign_file_of_a_cache_is_named(tmp_path: Path, name: str, mapped: bool) -> None:
    folder = tmp_path / "cache"
    checkpoints.write_arrays(folder, TABLE, PARTS, KEY)
    whole = (folder / name).read_bytes()
    for damage in (
        whole[: len(whole) // 2],
        whole[:-1] if name.endswith("npy") else b"",
        b"\x00\xff" * 40,
        b"[]",
        None,
    ):
        (folder / name).unlink()
        if damage is not None:
            (folder / name).write_bytes(damage)
        with pytest.raises(
            NoduleRiskError, match=r"is missing or corrupt: remove .*cache and run the command again|other settings"
        ):
            checkpoints.read_arrays(folder, ("pixels", "offset_mm"), KEY, mapped)
        (folder / name).write_bytes(whole)
    checkpoints.read_arrays(folder, ("pixels", "offset_mm"), KEY, mapped)


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    checkpoints.write_arrays(tmp_path / "cache", TABLE, PARTS, KEY)
    np.save(tmp_path / "cache" / "pixels.npy", np.zeros((2, 3)))
    with pytest.raises(NoduleRiskError, match="missing or corrupt"):
        checkpoints.read_arrays(tmp_path / "cache", ("pixels", "offset_mm"), KEY)


def test_a_cache_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*paths: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        checkpoints.write_arrays(tmp_path / "cache", TABLE, PARTS, KEY)
    assert list(tmp_path.iterdir()) == []


def test_what_another_process_wrote_meanwhile_stays(tmp_path: Path) -> None:
    checkpoints.write_arrays(tmp_path / "cache", TABLE, PARTS, KEY)
    mapped = checkpoints.read_arrays(tmp_path / "cache", ("pixels",), KEY, mapped=True)
    checkpoints.write_arrays(tmp_path / "cache", TABLE, PARTS | {"pixels": [np.ones((2, 3)), np.ones((1, 3))]}, KEY)
    assert np.array_equal(mapped.slices["pixels"], np.concatenate(PARTS["pixels"]))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"no weights", "half", None])
def test_a_missing_or_cut_state_is_named(tmp_path: Path, damage: bytes | str | None) -> None:
    path = tmp_path / "grader-0.pt"
    checkpoints.write_state(path, {"epoch": 3, "model": torch.nn.Linear(20, 20).state_dict()})
    assert checkpoints.read_state(path)["epoch"] == 3
    whole = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(whole[: len(whole) // 2] if damage == "half" else bytes(damage))  # type: ignore[arg-type]
    with pytest.raises(NoduleRiskError, match=r"grader-0.pt is missing or corrupt: remove .*grader-0.pt and run"):
        checkpoints.read_state(path)


@pytest.mark.parametrize("kind", ["state", "text", "table"])
def test_a_kill_while_writing_leaves_the_file_before(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(number: int) -> None:
        if kind == "state":
            checkpoints.write_state(tmp_path / "file", {"number": number})
        elif kind == "text":
            checkpoints.write_text(tmp_path / "file", str(number))
        else:
            checkpoints.write_table(tmp_path / "file", pd.DataFrame({"number": [number]}))

    write(1)
    before = (tmp_path / "file").read_bytes()

    def killed(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(2)
    assert (tmp_path / "file").read_bytes() == before


def test_a_table_of_another_key_is_refused_and_an_unfinished_one_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "fold-0.csv"
    assert checkpoints.read_keyed_table(path, KEY) is None
    checkpoints.write_keyed_table(path, TABLE, KEY, {"minutes": 2.5})
    kept = checkpoints.read_keyed_table(path, KEY)
    assert kept is not None and kept[1] == {"minutes": 2.5} and kept[0].nodule_id.tolist() == ["a", "b"]
    with pytest.raises(NoduleRiskError, match=r"fold-0.csv was made with other settings: nodules 2 \(now 1\)"):
        checkpoints.read_keyed_table(path, KEY | {"nodules": "1"})
    path.write_bytes(b"")
    with pytest.raises(NoduleRiskError, match=r"fold-0.csv is missing or corrupt"):
        checkpoints.read_keyed_table(path, KEY)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(NoduleRiskError, match=r"fold-0.json is missing or corrupt"):
        checkpoints.read_keyed_table(path, KEY)
