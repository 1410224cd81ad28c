"""What the weights that ship would lose if training, scoring or export went wrong: the whole way on made-up crops."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from toys import SLICE_MM

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.imaging.resampling import cut, sample
from NoduleRiskLib.imaging.slice_stack import LAYOUTS, Layout
from NoduleRiskLib.networks.measured import CALCIUM_AT, SURFACE_AT
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import SHIPPED, Calibration, Networks, load, save, with_card
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from training.data import crops
from training.data.augmentation import compose
from training.data.context_synthesis import extend
from training.data.lidc import reader_grades
from training.data.places import NODULE
from training.evaluation import metrics
from training.evaluation.false_positive_tables import WARNED_NODULES, limit, place_table
from training.evaluation.metrics import auc_interval, best_threshold
from training.evaluation.tables import OutOfFold
from training.models import classical_segmentation
from training.models.false_positive_reduction import FalsePositiveSettings
from training.models.fitting import fitted
from training.models.fold_networks import FoldNetworks, write_fold_networks
from training.models.grader_settings import GraderSettings, fine_tuning
from training.models.graders import train_grader
from training.models.segmentation import SegmentationSettings
from training.models.targets_and_losses import read_labels
from training.studies import cross_validation
from training.studies.export import Contents, contents, export, prose
from training.studies.measured_study import said
from training.studies.recalibrate import recalibrate
from training.studies.repeatability_study import repeated_measurements


@pytest.fixture(scope="module")
def study(data: Path, tmp_path_factory: pytest.TempPathFactory) -> cross_validation.Study:
    config = ModelConfig(layout=Layout("native", slices=49, pixels=32, pixel_mm=1.0), dim=32, depth=1, heads=2)
    return cross_validation.Study(
        data=data,
        out=tmp_path_factory.mktemp("out"),
        segmentation=SegmentationSettings(epochs=12, batch=32, crop_slices=6, cube_slices=6),
        false_positive=FalsePositiveSettings(epochs=3, batch=8),
        grader=GraderSettings(config=config, cycles=(1, 1), batch=2),
        folds=(0, 1),
        console=Console(quiet=True),
    )


@pytest.fixture(scope="module")
def found_outlines(study: cross_validation.Study) -> dict[int, cross_validation.FoundOutlines]:
    torch.set_num_threads(1)
    return cross_validation.outlines(study, cross_validation.segmentation_nets(study))


def test_the_whole_way_from_crops_to_a_package_that_verifies(
    study: cross_validation.Study,
    found_outlines: dict[int, cross_validation.FoundOutlines],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 20)
    found_by = cross_validation.segmentation_nets(study)
    trained = cross_validation.graders(study, found_outlines)
    on_crops = cross_validation.estimates(study, found_outlines, trained)
    on_cubes = cross_validation.estimates(
        study, cross_validation.outlines(study, found_by, cubes=True), trained, cubes=True
    )
    assert len(on_crops) == len(on_cubes) == 8
    # Balls in empty lung are the easiest of nodules.
    assert on_crops.dice.median() > 0.8
    assert on_cubes.found_diameter.notna().mean() > 0.8
    outlining = cross_validation.segmentation_nets(study, (cross_validation.ALL,))
    telling = cross_validation.false_positive_nets(study, outlining)
    shipped = Networks(list(trained.values()), list(outlining.values()), list(telling.values()))
    places = cross_validation.nodule_probabilities(
        study, found_by, cross_validation.false_positive_nets(study, found_by)
    )
    found = OutOfFold(on_crops, on_cubes, places, repeated_measurements(study, found_by))
    found.write(tmp_path)
    found = OutOfFold.read(tmp_path)
    assert len(found.repeated) > 40
    made = export(tmp_path / "package", "9", shipped, found, "python -m training all")
    assert 0 < made.calibration.likely < 1 and made.calibration.repeatability and made.calibration.account
    assert load(made.path).digest == made.digest
    assert "not pathology" in made.card
    card = " ".join(made.card.split())
    assert "two NoduleViTs (one token per slice, one transformer block, nine heads that also read six shape " in card
    assert "1 of the 8 nodules have slices whose HU were recovered" in card
    assert "The package averages two graders" in card and "five NoduleViTs" not in card
    assert [len(networks) for networks in made.networks()] == [2, 1, 1]
    assert all(grade.name in made.card for grade in GRADES)
    titles = [line for line in made.card.splitlines() if line.startswith("### ")]
    assert len(titles) == len(set(titles)) > 10
    # What is fitted later to the same tables comes into the package without another training.
    older = with_card(made, made.card, calibration=replace(made.calibration, account=None))
    assert older.model_id != made.model_id and recalibrate(made.path, tmp_path) == made
    with_card(made, made.card, calibration=replace(made.calibration, suspicion=(0.0, 1.0)))
    with pytest.raises(NoduleRiskError, match="are not of the networks"):
        recalibrate(made.path, tmp_path)


def test_the_shipped_card_says_what_the_package_holds() -> None:
    package = load(SHIPPED)
    said = prose(package.name, contents(package.networks(), 1143, 218), "python -m training all --data DATA")
    start = " ".join(said.split()).partition(" Trained by ")[0]
    assert "five NoduleViTs (one token per slice, four transformer blocks" in start
    assert start in " ".join(package.card.split())
    if "NODULERISK_DATA" in os.environ:
        table = crops.nodule_table(Path(os.environ["NODULERISK_DATA"]))
        used = table[table.in_luna16_reference]
        assert (len(used), (~used.hu_exact).sum()) == (1143, 218)


def test_a_card_of_one_grader_speaks_of_one() -> None:
    alone = prose(
        "toy",
        Contents(
            graders=1,
            blocks=14,
            shape_features=False,
            surface_features=False,
            calcium_features=False,
            nodules=2000,
            recovered=0,
        ),
        "command",
    )
    told = " ".join(alone.split())
    assert "one NoduleViT (one token per slice, 14 transformer blocks, nine heads) grades it." in told
    assert "averag" not in told and "0 of the 2,000 nodules" in told


def test_no_patient_is_scored_by_a_fold_that_trained_on_it(
    found_outlines: dict[int, cross_validation.FoundOutlines],
) -> None:
    patients = [set(part.table.patient_id) for part in found_outlines.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 8


def test_morphology_finds_balls_in_empty_lung_from_the_same_points(study: cross_validation.Study) -> None:
    found = cross_validation.joined(cross_validation.classical_outlines(study, cubes=True))
    assert found.dice.median() > 0.8
    assert (found.found_diameter - found.true_diameter).abs().median() < 1.5
    beside = classical_segmentation.segment(
        crops.read_nodule(study.data, "PATIENT-00_0", cube=True).volume, [np.full(3, 18.0)]
    )
    assert beside == [None]


def test_false_positive_networks_tell_balls_from_empty_lung(study: cross_validation.Study) -> None:
    outlining = cross_validation.segmentation_nets(study)
    telling = cross_validation.false_positive_nets(study, outlining)
    places = cross_validation.nodule_probabilities(study, outlining, telling)
    below = limit(places)
    balls = places.probability[places.kind == NODULE]
    assert (balls < below).sum() <= WARNED_NODULES * len(balls) + 1
    table = place_table(places, below)
    assert list(table.index) == ["nodule", "lung"] and table.places["lung"] > 8
    assert table.AUC["lung"] > 0.95


def test_fold_networks_of_an_earlier_run_outline_instead_of_new_ones(
    study: cross_validation.Study, tmp_path: Path
) -> None:
    outlining = cross_validation.segmentation_nets(study)
    telling = cross_validation.false_positive_nets(study, outlining)
    file = tmp_path / "fold-networks.safetensors"
    write_fold_networks(file, FoldNetworks(outlining, telling))
    later = replace(study, out=tmp_path / "nothing", fold_networks=file)
    again = cross_validation.segmentation_nets(later)
    assert list(again) == list(outlining) and not later.out.exists()
    for before, after in (
        (outlining, again),
        (telling, cross_validation.false_positive_nets(later, again)),
    ):
        for fold, network in before.items():
            for name, value in network.state_dict().items():
                assert torch.allclose(after[fold].state_dict()[name].double(), value.double(), rtol=1e-3, atol=1e-4), (
                    name
                )
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(NoduleRiskError, match=r"fold-networks.safetensors is missing or corrupt"):
        cross_validation.segmentation_nets(later)


@pytest.mark.parametrize("shape", [True, False])
def test_training_goes_on_from_a_package_of_the_same_folds(
    study: cross_validation.Study,
    found_outlines: dict[int, cross_validation.FoundOutlines],
    tmp_path: Path,
    shape: bool,
) -> None:
    parts, quiet = [part for fold, part in found_outlines.items() if fold], Console(quiet=True)
    learned = replace(study.grader, config=replace(study.grader.config, shape_features=shape))
    before = train_grader(0, parts, learned, tmp_path / "before", "cpu", quiet)
    networks = Networks([before], list(cross_validation.segmentation_nets(study, (cross_validation.ALL,)).values()), [])
    calibration = Calibration(dict.fromkeys(GRADE_NAMES, ((-1, 1),)), dict.fromkeys(GRADE_NAMES, (1, 5)), (0, 1))
    kept = save(tmp_path / "package", "toy", "1", networks, calibration, "", "")
    run = replace(fine_tuning(kept.path), config=study.grader.config, batch=2, cycles=(1,), learning_rate=1e-9)
    after = dict(train_grader(0, parts, run, tmp_path / "after", "cpu", quiet).named_parameters())
    for name, value in before.named_parameters():
        assert torch.allclose(after[name], value, rtol=1e-2, atol=1e-3), name
    # What the package had not learned yet begins at nothing, and takes hundreds of times larger steps.
    assert shape or 1e-11 < after["shape_features.weight"].abs().max() < 1e-8
    with pytest.raises(NoduleRiskError, match=r"has 1 graders, .* five folds"):
        train_grader(1, parts, run, tmp_path / "other", "cpu", quiet)
    # Without epochs the package's grader is taken as it is, and there is no run to go on with.
    taken = train_grader(0, parts, replace(run, cycles=(0,)), tmp_path / "taken", "cpu", quiet)
    known = kept.networks().graders[0].state_dict()
    assert all(torch.equal(known.get(name, value), value) for name, value in taken.state_dict().items())
    assert not taken.training and not (tmp_path / "taken").exists()


def test_a_killed_run_goes_on_to_the_same_weights(
    study: cross_validation.Study, found_outlines: dict[int, cross_validation.FoundOutlines], tmp_path: Path
) -> None:
    parts = [part for fold, part in found_outlines.items() if fold]
    quiet = Console(quiet=True)
    whole = train_grader(0, parts, study.grader, tmp_path / "whole", "cpu", quiet)

    class KilledError(Exception):
        pass

    class KilledAfterOneEpoch(Console):
        def print(self, *args: object, **more: object) -> None:
            if "epoch 2" in str(args[0]):
                raise KilledError

    with pytest.raises(KilledError):
        train_grader(0, parts, study.grader, tmp_path / "half", "cpu", KilledAfterOneEpoch())
    again = train_grader(0, parts, study.grader, tmp_path / "half", "cpu", quiet)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_what_is_trained_on_is_what_is_assessed(
    study: cross_validation.Study, found_outlines: dict[int, cross_validation.FoundOutlines]
) -> None:
    """Training's windows show the same pixels as ``mosaic.cut`` does around the extent that the pipeline found."""
    part = found_outlines[0]
    layout = study.grader.config.layout
    batch, _ = compose([part], [(0, 0)], np.random.default_rng(0), False, layout)
    nodule = crops.read_nodule(study.data, part.table.nodule_id[0])
    volume = extend(nodule, np.random.default_rng([0, *part.table.nodule_id[0].encode()]))
    here = slice(int(part.first[0]), int(part.first[1]))
    inside = part.found[here, 0] > 127
    z, rows, columns = np.nonzero(inside)
    wide = cut(volume, np.zeros(3), crops.WIDE)
    centre = wide.pixels_ras()[wide.valid][z, rows, columns].mean(0)
    stack = cut(volume, centre, layout)
    held = np.unique(z)
    shown = stack.pixels[stack.valid][held]
    assert batch.valid[0].sum() == len(held)
    assert np.abs(batch.pixels[0, : len(held)].numpy() - shown).mean() < 12
    assert np.allclose(batch.offset_mm[0, : len(held)], stack.offset_mm[stack.valid][held], atol=1.0)


def test_a_zoomed_nodule_gets_a_zoomed_diameter(found_outlines: dict[int, cross_validation.FoundOutlines]) -> None:
    rng = np.random.default_rng(3)
    for _ in range(6):
        batch, zoom = compose([found_outlines[0]], [(0, 1)], rng, True, LAYOUTS["native"])
        plain, _ = compose([found_outlines[0]], [(0, 1)], rng, False, LAYOUTS["native"])
        if abs(zoom[0] - 1) > 0.05:
            middle = [int(one.outline[0].flatten(1).sum(1).argmax()) for one in (batch, plain)]
            dense = [float((one.pixels[0, m] > -400).sum()) for one, m in zip((batch, plain), middle, strict=True)]
            assert (dense[0] > dense[1]) == (zoom[0] > 1)
            return
    raise AssertionError("no zoom in six tries")


def test_surroundings_leave_the_crop_alone_and_hold_no_nodule(data: Path) -> None:
    nodule = crops.read_nodule(data, "PATIENT-19_0")
    whole = extend(nodule, np.random.default_rng(0))
    places = np.stack(np.meshgrid(*[[-8.0, 0, 8]] * 2, [-4.0, 0, 4]), -1)
    assert np.array_equal(sample(whole, places), sample(nodule.volume, places))
    assert len(whole.array) >= len(nodule.volume.array) + 2 * 12 / SLICE_MM
    beyond = np.concatenate([whole.array[:3], whole.array[-3:]])
    # At most a vessel runs on there: not the nodule's whole cross-section.
    assert (beyond > -400).mean((1, 2)).max() < 0.01


def test_labels_are_the_readers_means(data: Path) -> None:
    table = crops.labels(crops.nodule_table(data), data)
    assert set(table.malignancy[1::2]) == {5} and set(table.malignancy[::2]) == {1}
    assert set(table.suspicious) == {0.0, 1.0}
    drawn = 2 * (4.0 + 0.1 * np.arange(20) + 4.0 * (np.arange(20) % 2)) + 0.5
    assert np.abs(table.diameter - drawn).max() < 0.8
    given = reader_grades().loc[[int(i) for i in table.annotation_ids[0].split(";")]]
    assert table.subtlety[0] == given.subtlety.mean()
    assert read_labels(table).grades.shape == (20, 10)


def test_missing_and_corrupt_data_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError, match=r"no data set at .*NODULERISK_DATA"):
        crops.nodule_table(tmp_path)
    with pytest.raises(NoduleRiskError, match=r"NOBODY_0.nrrd is missing or corrupt"):
        crops.read_nodule(data, "NOBODY_0")


def test_a_corrupt_crop_a_missing_mask_and_an_empty_fold_are_named(data: Path, tmp_path: Path) -> None:
    spoilt = Path(shutil.copytree(data, tmp_path / "spoilt"))
    (spoilt / "lidc" / "crops" / "PATIENT-03_0.nrrd").write_bytes(b"NRRD0004\nand no more")
    with pytest.raises(NoduleRiskError, match=r"PATIENT-03_0.nrrd is missing or corrupt: fetch"):
        crops.load(spoilt, tmp_path / "cache")
    (spoilt / "lidc" / "masks" / "PATIENT-02_0.nrrd").unlink()
    with pytest.raises(NoduleRiskError, match=r"masks/PATIENT-02_0.nrrd is missing or corrupt: fetch"):
        crops.load(spoilt, tmp_path / "cache")
    table = pd.read_csv(spoilt / "lidc" / "nodules.csv")
    table[table.luna16_fold // 2 != 3].to_csv(spoilt / "lidc" / "nodules.csv", index=False)
    with pytest.raises(NoduleRiskError, match=r"Fold 3 of .* has no reference nodule"):
        crops.load(spoilt, tmp_path / "cache")


def test_scores_are_what_their_definitions_say() -> None:
    assert best_threshold(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True])) == 2.5
    patients = np.arange(200)
    positive = patients % 2 == 1
    low, high = auc_interval(patients, positive, np.random.default_rng(0).normal(size=200) + positive)
    assert low < 0.76 < high and high - low < 0.2


def test_a_graders_own_weights_stay_and_both_halves_can_be_told(
    found_outlines: dict[int, cross_validation.FoundOutlines],
) -> None:
    torch.manual_seed(1)
    config = ModelConfig(dim=32, depth=1, heads=2, evidence=True)
    plain = NoduleViT(config).eval()
    torch.nn.init.normal_(plain.evidence.maps.weight, std=5.0)
    parts = list(found_outlines.values())
    both = fitted(plain, parts, twins=0, seed=0)
    assert both.config == replace(config, surface_features=True, calcium_features=True)
    for name, value in plain.state_dict().items():
        assert torch.equal(both.state_dict()[name], value), name
    before = said(both, parts[0])
    here = [*SURFACE_AT, *CALCIUM_AT[:1]]
    assert before["measures"].shape == (len(parts[0].table), 15)
    assert np.isfinite(before["measures"]).all() and before["measures"][:, list(SURFACE_AT)].std(0).min() > 1e-4
    both.surface.weight.zero_()
    both.surface.bias.zero_()
    both.calcium.weight.zero_()
    both.calcium.bias.zero_()
    after = said(both, parts[0])
    assert after["heads"] == pytest.approx(before["heads"], abs=1e-4)
    middle = np.asarray(both.target_mean)[here]
    moved = before["both"][:, here] - after["both"][:, here]
    assert moved == pytest.approx((before["measures"][:, here] - middle) / 2, abs=1e-4)
