"""What damaged, hostile or mismatched weights and files would do: grade otherwise than was measured, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.networks import model_package
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import (
    CARD,
    SETTINGS,
    WEIGHTS,
    Calibration,
    ModelPackage,
    Networks,
    load,
    save,
)
from NoduleRiskLib.networks.nodule_vit import NoduleViT


@pytest.fixture
def rewrite(resettle: Callable[..., None]) -> Callable[..., None]:
    """Change the weights of a package and sign it again."""

    def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
        metadata = safe_open(path / WEIGHTS, "pt").metadata()
        save_file(change(load_file(path / WEIGHTS)), path / WEIGHTS, metadata)
        resettle(path)

    return rewritten


# Weights that are not those of the settings


def test_signed_weights_that_are_no_weights_are_refused(copy: Path, resettle: Callable[..., None]) -> None:
    (copy / WEIGHTS).write_bytes(b"PK\x03\x04 a pickle in a zip, as torch.save writes it")
    resettle(copy)
    with pytest.raises(NoduleRiskError, match=r"do not fit its model\.json"):
        load(copy).networks()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dim": 64}, "the graders were trained with another dim"),
        ({"transformer": "no_such_vit"}, "the graders were trained with another transformer"),
        ({"layout": {"pixel_mm": 0.5}}, "the graders were trained with another layout"),
        ({"layout": {"slices": 11}}, "the graders were trained with another layout"),
        ({"windows": [[-1000, 400], [-160, 240], [-900, -300], [100, 1001]]}, "trained with another windows"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_weights_are_used_only_with_what_they_were_trained_with(
    copy: Path, resettle: Callable[..., None], tiny: ModelConfig, change: dict[str, Any], sentence: str
) -> None:
    """A pixel size, a window or a layout of other settings would give other grades without a word."""
    grader = asdict(tiny)
    layout = grader["layout"] | change.get("layout", {})
    resettle(copy, grader=grader | change | {"layout": layout})
    with pytest.raises(
        NoduleRiskError, match=r"do not fit its model\.json: the package was made by another .*" + sentence
    ):
        load(copy).networks()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dim": 64}, r"graders\.0 has other layers"),
        ({"dim": None, "depth": None, "heads": None, "transformer": "vit_giant_patch14_224"}, r"graders\.0 has other"),
        ({"dim": 32, "heads": None}, "no transformer can be built with these settings"),
        ({"transformer": "no_such_vit"}, "timm has no VisionTransformer called no_such_vit"),
        ({"transformer": "resnet50"}, "timm has no VisionTransformer called resnet50"),
        ({"transformer": "vit_medium_patch16_gap_240"}, "not a plain VisionTransformer with a class token"),
    ],
    ids=str,
)
def test_networks_that_the_weights_are_not_of_are_refused(
    networks: Networks,
    calibration: Calibration,
    tiny: ModelConfig,
    tmp_path: Path,
    change: dict[str, Any],
    sentence: str,
) -> None:
    """Before they take memory: the giant's graders alone would be 7 GB."""
    config = replace(tiny, **change)
    claimed = networks._replace(graders=[Claiming(grader, config) for grader in networks.graders])
    package = save(tmp_path / "toy", "toy", "1", claimed, calibration, "nothing", "# Toy")
    with pytest.raises(NoduleRiskError, match=rf"do not fit its model\.json: the package was made .*{sentence}"):
        package.networks()


class Claiming:
    """A grader that says of itself what it is not."""

    def __init__(self, grader: NoduleViT, config: ModelConfig) -> None:
        self.config = config
        self.state_dict = grader.state_dict


@pytest.mark.parametrize(
    "counts",
    [{"graders": 1}, {"graders": 3}, {"segmentation": 2}, {"false_positive": 0}, {"graders": 1, "segmentation": 2}],
)
def test_networks_that_the_settings_do_not_count_are_refused(
    copy: Path, resettle: Callable[..., None], counts: dict[str, int]
) -> None:
    """A network too few in the settings would go unseen, and the package grade otherwise than it was measured."""
    resettle(copy, networks={"graders": 2, "segmentation": 1, "false_positive": 1} | counts)
    with pytest.raises(
        NoduleRiskError, match=r"do not fit its model\.json: .*counts \d networks under \w+, .* holds \d"
    ):
        load(copy)


def test_ten_million_networks_are_refused_at_once(copy: Path, resettle: Callable[..., None]) -> None:
    resettle(copy, networks={"graders": 10**7, "segmentation": 1, "false_positive": 1})
    with pytest.raises(NoduleRiskError, match=r"networks\.graders must be a whole number from 1 to 50, not 10000000"):
        load(copy)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("graders.0.unheard_of", r"graders\.0 has other layers"),
        ("spare.0.weight", "holds tensors of no known network"),
        ("graders.02.weight", "holds 3"),
        ("weight", "holds tensors of no known network"),
        ("graders.1", "holds tensors of no known network"),
    ],
)
def test_tensors_that_no_network_has_are_refused(
    copy: Path, rewrite: Callable[..., None], name: str, sentence: str
) -> None:
    rewrite(copy, lambda weights: weights | {name: torch.zeros(3)})
    with pytest.raises(NoduleRiskError, match=sentence):
        load(copy).networks()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "name", ["graders.1.heads.margin.0.bias", "segmentation.0.last.weight", "graders.0.target_mean"]
)
def test_weights_that_are_not_numbers_are_refused(
    copy: Path, rewrite: Callable[..., None], name: str, value: float
) -> None:
    """They would grade NaN, or find no nodule anywhere."""

    def spoil(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights[name].view(-1)[-1] = value
        return weights

    rewrite(copy, spoil)
    with pytest.raises(NoduleRiskError, match="hold values that are not finite"):
        load(copy)


def test_a_negative_variance_is_refused(copy: Path, rewrite: Callable[..., None]) -> None:
    name = "segmentation.0.down.0.0.1.running_var"
    rewrite(copy, lambda weights: weights | {name: -weights[name]})
    with pytest.raises(NoduleRiskError, match="negative variances"):
        load(copy)


def test_weights_that_are_replaced_after_loading_are_not_used(copy: Path, rewrite: Callable[..., None]) -> None:
    package = load(copy)
    rewrite(copy, lambda weights: {name: value * 2 for name, value in weights.items()})
    with pytest.raises(NoduleRiskError, match="was altered or is incomplete"):
        package.networks()
    assert load(copy).model_id != package.model_id
    (copy / WEIGHTS).unlink()
    with pytest.raises(NoduleRiskError, match="cannot be read"):
        package.networks()


# What cannot be read


def test_a_folder_in_place_of_a_file_is_told(copy: Path) -> None:
    (copy / CARD).unlink()
    (copy / CARD).mkdir()
    with pytest.raises(NoduleRiskError, match=rf"{CARD} is not a file"):
        load(copy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_place_of_a_file_does_not_hang(copy: Path) -> None:
    (copy / SETTINGS).unlink()
    os.mkfifo(copy / SETTINGS)
    with pytest.raises(NoduleRiskError, match=rf"{SETTINGS} is not a file"):
        load(copy)


def test_files_may_be_links_as_in_the_caches_of_hubs(kept: ModelPackage, tmp_path: Path) -> None:
    for name in (WEIGHTS, SETTINGS, CARD):
        link(tmp_path / name, kept.path / name)
    assert load(tmp_path).model_id == kept.model_id
    (tmp_path / CARD).unlink()
    link(tmp_path / CARD, tmp_path / CARD)
    with pytest.raises(NoduleRiskError, match=rf"{CARD} cannot be read"):
        load(tmp_path)
    (tmp_path / CARD).unlink()
    link(tmp_path / CARD, tmp_path / "nowhere")
    with pytest.raises(NoduleRiskError, match=rf"lacks {CARD}"):
        load(tmp_path)


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("no links here")


@pytest.mark.parametrize("file", [WEIGHTS, SETTINGS, CARD])
def test_a_file_that_may_not_be_read_is_told(copy: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def refuse(path: Path, *rest: Any, **more: Any) -> Any:
        if path == copy / file:
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(NoduleRiskError, match=rf"{file} cannot be read \(Permission denied\)"):
        load(copy)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, ""])
def test_a_path_that_can_be_no_folder_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError):
        load(f"{tmp_path}/{name}")


def test_a_file_that_is_far_too_large_is_not_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model_package.MOST_BYTES, CARD, 20)
    with pytest.raises(NoduleRiskError, match=rf"{CARD} is larger than"):
        load(copy)


def test_a_card_that_is_no_text_is_refused(copy: Path, resettle: Callable[..., None]) -> None:
    (copy / CARD).write_bytes(b"caf\xe9")
    resettle(copy)
    with pytest.raises(NoduleRiskError, match=rf"{CARD} is not UTF-8 text"):
        load(copy)
