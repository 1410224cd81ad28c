"""What grades would be worth if the network read absent slices, other nodules of the batch, or wrong weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor

from NoduleRiskLib.grades import CALCIFICATION_PATTERNS, GRADE_NAMES
from NoduleRiskLib.imaging.calcium_features import CALCIUM_FEATURES
from NoduleRiskLib.imaging.shape_features import SHAPE_FEATURES
from NoduleRiskLib.imaging.slice_stack import LAYOUTS, PLANES, Layout, SliceStack, part
from NoduleRiskLib.imaging.surface_features import SURFACE_FEATURES
from NoduleRiskLib.networks.model_config import WINDOWS, ModelConfig, paper_config
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT, collate

Trained = Callable[..., NoduleViT]
KINDS = list(product(("conv", "linear"), ("mm", "slot")))
kinds = pytest.mark.parametrize(("embedding", "position"), KINDS, ids=["-".join(kind) for kind in KINDS])


def nodules(config: ModelConfig, count: int = 4) -> Batch:
    """Noise in HU with outlines, every nodule with its own slices missing; the last place is filled in none."""
    layout, dice = config.layout, torch.Generator().manual_seed(5)
    places = layout.slices * len(layout.planes)
    shape = (count, places, layout.pixels, layout.pixels)
    valid = torch.rand(count, places, generator=dice) < 0.6
    valid[:, 0], valid[:, -1] = True, False
    plane = torch.arange(len(layout.planes)).repeat_interleave(layout.slices)
    offset = torch.arange(layout.slices).repeat(len(layout.planes)) - layout.slices // 2
    return Batch(
        torch.rand(shape, generator=dice) * 1400 - 1000,
        (torch.rand(shape, generator=dice) > 0.7).float(),
        offset.float().expand(count, -1) * 1.7,
        plane.expand(count, -1),
        valid,
        torch.randn(count, len(SHAPE_FEATURES), generator=dice),
        torch.randn(count, len(SURFACE_FEATURES), generator=dice),
        torch.randn(count, len(CALCIUM_FEATURES), generator=dice),
    )


def one(batch: Batch, i: int) -> Batch:
    return Batch(*(tensor[i : i + 1] for tensor in batch))


def assert_alike(a: tuple[Tensor, ...], b: tuple[Tensor, ...], atol: float = 1e-4) -> None:
    for mine, theirs in zip(a, b, strict=True):
        assert torch.isfinite(mine).all()
        assert torch.allclose(mine, theirs, atol=atol)


# What a grade depends on


@kinds
@pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
@torch.no_grad()
def test_what_stands_in_absent_slices_changes_no_grade(
    tiny: ModelConfig, trained: Trained, embedding: str, position: str, garbage: float
) -> None:
    model = trained(replace(tiny, embedding=embedding, position=position))
    batch = nodules(model.config)
    absent = ~batch.valid[..., None, None]
    painted = batch._replace(
        pixels=batch.pixels.masked_fill(absent, garbage), outline=batch.outline.masked_fill(absent, garbage)
    )
    assert_alike(model(painted), model(batch), atol=0)


@torch.no_grad()
def test_where_absent_slices_would_lie_changes_no_grade(tiny: ModelConfig, trained: Trained) -> None:
    model, batch = trained(tiny), nodules(tiny)
    moved = batch._replace(offset_mm=torch.where(batch.valid, batch.offset_mm, 77.0))
    assert_alike(model(moved), model(batch), atol=1e-5)


@kinds
@torch.no_grad()
def test_a_grade_does_not_depend_on_the_other_nodules(
    tiny: ModelConfig, trained: Trained, embedding: str, position: str
) -> None:
    model = trained(replace(tiny, embedding=embedding, position=position))
    batch = nodules(model.config)
    together = model(batch)
    for i in range(len(batch.valid)):
        assert_alike(model(one(batch, i)), [values[i : i + 1] for values in together])
    assert together.grades.std(0).min() > 1e-4


def test_training_statistics_never_see_absent_slices(tiny: ModelConfig) -> None:
    batch = nodules(tiny)
    learnt = []
    for garbage in (0.0, 400.0):
        torch.manual_seed(3)
        model = NoduleViT(tiny).train()
        model(batch._replace(pixels=batch.pixels.masked_fill(~batch.valid[..., None, None], garbage)))
        learnt.append({name: value for name, value in model.named_buffers() if "running" in name})
    assert len(learnt[0]) == 12
    assert all(torch.equal(learnt[0][name], learnt[1][name]) for name in learnt[0])


@kinds
@torch.no_grad()
def test_a_grade_depends_on_every_slice_and_its_place(
    tiny: ModelConfig, trained: Trained, embedding: str, position: str
) -> None:
    model = trained(replace(tiny, embedding=embedding, position=position))
    batch = one(nodules(model.config), 0)
    told = model(batch).grades
    for place in batch.valid[0].nonzero()[:, 0]:
        darker = batch.pixels.clone()
        darker[0, place] -= 300
        assert not torch.allclose(model(batch._replace(pixels=darker)).grades, told, atol=1e-5)
    a, b = batch.valid[0].nonzero()[:2, 0]
    swapped = torch.arange(batch.valid.shape[1])
    swapped[a], swapped[b] = b, a
    turned = batch._replace(pixels=batch.pixels[:, swapped], outline=batch.outline[:, swapped])
    assert not torch.allclose(model(turned).grades, told, atol=1e-5)


@torch.no_grad()
def test_a_position_in_mm_is_no_slot(tiny: ModelConfig, trained: Trained) -> None:
    """The same slices with the same offsets mean the same wherever the layout has put them."""
    model = trained(tiny)
    batch = one(nodules(tiny), 0)
    order = torch.randperm(batch.valid.shape[1], generator=torch.Generator().manual_seed(1))
    ordered = {name: tensor[:, order] for name, tensor in batch._asdict().items() if not name.endswith("_features")}
    assert_alike(model(batch._replace(**ordered)), model(batch))
    stretched = batch._replace(offset_mm=batch.offset_mm * 1.5)
    assert not torch.allclose(model(stretched).grades, model(batch).grades, atol=1e-5)


@torch.no_grad()
def test_every_hu_window_and_the_outline_reach_the_network(tiny: ModelConfig, trained: Trained) -> None:
    model, batch = trained(tiny), nodules(tiny)
    flat = batch._replace(pixels=torch.full_like(batch.pixels, -160.0))
    seen = model.channels(flat)
    assert seen.shape[1] == len(WINDOWS) + 1
    for channel, (low, high) in enumerate(WINDOWS):
        expected = min(max((-160 - low) / (high - low), 0), 1) * 2 - 1
        assert torch.allclose(seen[:, channel], torch.tensor(float(expected)), atol=1e-5)
    assert torch.equal(seen[:, -1], batch.outline[batch.valid])
    undrawn = batch._replace(outline=torch.zeros_like(batch.outline))
    assert not torch.allclose(model(undrawn).grades, model(batch).grades, atol=1e-5)
    without = trained(replace(tiny, outline=False))
    assert torch.equal(without(undrawn).grades, without(batch).grades)


def test_stacks_become_a_batch_without_loss(stack: SliceStack) -> None:
    first = part(stack, np.arange(len(stack.valid)) < 5)
    batch = collate([first, stack])
    assert torch.equal(batch.valid[0], torch.as_tensor(first.valid))
    assert np.array_equal(batch.pixels[1], stack.pixels)
    assert np.array_equal(batch.outline[1], stack.outline)
    assert np.allclose(batch.offset_mm[1], stack.offset_mm, atol=1e-5)
    assert batch.plane.dtype == torch.int64
    assert batch.to("cpu").pixels.dtype == torch.float32


# What the heads say


@torch.no_grad()
def test_grades_come_in_their_own_units(tiny: ModelConfig, trained: Trained) -> None:
    model = trained(tiny)
    raw = torch.zeros(2, 9 + 6)
    raw[1, :9] = 1
    model.target_mean.copy_(torch.arange(9.0))
    model.target_std.copy_(torch.full((9,), 0.5))
    grades = model.read(raw).grades
    expected = [[float(g), g + 0.5] for g in range(9)]
    expected[GRADE_NAMES.index("diameter")] = [2**7.0, 2**7.5]
    assert torch.allclose(grades.T, torch.tensor(expected))


@torch.no_grad()
def test_a_wild_head_names_no_infinite_diameter(tiny: ModelConfig, trained: Trained) -> None:
    prediction = trained(tiny).read(torch.full((1, 15), 1e4))
    assert torch.isfinite(prediction.grades).all()


@torch.no_grad()
def test_calcification_is_a_share_and_a_pattern(tiny: ModelConfig, trained: Trained) -> None:
    model, batch = trained(tiny), nodules(tiny)
    prediction = model(batch)
    assert prediction.grades.shape == (4, 9)
    assert prediction.pattern.shape == (4, len(CALCIFICATION_PATTERNS))
    assert torch.allclose(prediction.pattern.sum(1), torch.ones(4))
    assert ((prediction.calcified > 0) & (prediction.calcified < 1)).all()
    told = model.read(torch.nn.functional.one_hot(torch.tensor([9, 11]), 15) * 20.0)
    assert told.calcified[0] > 0.99
    assert told.pattern[1].argmax() == 1


@torch.no_grad()
def test_one_encoder_serves_nine_heads(tiny: ModelConfig, trained: Trained) -> None:
    model, batch = trained(tiny), nodules(tiny)
    assert tuple(model.heads) == GRADE_NAMES
    told = model.raw(model.tokens(batch), batch)
    for g, name in enumerate(GRADE_NAMES):
        model.heads[name][-1].bias[0] += 1
        moved = model.raw(model.tokens(batch), batch) - told
        told = told + moved
        assert torch.allclose(moved, torch.nn.functional.one_hot(torch.tensor(g), 15).float(), atol=1e-5)
    model.vit.cls_token *= -1
    assert ((model.raw(model.tokens(batch), batch) - told).abs().amax(0) > 1e-3).all()


@kinds
@pytest.mark.parametrize("planes", [("axial",), tuple(PLANES)], ids=["axial", "triplanar"])
def test_every_parameter_learns(tiny: ModelConfig, embedding: str, position: str, planes: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    config = replace(tiny, embedding=embedding, position=position, layout=replace(tiny.layout, planes=planes))
    model = NoduleViT(config)
    batch = nodules(config)
    raw = model.raw(model.tokens(batch), batch)
    (raw * torch.randn(raw.shape)).sum().backward()
    asleep = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not asleep


# What can be built


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@torch.no_grad()
def test_every_layout_has_its_network(layout: Layout, trained: Trained) -> None:
    model = trained(replace(ModelConfig(replace(layout, pixels=16)), dim=32, depth=1, heads=2))
    assert_alike(model(nodules(model.config, 1)), model(nodules(model.config, 1)), atol=0)


@torch.no_grad()
def test_the_papers_transformer_reads_one_whole_slice_a_patch(trained: Trained) -> None:
    config = paper_config()
    assert (config.transformer, config.channels, config.embedding) == ("vit_base_patch32_224", 3, "linear")
    assert (config.dim, config.depth, config.heads) == (None, None, None)
    # Everything of the paper's but its width and depth, which would take seconds and 350 MB.
    model = trained(replace(config, dim=48, depth=1, heads=3))
    assert model.vit.patch_embed.proj.weight.shape == (48, 3, 64, 64)
    assert model.vit.patch_embed.grid_size == (7, 7)
    assert model.vit.pos_embed.shape == (1, 1 + 49, 48)
    batch = nodules(model.config, 1)
    # The mosaic through timm's own front door.
    n, columns = config.layout.pixels, config.layout.columns
    everything = batch._replace(valid=torch.ones_like(batch.valid))
    image = torch.nn.functional.fold(model.channels(everything).flatten(1).T[None], 7 * n, n, stride=n)
    assert columns == 7
    summary = model.vit(image)
    expected = torch.cat([model.heads[name](summary)[:, :1] for name in GRADE_NAMES], 1)
    assert torch.allclose(model.raw(model.tokens(everything), everything)[:, :9], expected, atol=1e-4)


# Transfer learning


@pytest.fixture(scope="module")
def imagenet() -> torch.nn.Module:
    """Stands for a vision transformer that was trained on ImageNet: 14 x 14 patches of 16 x 16 pixels."""
    torch.manual_seed(8)
    return timm.create_model("vit_tiny_patch16_224", num_classes=1000)


def saved(model: torch.nn.Module, path: Path) -> str:
    save_file(model.state_dict(), path) if path.suffix == ".safetensors" else torch.save(model.state_dict(), path)
    return str(path)


@pytest.mark.parametrize("file", ["vit.safetensors", "vit.pth"])
@pytest.mark.parametrize(("slices", "pixels"), [(49, 64), (20, 32)])
def test_saved_imagenet_weights_are_fitted_to_whole_slices(
    imagenet: torch.nn.Module, tmp_path: Path, file: str, slices: int, pixels: int
) -> None:
    config = paper_config(Layout("paper", slices=slices, pixels=pixels))
    config = replace(config, transformer="vit_tiny_patch16_224")
    model = NoduleViT(config, weights_file=saved(imagenet, tmp_path / file))
    theirs, ours = imagenet.state_dict(), model.vit.state_dict()
    rows, columns = -(-slices // config.layout.columns), config.layout.columns
    resized = {
        "patch_embed.proj.weight": resample_patch_embed(theirs["patch_embed.proj.weight"], [pixels, pixels]),
        "pos_embed": resample_abs_pos_embed(theirs["pos_embed"], [rows, columns], num_prefix_tokens=1),
    }
    assert resized["patch_embed.proj.weight"].shape == (192, 3, pixels, pixels)
    assert resized["pos_embed"].shape == (1, 1 + rows * columns, 192)
    expected = {**{name: value for name, value in theirs.items() if not name.startswith("head.")}, **resized}
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(ours[name], value, atol=1e-6), name


@torch.no_grad()
def test_a_resized_patch_embedding_sees_what_the_original_saw(imagenet: torch.nn.Module, tmp_path: Path) -> None:
    config = replace(paper_config(Layout("paper", slices=4, pixels=64)), transformer="vit_tiny_patch16_224")
    model = NoduleViT(config, weights_file=saved(imagenet, tmp_path / "vit.safetensors"))
    small = torch.rand(1, 3, 16, 16)
    large = torch.nn.functional.interpolate(small, 64, mode="bicubic", antialias=True)
    assert torch.allclose(model.embed(large)[0], imagenet.patch_embed.proj(small)[0, :, 0, 0], atol=1e-3)


@pytest.mark.parametrize("change", [{"outline": True}, {"embedding": "conv", "position": "mm"}], ids=str)
def test_the_transformer_keeps_imagenet_weights_whatever_is_embedded(
    imagenet: torch.nn.Module, tmp_path: Path, change: dict[str, object]
) -> None:
    config = replace(paper_config(Layout("paper", slices=4, pixels=32)), transformer="vit_tiny_patch16_224", **change)
    model = NoduleViT(config, weights_file=saved(imagenet, tmp_path / "vit.safetensors"))
    for name, value in imagenet.blocks.state_dict().items():
        assert torch.equal(model.vit.blocks.state_dict()[name], value)
    model.eval()
    assert torch.isfinite(model(nodules(config, 2)).grades).all()


def test_older_timm_reads_a_saved_state_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 1.0.31, timm took any file given for these models to be Google's .npz."""
    asked: dict[str, object] = {}

    def create_model(*args: object, **settings: object) -> None:
        asked.update(settings)
        raise InterruptedError

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(InterruptedError):
        NoduleViT(paper_config(), weights_file="vit.safetensors")
    assert asked["pretrained_cfg_overlay"] == {"file": "vit.safetensors", "custom_load": False}


def test_missing_weights_are_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        NoduleViT(replace(paper_config(), transformer="vit_tiny_patch16_224"), weights_file=str(tmp_path / "no.pth"))
