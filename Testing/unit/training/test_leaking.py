"""What the price of leaking would be wrong about: a nodule lost by the split, or scored by a grader that saw it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from toys import QUIET, small

from NoduleRiskLib.networks.nodule_vit import NoduleViT
from training.data.crops import Stacks
from training.data.found_outlines import FoundOutlines
from training.evaluation import metrics
from training.models.experiments import EXPERIMENTS
from training.models.grader_settings import GraderSettings, build
from training.studies import compare, leaking
from training.studies.cross_validation import Study


@pytest.fixture
def parts(stacks: Stacks) -> dict[int, FoundOutlines]:
    """Thirty nodules of twenty patients in five folds by patient: ten patients have two."""
    fold = stacks.table.fold.to_numpy()
    return {n: compare.at_readers_outlines(stacks, np.flatnonzero(fold == n)) for n in range(5)}


def test_every_nodule_is_in_one_fold_with_its_own_slices(parts: dict[int, FoundOutlines], stacks: Stacks) -> None:
    split = leaking.folds_by_nodule(parts)
    assert [len(part.table) for part in split.values()] == [6] * 5
    names = [name for part in split.values() for name in part.table.nodule_id]
    assert sorted(names) == sorted(stacks.table.nodule_id)
    assert all((part.table.fold == fold).all() for fold, part in split.items())
    where = dict(zip(stacks.table.nodule_id, range(len(stacks.table)), strict=True))
    for part in split.values():
        for row, name in enumerate(part.table.nodule_id):
            n, own = where[name], slice(int(part.first[row]), int(part.first[row + 1]))
            true = slice(int(stacks.first[n]), int(stacks.first[n + 1]))
            assert np.array_equal(part.pixels[own], stacks.pixels[true])
            assert np.array_equal(part.offset_mm[own], stacks.offset_mm[true])
            assert np.array_equal(part.share[own], stacks.readers[true])
    shared = pd.concat([part.table for part in split.values()]).groupby("patient_id").fold.nunique()
    assert (shared == 2).any()
    assert len({part.key for part in (*split.values(), *parts.values())}) > 5
    again = leaking.folds_by_nodule(parts)
    assert [part.key for part in again.values()] == [part.key for part in split.values()]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, pd.DataFrame]]:
    """Of every grader that is asked for: its fold, and the nodules that it would train on. None trains."""
    asked = []

    def untrained(fold: int, training: list[FoundOutlines], settings: GraderSettings, *rest: object) -> NoduleViT:
        asked.append((fold, pd.concat([part.table for part in training])))
        torch.manual_seed(len(asked))
        return build(settings).eval()

    monkeypatch.setattr(compare, "train_grader", untrained)
    monkeypatch.setattr(compare, "cost", lambda folder, fold: {"minutes": 0.0, "nodules_per_second": 0.0})
    return asked


@pytest.fixture
def study(parts: dict[int, FoundOutlines], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 20)
    monkeypatch.setattr(leaking, "from_pipeline", lambda study: compare.Nodules(parts, {}))
    return Study(data=tmp_path, out=tmp_path, folds=(0, 1), console=QUIET)


def test_patients_leak_into_folds_by_nodule_only_and_nodules_into_none(
    study: Study, parts: dict[int, FoundOutlines], seen: list[tuple[int, pd.DataFrame]]
) -> None:
    text = leaking.leaking(study, "shape", small(EXPERIMENTS["shape"]), "the command")
    assert [fold for fold, _ in seen] == [0, 1, 0, 1]
    for scored, which in ((parts, seen[:2]), (leaking.folds_by_nodule(parts), seen[2:])):
        leaked = 0
        for fold, training in which:
            assert not set(training.nodule_id) & set(scored[fold].table.nodule_id)
            leaked += len(set(training.patient_id) & set(scored[fold].table.patient_id))
        assert bool(leaked) == (scored is not parts)
    for told in ("folds by patient", "folds by nodule", "patient has several nodules", "Pearson r", "sensitivity"):
        assert told in text
    # What is done is read from its files.
    assert leaking.leaking(study, "shape", small(EXPERIMENTS["shape"]), "the command") == text and len(seen) == 4


def test_one_fold_of_each_split_has_no_threshold_from_others(
    study: Study, seen: list[tuple[int, pd.DataFrame]]
) -> None:
    one = replace(study, folds=(0,))
    text = leaking.leaking(one, "shape", small(EXPERIMENTS["shape"]), "the command")
    assert len(seen) == 2 and "AUC" in text and "sensitivity" not in text


def test_the_difference_is_taken_on_the_same_nodules_and_told_apart_by_who_can_gain() -> None:
    def table(names: str, patients: str, estimates: list[float]) -> pd.DataFrame:
        frame = pd.DataFrame({"nodule_id": list(names), "patient_id": list(patients), "pipeline_malignancy": estimates})
        frame["several"] = frame.patient_id == "A"
        return frame.assign(malignancy=[{"a": 1, "b": 5, "c": 2, "d": 4, "e": 1, "f": 5}[name] for name in names])

    by_patient = table("abcde", "AABCD", [3, 2, 2, 4, 1])
    by_nodule = table("dcbaf", "CBAAE", [1, 2, 4, 2, 5])
    both = leaking.together({"patient": by_patient, "nodule": by_nodule})
    assert both.nodule_id.tolist() == list("abcd") and both.several.tolist() == [True, True, False, False]
    told = leaking.difference_table(both)
    assert told["in a class"].tolist() == [4, 2, 2]
    # By patient: b 2 and d 4 against a 3 and c 2 (a tie); by nodule: b 4 and d 1 against a 2 and c 2.
    assert told["AUC by patient"].tolist() == [(0 + 0.5 + 1 + 1) / 4, 0, 1]
    assert told["AUC by nodule"].tolist() == [2 / 4, 1, 0]
    # Errors by patient 2 3 0 0, by nodule 1 1 0 3.
    assert [cell.split()[0] for cell in told.MAE] == ["+0.000", "-1.500", "+1.500"]
