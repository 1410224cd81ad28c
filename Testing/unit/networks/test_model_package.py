"""What would be believed if model packages were not verified; and that nothing gets lost in one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import NoduleRiskLib
from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.imaging.slice_stack import SliceStack
from NoduleRiskLib.networks.false_positive_reduction import SIDE
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
from NoduleRiskLib.networks.nodule_vit import collate
from NoduleRiskLib.networks.segmentation import CHANNELS

LIBRARY = Path(NoduleRiskLib.__file__).parent


# Nothing gets lost


@torch.no_grad()
def test_a_package_grades_as_the_networks_did(kept: ModelPackage, networks: Networks, stack: SliceStack) -> None:
    graders, segmentation_nets, false_positive_nets = again = load(kept.path).networks()
    assert [len(some) for some in again] == [2, 1, 1]
    for network in (*graders, *segmentation_nets, *false_positive_nets):
        assert not network.training
        assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())
    batch, slices, cubes = collate([stack]), torch.rand(2, CHANNELS, 32, 32), torch.rand(2, 2, SIDE, SIDE, SIDE)
    for mine, theirs in zip(graders, networks.graders, strict=True):
        assert torch.allclose(mine(batch).grades, theirs(batch).grades, atol=1e-2)
        assert torch.allclose(mine(batch).pattern, theirs(batch).pattern, atol=1e-2)
    assert not torch.allclose(graders[0](batch).grades, graders[1](batch).grades, atol=5e-2)
    assert torch.allclose(segmentation_nets[0](slices), networks.segmentation[0](slices), atol=1e-2)
    assert torch.allclose(false_positive_nets[0](cubes), networks.false_positive[0](cubes), atol=1e-2)


def test_weights_are_stored_in_half_precision(kept: ModelPackage) -> None:
    floating = [value for value in load_file(kept.path / WEIGHTS).values() if value.is_floating_point()]
    assert floating
    assert {value.dtype for value in floating} == {torch.float16}


def test_settings_calibration_and_card_survive(kept: ModelPackage, tiny: ModelConfig, calibration: Calibration) -> None:
    again = load(str(kept.path))
    assert again.config == tiny
    assert again.calibration == calibration
    assert again.card == "# Toy\n\nµ for research.\n"
    assert again == kept


def test_a_package_tells_people_what_it_is(kept: ModelPackage) -> None:
    told = kept.describe()
    assert told["name"] == "toy"
    assert told["version"] == "1.2"
    assert told["trained on"] == "nothing at all"
    assert told["networks"] == (
        "graders: 2, segmentation: 1, false-positive reduction: 1; those of a kind are averaged"
    )
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
    assert made.manifest.weights_sha256 == kept.manifest.weights_sha256


def test_each_stratum_of_diameter_has_its_interval(kept: ModelPackage) -> None:
    told = kept.calibration
    assert [told.interval_at("subtlety", mm) for mm in (2.0, 7.99, 8.0, 50.0)] == [(-0.5, 0.6)] * 2 + [(-0.2, 0.3)] * 2


def test_two_packages_never_share_an_identity(kept: ModelPackage, copy: Path, resettle: Callable[..., None]) -> None:
    assert load(copy).model_id == kept.model_id
    (copy / CARD).write_text("# Another card\n", encoding="utf-8")
    resettle(copy)
    assert load(copy).model_id != kept.model_id


def test_an_incomplete_package_is_never_written(networks: Networks, calibration: Calibration, tmp_path: Path) -> None:
    for some in (networks._replace(graders=[]), networks._replace(segmentation=[])):
        with pytest.raises(ValueError, match="at least one grader and one segmentation network"):
            save(tmp_path, "toy", "1", some, calibration, "", "")
    without = replace(calibration, interval={"margin": ((0, 0),)})
    with pytest.raises(ValueError, match="every grade"):
        save(tmp_path, "toy", "1", networks, without, "", "")
    with pytest.raises(ValueError, match="every stratum"):
        save(tmp_path, "toy", "1", networks, replace(calibration, strata_mm=()), "", "")
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
def test_a_newer_format_asks_for_an_update(copy: Path, resettle: Callable[..., None], rest: str) -> None:
    """Whatever else the newer format has changed."""
    if rest == "all":
        resettle(copy, format=FORMAT + 1)
    else:
        (copy / SETTINGS).write_text(json.dumps({"format": FORMAT + 1, "files": {}}))
    with pytest.raises(
        NoduleRiskError, match=rf"has format {FORMAT + 1}, this NoduleRisk reads up to {FORMAT}: update"
    ):
        load(copy)


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


def test_a_package_never_reaches_for_the_network(kept: ModelPackage, tmp_path: Path) -> None:
    """timm fetches weights by name where it is allowed to."""
    script = (
        "import sys\n"
        "def watch(event, about):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'): raise SystemExit(f'{event} {about}')\n"
        "sys.addaudithook(watch)\n"
        "from NoduleRiskLib.networks.model_package import load\n"
        f"print(len(load({str(kept.path)!r}).networks().graders))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=LIBRARY.parent,
        env=os.environ | {"HF_HOME": str(tmp_path / "hub"), "TORCH_HOME": str(tmp_path / "hub")},
        check=False,
    )
    assert done.stdout.split() == ["2"], done.stderr
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("source", sorted(LIBRARY.rglob("*.py")), ids=lambda path: path.name)
def test_nothing_is_ever_unpickled(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert not re.search(r"\btorch\.load\b|allow_pickle\s*=\s*True", text)
    assert not re.search(r"^\s*(from|import)\s+(_?pickle|dill|joblib|shelve|marshal)\b", text, re.MULTILINE)
