"""What pretraining would lose if hidden slices could be seen, or if its weights did not reach the grader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import QUIET, small

from NoduleRiskLib.networks.nodule_vit import NoduleViT
from training.data.augmentation import compose
from training.data.crops import Stacks
from training.models import graders
from training.models.experiments import EXPERIMENTS
from training.models.grader_settings import build
from training.models.graders import train_grader
from training.models.pretraining import FillIn, half_of
from training.studies import compare


def test_hidden_slices_are_filled_in_better_and_better_and_the_grader_goes_on_from_there(
    stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(small(EXPERIMENTS["pretrained"]), cycles=(12,))
    begins: list[dict[str, torch.Tensor]] = []

    def first_step(model: NoduleViT, *rest: object) -> None:
        begins.append(model.state_dict())
        raise KeyboardInterrupt

    monkeypatch.setattr(graders, "losses_of", first_step)
    with pytest.raises(KeyboardInterrupt):
        train_grader(0, [compare.at_readers_outlines(stacks, np.arange(4, 20))], run, tmp_path, "cpu", QUIET)
    state = torch.load(tmp_path / "pretraining-0.pt", weights_only=True)
    assert np.mean(state["losses"][-3:]) < 0.5 * np.mean(state["losses"][0])
    torch.manual_seed(0)
    for name, value in build(run).state_dict().items():
        if name.startswith("vit.blocks") and name.endswith("weight"):
            assert torch.equal(begins[0][name], state["model"][f"model.{name}"])
            assert not torch.equal(begins[0][name], value)


def test_what_is_hidden_is_told_from_the_other_slices_alone(stacks: Stacks) -> None:
    part = compare.at_readers_outlines(stacks, np.array([0, 1, 3]))
    run = small(EXPERIMENTS["pretrained"])
    batch, _ = compose([part], [(0, n) for n in range(3)], np.random.default_rng(0), False, run.config.layout)
    hidden = half_of(batch.valid, np.random.default_rng(0))
    assert hidden.sum(1).tolist() == (batch.valid.sum(1) // 2).tolist()
    assert not (hidden & ~batch.valid).any()
    task = FillIn(build(run)).eval()
    for value in task.parameters():
        # As after training: timm's fresh blocks hardly mix tokens.
        value.data += torch.randn_like(value) * value[0].numel() ** -0.5
    tokens: list[torch.Tensor] = []
    task.decoder.register_forward_hook(lambda module, given, made: tokens.append(given[0]))
    for shown in (hidden, hidden, ~hidden & batch.valid):
        pixels = torch.where(shown[..., None, None], 500.0, batch.pixels) if tokens else batch.pixels
        task(batch._replace(pixels=pixels), hidden)
    assert torch.equal(tokens[0], tokens[1]) and not torch.allclose(tokens[0], tokens[2], atol=1e-3)
