"""What would be believed if model packages were not verified; and that nothing gets lost in one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import NoduleRiskLib
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.networks import model_package
from NoduleRiskLib.networks.false_positive_reduction import SIDE, FalsePositiveNet
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import (
    CARD,
    FORMAT,
    SETTINGS,
    WEIGHTS,
    Calibration,
    ModelPackage,
    Networks,
    load,
    save,
    with_card,
)
from NoduleRiskLib.networks.nodule_vit import NoduleViT, collate
from NoduleRiskLib.networks.segmentation import CHANNELS, SegmentationUNet

CALIBRATION = Calibration(
    interval={name: ((-0.5 - g / 10, 0.6 + g / 7), (-0.2, 0.3 + g)) for g, name in enumerate(GRADE_NAMES)},
    reference={name: tuple(np.linspace(1, 5, 21)) for name in GRADE_NAMES},
    suspicion=(-9.87, 2.34),
    strata_mm=(8.0,),
)
LIBRARY = Path(NoduleRiskLib.__file__).parent


@pytest.fixture(scope="module")
def networks(tiny: ModelConfig, trained: Callable[..., NoduleViT]) -> Networks:
    torch.manual_seed(0)
    return Networks([trained(tiny, seed) for seed in (1, 2)], [SegmentationUNet().eval()], [FalsePositiveNet().eval()])


@pytest.fixture(scope="module")
def kept(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    path = tmp_path_factory.mktemp("package") / "toy"
    return save(path, "toy", "1.2", networks, CALIBRATION, "nothing at all", "# Toy\n\nµ for research.\n")


@pytest.fixture
def copy(kept: ModelPackage, tmp_path: Path) -> Path:
    """A package that a test may spoil."""
    return Path(shutil.copytree(kept.path, tmp_path / "toy"))


def resettle(path: Path, **changes: Any) -> None:
    """Change settings and sign them again, as another version of NoduleRisk would have written them."""
    settings = {**json.loads((path / SETTINGS).read_text()), **changes}
    settings["sha256"] = {file: model_package._file_hash(path / file) for file in (WEIGHTS, CARD)}
    settings["sha256_of_settings"] = model_package._settings_hash(settings)
    (path / SETTINGS).write_text(json.dumps(settings))


# Nothing gets lost


@torch.no_grad()
def test_a_package_grades_as_the_networks_did(kept: ModelPackage, networks: Networks, stack: SliceStack) -> None:
    graders, segmentation_nets, false_positive_nets = again = load(kept.path).networks()
    assert [len(some) for some in again] == [2, 1, 1]
    for network in (*graders, *segmentation_nets, *false_positive_nets):
        assert not network.training
        assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())
    batch, slices, cubes = collate([stack]), torch.rand(2, CHANNELS, 32, 32), torch.rand(2, SIDE, SIDE, SIDE) * 400
    for mine, theirs in zip(graders, networks.graders, strict=True):
        assert torch.allclose(mine(batch).grades, theirs(batch).grades, atol=1e-2)
        assert torch.allclose(mine(batch).pattern, theirs(batch).pattern, atol=1e-2)
    assert not torch.allclose(graders[0](batch).grades, graders[1](batch).grades, atol=5e-2)
    assert torch.allclose(segmentation_nets[0](slices), networks.segmentation[0](slices), atol=1e-2)
    assert torch.allclose(false_positive_nets[0](cubes), networks.false_positive[0](cubes), atol=1e-2)


def test_a_package_from_before_recognisers_is_read(copy: Path) -> None:
    settings = json.loads((copy / SETTINGS).read_text())
    del settings["recognisers"]
    (copy / SETTINGS).write_text(json.dumps(settings))
    resettle(copy)
    assert [len(some) for some in load(copy).networks()] == [2, 1, 0]


def test_weights_are_stored_in_half_precision(kept: ModelPackage) -> None:
    floating = [value for value in load_file(kept.path / WEIGHTS).values() if value.is_floating_point()]
    assert floating
    assert {value.dtype for value in floating} == {torch.float16}


def test_settings_calibration_and_card_survive(kept: ModelPackage, tiny: ModelConfig) -> None:
    again = load(str(kept.path))
    assert again.config == tiny
    assert again.calibration == CALIBRATION
    assert again.card == "# Toy\n\nµ for research.\n"
    assert again == kept


def test_a_package_tells_people_what_it_is(kept: ModelPackage) -> None:
    told = kept.describe()
    assert told["name"] == "toy"
    assert told["version"] == "1.2"
    assert told["trained on"] == "nothing at all"
    assert told["networks"] == "graders: 2, locators: 1, recognisers: 1; those of a kind are averaged"
    assert told["layout"] == "tiny: 16 x 16 pixels of 0.7 mm"
    assert told["SHA-256"] == kept.digest
    assert float(told["size"].removesuffix(" MB")) == pytest.approx((kept.path / WEIGHTS).stat().st_size / 1e6, abs=0.1)
    assert all(isinstance(text, str) and text for text in told.values())
    assert kept.model_id == f"toy@{kept.digest[:12]}"


def test_another_card_is_another_package_that_verifies(kept: ModelPackage, copy: Path) -> None:
    made = with_card(load(copy), "# Toy\n\nMeasured.\n")
    assert load(copy) == made
    assert made.card == "# Toy\n\nMeasured.\n"
    assert made.model_id != kept.model_id
    assert made.settings["sha256"][WEIGHTS] == kept.settings["sha256"][WEIGHTS]


def test_each_stratum_of_diameter_has_its_interval(kept: ModelPackage) -> None:
    told = kept.calibration
    assert [told.interval_at("subtlety", mm) for mm in (2.0, 7.99, 8.0, 50.0)] == [(-0.5, 0.6)] * 2 + [(-0.2, 0.3)] * 2


def test_packages_from_before_there_were_strata_are_read(copy: Path) -> None:
    calibration = json.loads((copy / SETTINGS).read_text())["calibration"]
    del calibration["strata_mm"]
    resettle(copy, format=2, calibration=calibration | {"interval": {name: [-1.0, 2.0] for name in GRADE_NAMES}})
    assert load(copy).calibration.interval_at("margin", 30.0) == (-1, 2)


def test_two_packages_never_share_an_identity(kept: ModelPackage, copy: Path) -> None:
    assert load(copy).model_id == kept.model_id
    (copy / CARD).write_text("# Another card\n", encoding="utf-8")
    resettle(copy)
    assert load(copy).model_id != kept.model_id


def test_an_incomplete_package_is_never_written(networks: Networks, tmp_path: Path) -> None:
    for some in (networks._replace(graders=[]), networks._replace(segmentation=[])):
        with pytest.raises(ValueError, match="at least one grader and one locator"):
            save(tmp_path, "toy", "1", some, CALIBRATION, "", "")
    without = replace(CALIBRATION, interval={"margin": ((0, 0),)})
    with pytest.raises(ValueError, match="every grade"):
        save(tmp_path, "toy", "1", networks, without, "", "")
    with pytest.raises(ValueError, match="every stratum"):
        save(tmp_path, "toy", "1", networks, replace(CALIBRATION, strata_mm=()), "", "")
    assert not list(tmp_path.iterdir())


# What must not be believed


def flip_a_bit(path: Path) -> None:
    bytes_ = bytearray((path / WEIGHTS).read_bytes())
    bytes_[-100] ^= 1
    (path / WEIGHTS).write_bytes(bytes_)


def cut_short(path: Path) -> None:
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-5000])


def write_on_the_card(path: Path) -> None:
    (path / CARD).write_text((path / CARD).read_text(encoding="utf-8") + "Approved.\n", encoding="utf-8")


def change_a_setting(path: Path) -> None:
    settings = json.loads((path / SETTINGS).read_text())
    settings["calibration"]["interval"]["malignancy"][0][0] += 0.01
    (path / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")


def add_a_setting(path: Path) -> None:
    settings = json.loads((path / SETTINGS).read_text())
    (path / SETTINGS).write_text(json.dumps({**settings, "approved": True}))


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (flip_a_bit, WEIGHTS),
        (cut_short, WEIGHTS),
        (write_on_the_card, CARD),
        (change_a_setting, SETTINGS),
        (add_a_setting, SETTINGS),
    ],
)
def test_an_altered_package_is_refused(copy: Path, spoil: Callable[[Path], None], file: str) -> None:
    load(copy)
    spoil(copy)
    with pytest.raises(NoduleRiskError, match=rf"{file} was altered or is incomplete .*: fetch the package again\."):
        load(copy)


@pytest.mark.parametrize("file", [WEIGHTS, SETTINGS, CARD])
def test_a_package_with_a_missing_file_is_refused(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(NoduleRiskError, match=rf"lacks {file}: fetch it again\."):
        load(copy)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError, match=r"There is no model package at .*nowhere: name a folder that holds"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"{}", b'{"format": null}', b'{"format": 1}', b"\xff\xfe\x00", b'"format"']
)
def test_settings_that_are_no_settings_are_refused(copy: Path, text: bytes) -> None:
    (copy / SETTINGS).write_bytes(text)
    with pytest.raises(NoduleRiskError, match=r"is not a model package's settings file: fetch the package again\."):
        load(copy)


@pytest.mark.parametrize("rest", ["all", "none"])
def test_a_newer_format_asks_for_an_update(copy: Path, rest: str) -> None:
    """Whatever else the newer format has changed."""
    if rest == "all":
        resettle(copy, format=FORMAT + 1)
    else:
        (copy / SETTINGS).write_text(json.dumps({"format": FORMAT + 1, "files": {}}))
    with pytest.raises(
        NoduleRiskError, match=rf"has format {FORMAT + 1}, this NoduleRisk reads up to {FORMAT}: update"
    ):
        load(copy)


@pytest.mark.parametrize("change", ["dim", "folds", "transformer", "unknown"])
def test_weights_that_do_not_fit_the_settings_are_refused(copy: Path, tiny: ModelConfig, change: str) -> None:
    grader = tiny.to_dict()
    resettle(
        copy,
        **{
            "dim": {"grader": {**grader, "dim": 64}},
            "folds": {"folds": 3},
            "transformer": {"grader": {**grader, "transformer": "no_such_vit"}},
            "unknown": {"grader": {**grader, "unheard_of": 1}},
        }[change],
    )
    with pytest.raises(NoduleRiskError, match=r"do not fit its model\.json: the package was made by another version"):
        load(copy).networks()


def test_signed_weights_that_are_no_weights_are_refused(copy: Path) -> None:
    (copy / WEIGHTS).write_bytes(b"PK\x03\x04 a pickle in a zip, as torch.save writes it")
    resettle(copy)
    with pytest.raises(NoduleRiskError, match=r"do not fit its model\.json"):
        load(copy).networks()


# What is never done


def test_a_package_is_read_without_torch(kept: ModelPackage) -> None:
    """3D Slicer lists packages before torch is installed."""
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'timm', 'safetensors')))\n"
        "from NoduleRiskLib.networks.model_package import load\n"
        f"package = load({str(kept.path)!r})\n"
        "print(package.describe()['name'], package.model_id, package.calibration.suspicion[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=LIBRARY.parent, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["toy", kept.model_id, "2.34"]


@pytest.mark.parametrize("source", sorted(LIBRARY.rglob("*.py")), ids=lambda path: path.name)
def test_nothing_is_ever_unpickled(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert not re.search(r"\btorch\.load\b|allow_pickle\s*=\s*True", text)
    assert not re.search(r"^\s*(from|import)\s+(_?pickle|dill|joblib|shelve|marshal)\b", text, re.MULTILINE)
