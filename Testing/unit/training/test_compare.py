"""What a comparison of experiments would lose if scores were mixed up or patients shared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toys import PEOPLE, QUIET, small

from training.data.crops import Stacks
from training.evaluation import metrics
from training.models.experiments import EXPERIMENTS, MULTITASK
from training.studies import compare, speed
from training.studies.cross_validation import Study


@pytest.fixture
def study(stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(compare, "load", lambda data, cache: stacks)
    return Study(data=tmp_path, out=tmp_path, folds=(0, 1), console=QUIET)


def test_a_comparison_scores_each_experiment_beside_the_first_and_is_not_trained_twice(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 20)
    experiments = {
        name: small(EXPERIMENTS[name]) for name in (MULTITASK, "sides", "malignancy-alone", "without-malignancy")
    }
    text = compare.compare(study, experiments, "readers", "the command")
    assert text.startswith("`the command`")
    for heading in (
        "Malignancy as a classification",
        "minus multitask",
        "Pearson r",
        "Mean absolute",
        "Two stages",
        "Settings",
    ):
        assert heading in text
    # Sides are no grades: they have an order, and no error.
    sides = [line for line in text.splitlines() if line.startswith("| sides |")]
    assert sides[-2].count("–") == 8

    def never(*args: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(compare, "train_grader", never)
    assert compare.compare(study, experiments, "readers", "the command") == text


def test_one_fold_has_no_threshold_from_others_and_so_no_accuracy(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 20)
    experiments = {name: small(EXPERIMENTS[name]) for name in ("malignancy-alone", "texture-alone")}
    assert "sensitivity" not in compare.compare(replace(study, folds=(0,)), experiments, "readers", "the command")
    assert "sensitivity" in compare.compare(study, experiments, "readers", "the command")


def test_no_patient_of_the_scored_fold_trains_its_grader(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []

    def spy(fold: int, training: list[compare.FoundOutlines], *rest: object) -> None:
        *_, weak, _ = rest
        assert isinstance(weak, list) and len(weak) == 4
        seen.append({name for part in (*training, *weak) for name in part.table.patient_id})
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "train_grader", spy)
    nodules = compare.from_readers(study)
    for fold in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            compare.fold_estimates(study, nodules, small(EXPERIMENTS["weak"]), fold, study.out / "weak")
        own = set(nodules.reference[fold].table.patient_id)
        assert not own & seen[-1] and len(own | seen[-1]) == PEOPLE


def test_speed_is_told_beside_the_published_one(study: Study) -> None:
    lines = speed.speed(study, {"toy": small(EXPERIMENTS[MULTITASK])}, images=1).splitlines()[-3:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[0].split(",")[0] for row in cells] == ["toy", *[f"timm's {speed.PEER}"] * 2]
    # What timm itself says of it: 5.7 million parameters, 1.1 thousand million multiply-adds.
    assert cells[2][1:3] == ["5.7", "1074.9"] and cells[2][4] == "2299.6"
    for row in cells:
        assert float(row[5]) == pytest.approx(float(row[2]) * float(row[4]) / 1000, rel=0.05, abs=0.06)
