"""What users of older versions would lose if their packages could not be read any more."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.slice_stack import Layout, SliceStack
from NoduleRiskLib.networks.false_positive_reduction import SIDE
from NoduleRiskLib.networks.manifest_file import settings_hash
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import CARD, FORMAT, SETTINGS, WEIGHTS, load, with_card
from NoduleRiskLib.networks.nodule_vit import collate
from NoduleRiskLib.networks.segmentation import CHANNELS

#: Written by NoduleRisk 0.1.0 from untrained networks.
FORMAT_4 = Path(__file__).with_name("data") / "format-4.tar.xz"
#: What 0.1.0 gave for the stack of ``conftest.py``.
GRADES = [1.987580, 2.786911, 3.056590, 0.678613, 2.046868, 2.266113, 2.435090, 13.807487, 2.004017]


@pytest.fixture
def older(tmp_path: Path) -> Path:
    shutil.unpack_archive(FORMAT_4, tmp_path)
    return tmp_path / "toy"


def written_by(path: Path, change: Callable[[dict[str, Any]], None], drop: str = "nothing") -> None:
    """Make it a package of an older version: settings changed, tensors whose names hold ``drop`` left out."""
    weights = {name: value for name, value in load_file(path / WEIGHTS).items() if drop not in name}
    save_file(weights, path / WEIGHTS)
    settings = json.loads((path / SETTINGS).read_text())
    change(settings)
    settings["sha256"] = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in (WEIGHTS, CARD)}
    settings["sha256_of_settings"] = settings_hash(settings)
    (path / SETTINGS).write_text(json.dumps(settings))


def ramp(*shape: int) -> Tensor:
    return torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)


@torch.no_grad()
def test_a_package_of_0_1_0_grades_as_it_did(older: Path, stack: SliceStack) -> None:
    package = load(older)
    assert package.model_id == "toy@38c940477aa3" and package.manifest.format == 4
    assert package.config == ModelConfig(Layout("tiny", slices=9, pixels=16, step_mm=2.0), dim=16, depth=1, heads=2)
    assert package.calibration.interval_at("lobulation", 3.0) == (-0.625, 0.875)
    assert package.manifest.heatmap_faithfulness is None
    graders, segmentation, false_positive = package.networks()
    prediction = graders[0](collate([stack]))
    assert prediction.grades[0].tolist() == pytest.approx(GRADES, abs=1e-5)
    assert prediction.calcified.item() == pytest.approx(0.479236, abs=1e-5)
    assert segmentation[0](ramp(1, CHANNELS, 16, 16)).mean().item() == pytest.approx(-0.114577, abs=1e-5)
    assert false_positive[0](ramp(1, 1, SIDE, SIDE, SIDE) * 400).item() == pytest.approx(-0.0625, abs=1e-5)


def test_a_package_from_before_shape_features_is_read(older: Path) -> None:
    def change(settings: dict[str, Any]) -> None:
        settings["format"] = 3
        del settings["grader"]["shape"]

    written_by(older, change, drop=".shape.")
    package = load(older)
    assert not package.config.shape_features
    assert [len(some) for some in package.networks()] == [1, 1, 1]


def test_a_package_from_before_strata_and_false_positive_reduction_is_read(older: Path) -> None:
    def change(settings: dict[str, Any]) -> None:
        settings["format"] = 2
        del settings["recognisers"], settings["grader"]["shape"], settings["calibration"]["strata_mm"]
        settings["calibration"]["interval"] = {name: [-1.0, 2.0] for name in GRADE_NAMES}

    written_by(older, lambda settings: None, drop="recogniser.")
    written_by(older, change, drop=".shape.")
    package = load(older)
    assert package.calibration.interval_at("margin", 30.0) == (-1, 2)
    assert [len(some) for some in package.networks()] == [1, 1, 0]


def test_a_package_of_format_1_asks_for_a_newer_one(older: Path) -> None:
    written_by(older, lambda settings: settings.update(format=1))
    with pytest.raises(
        NoduleRiskError, match=rf"has format 1, this NoduleRisk reads 2 to {FORMAT}: take a newer package"
    ):
        load(older)


@pytest.mark.parametrize(
    ("drop", "sentence"),
    [
        (".shape.", "has other layers"),
        ("locator.", "counts 1 networks under segmentation"),
        ("grader.0.heads", "other"),
    ],
)
def test_an_older_package_that_is_not_whole_is_refused_too(older: Path, drop: str, sentence: str) -> None:
    written_by(older, lambda settings: None, drop)
    with pytest.raises(NoduleRiskError, match=rf"do not fit its model\.json: .*{sentence}"):
        load(older).networks()


def test_todays_words_in_an_older_format_are_not_guessed_at(older: Path) -> None:
    written_by(older, lambda settings: settings.update(graders=settings.pop("folds")))
    with pytest.raises(NoduleRiskError, match='does not know, "graders"'):
        load(older)


def test_a_new_card_brings_an_older_package_to_todays_format_and_leaves_its_networks(older: Path) -> None:
    kept = Path(shutil.copytree(older, older.with_name("kept")))
    before = load(older)
    made = with_card(before, "# Another card\n")
    assert made == load(older) and made.manifest.format == FORMAT
    assert made.config == before.config and made.calibration == before.calibration
    assert made.model_id != before.model_id
    stored = {name: value for name, value in load_file(kept / WEIGHTS).items()}
    again = load_file(older / WEIGHTS)
    assert len(again) == len(stored)
    for name, value in stored.items():
        kind, rest = name.split(".", 1)
        kind = {"grader": "graders", "locator": "segmentation", "recogniser": "false_positive"}[kind]
        same = again[f"{kind}.{rest}".replace(".shape.", ".shape_features.")]
        assert same.dtype == value.dtype and torch.equal(same, value)
    for mine, theirs in zip(made.networks(), load(kept).networks(), strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
