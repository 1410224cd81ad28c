"""What a second run in the same folder would lose: results of other settings, nodules or data taken for its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn
from toys import QUIET, small

from NoduleRiskLib.errors import NoduleRiskError
from training.data import crops
from training.data.context_synthesis import ContextStacks, of_cubes, with_context
from training.data.crops import Stacks
from training.data.places import KEPT_SIDE, Places
from training.data.surroundings import Surroundings
from training.models.experiments import EXPERIMENTS
from training.models.false_positive_reduction import FalsePositiveSettings, train_false_positive
from training.models.graders import train_grader
from training.models.segmentation import SegmentationSettings, train_segmentation
from training.models.training_loop import Schedule
from training.studies import compare, cross_validation, radiomics

SEGMENTATION = SegmentationSettings(epochs=2, batch=16, crop_slices=1, cube_slices=1)
FALSE_POSITIVE = FalsePositiveSettings(epochs=2, batch=8)
Train = Callable[[object, ContextStacks, Path, Console], nn.Module]


def segmentation(settings: object, nodules: ContextStacks, folder: Path, console: Console = QUIET) -> nn.Module:
    assert isinstance(settings, SegmentationSettings)
    everywhere = Surroundings((nodules,), nodules, nodules, None, None)
    return train_segmentation("0", everywhere, settings, folder, console)


def false_positive(settings: object, nodules: ContextStacks, folder: Path, console: Console = QUIET) -> nn.Module:
    assert isinstance(settings, FalsePositiveSettings)
    rng = np.random.default_rng(0)
    shape = (2 * len(nodules.table), KEPT_SIDE, KEPT_SIDE, KEPT_SIDE)
    table = pd.DataFrame({"target": rng.choice([0.0, 0.6, 1.0], shape[0])})
    seen = Places(table, rng.integers(-900, 100, shape, np.int16), rng.integers(0, 256, shape, np.uint8))
    return train_false_positive("0", seen, {"nodules": nodules.key}, settings, folder, console)


BOTH = pytest.mark.parametrize(("train", "settings"), [(segmentation, SEGMENTATION), (false_positive, FALSE_POSITIVE)])


@pytest.fixture(scope="module")
def nodules(stacks: Stacks) -> ContextStacks:
    return of_cubes(replace(stacks, key="toy"))


class KilledAfterOneEpoch(Console):
    def print(self, *args: object, **more: object) -> None:
        if "epoch 2" in str(args[0]):
            raise KeyboardInterrupt


@BOTH
def test_a_stopped_run_goes_on_to_the_same_weights(
    train: Train, settings: object, nodules: ContextStacks, tmp_path: Path
) -> None:
    whole = train(settings, nodules, tmp_path / "whole", QUIET)
    with pytest.raises(KeyboardInterrupt):
        train(settings, nodules, tmp_path / "half", KilledAfterOneEpoch())
    again = train(settings, nodules, tmp_path / "half", QUIET)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@BOTH
@pytest.mark.parametrize("changed", [{"epochs": 1}, {"learning_rate": 1e-3}, {"seed": 1}, {"batch": 4}])
def test_networks_of_other_settings_are_refused(
    train: Train,
    settings: SegmentationSettings,
    changed: dict[str, float],
    nodules: ContextStacks,
    tmp_path: Path,
) -> None:
    train(replace(settings, epochs=1, batch=8), nodules, tmp_path, QUIET)
    (name,) = changed
    wanted = replace(settings, **({"epochs": 1, "batch": 8} | changed | ({"epochs": 2} if name == "epochs" else {})))
    with pytest.raises(NoduleRiskError, match=rf"-0.pt was made with other settings: {name} .* \(now .*another --out"):
        train(wanted, nodules, tmp_path, QUIET)


@BOTH
def test_networks_of_other_nodules_are_refused(
    train: Train, settings: SegmentationSettings, nodules: ContextStacks, tmp_path: Path
) -> None:
    train(replace(settings, epochs=1), nodules, tmp_path, QUIET)
    with pytest.raises(NoduleRiskError, match=r"-0.pt was made with other settings: nodules"):
        train(replace(settings, epochs=1), replace(nodules, key="other"), tmp_path, QUIET)


@BOTH
def test_a_cut_state_is_named(
    train: Train, settings: SegmentationSettings, nodules: ContextStacks, tmp_path: Path
) -> None:
    train(replace(settings, epochs=1), nodules, tmp_path, QUIET)
    (state,) = tmp_path.glob("*.pt")
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(NoduleRiskError, match=rf"{state.name} is missing or corrupt"):
        train(replace(settings, epochs=1), nodules, tmp_path, QUIET)


@pytest.mark.parametrize("changed", [{"cycles": (3,)}, {"learning_rate": 1e-4}, {"seed": 1}, {"weight_decay": 0.0}])
def test_graders_of_other_settings_are_refused(changed: dict[str, object], stacks: Stacks, tmp_path: Path) -> None:
    settings = small(EXPERIMENTS["multitask"])
    parts = [compare.at_readers_outlines(stacks, np.arange(4, 20))]
    train_grader(0, parts, settings, tmp_path, "cpu", QUIET)
    with pytest.raises(NoduleRiskError, match=rf"grader-0.pt was made with other settings: {next(iter(changed))} "):
        train_grader(0, parts, replace(settings, **changed), tmp_path, "cpu", QUIET)  # type: ignore[arg-type]
    train_grader(0, parts, settings, tmp_path, "cpu", QUIET)


def test_graders_of_other_nodules_or_outlines_are_refused(stacks: Stacks, tmp_path: Path) -> None:
    settings = small(EXPERIMENTS["pretrained"])
    train_grader(0, [compare.at_readers_outlines(stacks, np.arange(4, 20))], settings, tmp_path, "cpu", QUIET)
    fewer = compare.at_readers_outlines(stacks, np.arange(4, 19))
    outlined_again = replace(compare.at_readers_outlines(stacks, np.arange(4, 20)), key="other outlines")
    for parts in ([fewer], [outlined_again]):
        with pytest.raises(NoduleRiskError, match=r"pretraining-0.pt was made with other settings: nodules 16 .*\(now"):
            train_grader(0, parts, settings, tmp_path, "cpu", QUIET)
    (tmp_path / "pretraining-0.pt").unlink()
    with pytest.raises(NoduleRiskError, match=r"grader-0.pt was made with other settings: nodules"):
        train_grader(0, [fewer], settings, tmp_path, "cpu", QUIET)


@pytest.fixture
def study(data: Path, tmp_path: Path) -> cross_validation.Study:
    return cross_validation.Study(data=data, out=tmp_path / "out", folds=(0,), console=QUIET)


def test_outlines_of_other_nodules_or_another_network_are_refused(study: cross_validation.Study) -> None:
    everything = cross_validation.classical_outlines(study)[0]
    assert len(everything.table) == 4
    again = cross_validation.classical_outlines(study)[0]
    assert np.array_equal(everything.found, again.found) and everything.key == again.key
    with pytest.raises(NoduleRiskError, match=r"classical-crops-0 was made with other settings: nodules 4 .*\(now 1 "):
        cross_validation.classical_outlines(replace(study, limit=1))
    table = everything.table[["nodule_id", "diameter"]]
    with pytest.raises(NoduleRiskError, match=r"found by threshold and morphology \(now a network\)"):
        cross_validation.find(table, study.data, lambda v, p: [], "a network", study.out / "outlines/classical-crops-0")


def test_caches_of_another_data_set_are_refused(study: cross_validation.Study, tmp_path: Path) -> None:
    other = Path(shutil.copytree(study.data, tmp_path / "other"))
    table = crops.nodule_table(study.data)
    stacks, context = crops.load(study.data, study.cache), study.cache / "context"
    with_context(table.head(2), study.data, context, False, 1)
    key = stacks.key
    nodules = pd.read_csv(other / "lidc" / "nodules.csv")
    nodules.assign(luna16_fold=nodules.luna16_fold.to_numpy()[::-1]).to_csv(other / "lidc" / "nodules.csv", index=False)
    with pytest.raises(NoduleRiskError, match=r"crops was made with other settings: data set .*\(now"):
        crops.load(other, study.cache)
    with pytest.raises(NoduleRiskError, match=r"context was made with other settings: data set .*\(now"):
        with_context(table.head(2), other, context, False, 1)
    with pytest.raises(NoduleRiskError, match=r"context was made with other settings: nodules 2 .*\(now 3.*seed 1 "):
        with_context(table.head(3), study.data, context, False, 2)
    assert crops.load(study.data, study.cache).key == key


def test_radiomics_of_another_data_set_are_refused(study: cross_validation.Study, tmp_path: Path) -> None:
    estimates = radiomics.estimates(study.data, study.out)
    assert radiomics.estimates(study.data, study.out).equals(estimates)
    other = Path(shutil.copytree(study.data, tmp_path / "other"))
    nodules = pd.read_csv(other / "lidc" / "nodules.csv")
    nodules.assign(in_luna16_reference=nodules.index > 0).to_csv(other / "lidc" / "nodules.csv", index=False)
    shutil.rmtree(study.cache)
    with pytest.raises(NoduleRiskError, match=r"radiomics.csv was made with other settings: data set"):
        radiomics.estimates(other, study.out)


def test_estimates_of_a_comparison_with_other_settings_are_refused(
    stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "load", lambda data, cache: stacks)
    study = cross_validation.Study(data=tmp_path, out=tmp_path, folds=(0,), console=QUIET)
    settings, nodules = small(EXPERIMENTS["malignancy-alone"]), compare.from_readers(study)
    compare.fold_estimates(study, nodules, settings, 0, tmp_path / "one")
    with pytest.raises(NoduleRiskError, match=r"fold-0.csv was made with other .*: learning_rate 0.001 \(now 0.01\)"):
        compare.fold_estimates(study, nodules, replace(settings, learning_rate=0.01), 0, tmp_path / "one")
    limited = compare.from_readers(replace(study, limit=2))
    with pytest.raises(NoduleRiskError, match=r"fold-0.csv was made with other settings: nodules 16 .*\(now 8 "):
        compare.fold_estimates(study, limited, settings, 0, tmp_path / "one")


def test_one_schedule_serves_all_networks() -> None:
    cycles = Schedule((2, 3), peak=0.5, warm_up=20)
    rates = np.array([cycles.rate(epoch, step, 10) for epoch in range(5) for step in range(10)])
    assert rates[0] == rates[20] == pytest.approx(0.5 * 0.02)
    assert 0.45 < rates[:20].max() <= 0.5 and rates[19] < 0.01 > rates[49]
    # Each cycle falls from its own top on.
    assert (np.diff(rates[2:20]) < 0).all() and (np.diff(rates[23:]) < 0).all()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=30, pct_start=0.1, cycle_momentum=False)
    one = Schedule((1, 2), peak=0.5, one_cycle=True)
    for number in range(30):
        assert one.rate(number // 10, number % 10, 10) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        if number < 29:
            theirs.step()
