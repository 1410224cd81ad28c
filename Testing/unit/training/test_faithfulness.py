"""What would be said of heatmaps though it is not so: maps whose truth is known, and a small whole run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_heatmaps import OneReason

from NoduleRiskLib.explain import heatmap_faithfulness
from NoduleRiskLib.explain.heatmaps import WITHOUT_EVIDENCE, default_pixels
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.imaging.outline import Outline, measure
from NoduleRiskLib.imaging.resampling import cut
from NoduleRiskLib.imaging.slice_stack import Layout, SliceStack
from NoduleRiskLib.imaging.volume import Array, Volume
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import Calibration, Networks, load, save, with_card
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from NoduleRiskLib.networks.segmentation import SegmentationUNet
from training.data.crops import Nodule
from training.evaluation import faithfulness, heatmap_scores, heatmap_tables

FIELD = Layout("small", slices=9, pixels=32, pixel_mm=1.4, step_mm=2.0)
RIGHT = (slice(12, 20), slice(20, 24))


@pytest.fixture(scope="module")
def nodule(
    paint: Callable[..., Volume], ball: Callable[..., Callable[[Array], Array]], frames: dict[str, Array]
) -> tuple[Nodule, Outline]:
    """A textured ball in textured lung, with what two readers drew; RAS 0 is its middle, as in the crops."""
    centre = np.array([-37.3, 61.8, -204.6])
    hu = ball((centre, 6.0))
    volume = paint(lambda p: hu(p) + 60 * np.sin(p * (0.9, 0.8, 0.7)).sum(-1), frames["flip+++"], 36.0)
    reader = paint(lambda p: 255.0 * (hu(p) > -400), frames["flip+++"], 36.0)
    back = np.eye(4)
    back[:3, 3] = -centre
    volume, reader = (replace(one, ijk_to_ras=back @ one.ijk_to_ras) for one in (volume, reader))
    read = Nodule(replace(volume, array=volume.array.astype(np.int16)), (reader, reader))
    stack = cut(read.volume, np.zeros(3), FIELD, outline=read.share())
    outline = measure(stack, stack.outline)
    assert outline is not None
    return read, outline


@pytest.fixture(scope="module")
def whole(nodule: tuple[Nodule, Outline]) -> SliceStack:
    return faithfulness.stack_at(*nodule, FIELD)


@pytest.fixture(scope="module")
def measured(
    nodule: tuple[Nodule, Outline], tiny: ModelConfig, trained: Callable[..., NoduleViT]
) -> dict[str, dict[str, Array]]:
    graders = [trained(replace(tiny, layout=FIELD), seed) for seed in (1, 2)]
    return {f"n{i}": faithfulness.measure(f"n{i}", *nodule, graders[i % 2], graders[1 - i % 2]) for i in range(2)}


def test_a_map_of_the_reason_beats_the_ball_and_a_map_beside_it_does_not(whole: SliceStack) -> None:
    place = int(np.argmax(whole.outline.sum((1, 2))))
    grader = OneReason(place, *RIGHT)
    true, false = (np.zeros(whole.pixels.shape, np.float32) for _ in range(2))
    true[place, RIGHT[0], RIGHT[1]] = 1
    false[place, RIGHT[0], :4] = 1
    maps = np.stack([true, false, heatmap_scores.gaussian(whole, 12.0)])[:, whole.valid]
    curves = heatmap_scores.block_curves(grader, whole, heatmap_scores.blocks_of(maps)).mean(2)
    assert curves.shape == (3, 2, 9)
    deletion, insertion = curves[:, 0], curves[:, 1]
    assert (deletion[0] > deletion[2]).all() and (deletion[2] >= deletion[1]).all()
    assert (insertion[0] < insertion[2]).all() and (insertion[2] <= insertion[1]).all()
    assert (deletion[1] == 0).all()


def test_the_slice_that_is_the_reason_goes_first(whole: SliceStack) -> None:
    at = int(np.argmax(whole.outline[whole.valid].sum((1, 2))))
    grader = OneReason(int(np.flatnonzero(whole.valid)[at]), *RIGHT)
    rankings = np.stack([np.arange(whole.valid.sum()) == at, np.arange(whole.valid.sum()) != at]).astype(float)
    curves = heatmap_scores.slice_curves(grader, whole, rankings)
    assert (curves[0, 0] > 0).all() and (curves[0, 1] == 0).all()
    assert (curves[1, 0] == 0).all() and (curves[1, 1] > 0).all()


def test_the_point_is_put_beside_the_nodule_and_the_nodule_stays_in_the_field(
    nodule: tuple[Nodule, Outline], whole: SliceStack
) -> None:
    drawn = (whole.outline > 0.49).sum()
    for seed in range(5):
        shift = heatmap_scores.beside(whole, np.random.default_rng(seed))
        assert shift is not None
        assert 8 <= np.linalg.norm(shift) <= 15 and shift[2] == 0
        moved = faithfulness.stack_at(*nodule, FIELD, shift)
        assert not (moved.outline[moved.valid][:, 15:17, 15:17] > 0.49).any()
        assert (moved.outline > 0.49).sum() == pytest.approx(drawn, rel=0.1)
        # A map of the nodule points at it, and a ball around the point does not.
        hits = heatmap_scores.placed(moved, np.stack([moved.outline, heatmap_scores.gaussian(moved, 6.0)]))
        assert hits[0].tolist() == [1, pytest.approx(1, abs=0.2)]
        assert hits[1, 0] == 0 and hits[1, 1] < 0.2


def test_a_nodule_that_fills_the_field_plays_no_pointing_game(whole: SliceStack) -> None:
    full = replace(whole, outline=np.ones_like(whole.outline))
    assert heatmap_scores.beside(full, np.random.default_rng(0)) is None


def test_shuffling_goes_from_the_heads_down_and_leaves_the_grader_alone(
    tiny: ModelConfig, trained: Callable[..., NoduleViT]
) -> None:
    grader = trained(replace(tiny, evidence=True))
    before = {name: value.clone() for name, value in grader.state_dict().items()}
    touched = set()
    for part, again in heatmap_scores.shuffled(grader, seed=1):
        changed = {name for name, value in again.state_dict().items() if not torch.equal(value, before[name])}
        assert changed > touched
        assert all(name.startswith(part) for name in changed - touched)
        assert all(
            torch.equal(again.state_dict()[n].flatten().sort()[0], before[n].flatten().sort()[0]) for n in changed
        )
        touched = changed
    assert all(torch.equal(value, before[name]) for name, value in grader.state_dict().items())


def test_the_same_maps_are_alike_and_moved_ones_are_found_again(
    nodule: tuple[Nodule, Outline], whole: SliceStack
) -> None:
    maps = np.tile(whole.outline, (9, 1, 1, 1))
    assert np.allclose(heatmap_scores.similarity(maps, maps), 1)
    assert heatmap_scores.similarity(maps, maps[..., ::-1] * 0).max() < 0.9
    again = faithfulness.stack_at(*nodule, FIELD, (1.0, -1.0, 0.0))
    on_again = np.tile(again.pixels, (9, 1, 1, 1))
    of_pixels = heatmap_scores.rank_correlation(whole, np.tile(whole.pixels, (9, 1, 1, 1)), again, on_again)
    assert of_pixels.min() > 0.95
    elsewhere = np.roll(on_again, 9, axis=3)
    assert heatmap_scores.rank_correlation(whole, np.tile(whole.pixels, (9, 1, 1, 1)), again, elsewhere).max() < 0.8


def test_the_rim_is_the_rim(whole: SliceStack) -> None:
    ring = np.zeros(whole.pixels.shape, np.float32)
    ring[whole.valid] = np.abs(np.gradient((whole.outline[whole.valid] > 0.49).astype(np.float32), axis=2))
    corner = np.zeros_like(ring)
    corner[whole.valid, :3, :3] = 1
    shares = heatmap_scores.rim_share(whole, np.stack([ring, corner, *[ring] * 7]))
    assert shares[0] == pytest.approx(1) and shares[1] == 0


def test_a_small_run_tells_all_tables_and_a_verdict(measured: dict[str, dict[str, Array]], tmp_path: Path) -> None:
    text = heatmap_tables.report(measured, WITHOUT_EVIDENCE, {"gradient": 9.0})
    assert text.startswith("2 nodules out of fold")
    assert all(name in text for name in (*GRADE_NAMES, *faithfulness.PIXEL_METHODS, *faithfulness.SLICE_METHODS))
    assert " nan " not in text
    found = heatmap_tables.faithfulness(measured, WITHOUT_EVIDENCE, "a test")
    # Two nodules cannot reach p < 0.01.
    assert [one.beats_gaussian for one in found.grades.values()] == [False] * 9
    for kind, methods in (("blocks", ["deeplift rescale"]), ("slices", ["alone"])):
        heatmap_tables.plot_curves(tmp_path / f"{kind}.png", measured, kind, methods)
        assert (tmp_path / f"{kind}.png").stat().st_size > 10_000
    heatmap_tables.plot_heads(tmp_path / "heads.png", measured)


def test_what_the_outline_alone_reaches_stands_beside_the_methods(measured: dict[str, dict[str, Array]]) -> None:
    table = heatmap_tables.methods_table(measured, "blocks", {})
    # On a ball of tissue the outline points at the nodule, without a grader.
    assert table.loc[faithfulness.OUTLINE, "pointing"] == 1
    assert table.loc[faithfulness.OUTLINE, "share inside"] > 0.7


def test_the_outlines_map_asks_no_grader_and_no_pixel(whole: SliceStack) -> None:
    blank = replace(whole, pixels=np.zeros_like(whole.pixels))
    smooth = heatmap_scores.smooth_outline(whole)
    assert np.array_equal(smooth, heatmap_scores.smooth_outline(blank))
    assert (smooth[whole.outline.sum((1, 2)) == 0] == 0).all()
    assert smooth.sum() == pytest.approx(whole.outline.sum(), rel=1e-3)


def test_a_map_that_always_wins_beats_the_ball(measured: dict[str, dict[str, Array]]) -> None:
    rigged = {}
    for i in range(12):
        one = dict(measured["n0"])
        ball = one["blocks/centred Gaussian"] = one["blocks/centred Gaussian"].astype(np.float64)
        one["blocks/deeplift rescale"] = ball + np.array([0.1 + i / 100, -0.1 - i / 100])[:, None]
        one["blocks/deeplift rescale"][3, 1] = ball[3, 1]
        rigged[str(i)] = one
    found = heatmap_tables.faithfulness(rigged, "deeplift rescale", "a test")
    assert [one.beats_gaussian for one in found.grades.values()] == [g != 3 for g in range(9)]


def test_heads_that_serve_a_grade_each_are_told_from_heads_that_do_not(measured: dict[str, dict[str, Array]]) -> None:
    own = np.full((9, 4, 4), 0.1)
    for g in range(9):
        own[g, 0, g % 4] = 1.0
    heads = heatmap_tables.heads_table({str(i): {"heads": own} for i in range(20)})
    assert heads.loc[1, "spread"] > 2 * heads.loc[1, "shuffled"] and heads.loc[1, "p"] < 0.01
    assert heads.loc[2, "spread"] == pytest.approx(0) and heads.loc[2, "p"] > 0.9


def test_the_shipped_faithfulness_is_told_in_words() -> None:
    shipped = load()
    found = heatmap_faithfulness.measured(shipped.model_id)
    assert found is not None and found.nodules > 0
    for name in GRADE_NAMES:
        words = heatmap_faithfulness.told(shipped.model_id, name)
        assert ("Shown faintly" in words) == (not heatmap_faithfulness.trusted(shipped.model_id, name))
        assert name in words or found.signs[name].sign in words
    assert heatmap_faithfulness.summary(found) in shipped.card


def test_what_was_measured_is_the_default() -> None:
    found = heatmap_faithfulness.measured(load().model_id)
    assert found is not None and found.pixels == default_pixels(load().networks().graders[0])


def test_scenes_of_0_1_0_still_say_how_far_their_heatmaps_may_be_trusted() -> None:
    older = "lidc-native@9f81810d14c9"
    found = heatmap_faithfulness.measured(older)
    assert found is not None and found.overall.pointing == 0.946
    # Today's package was measured on its own.
    assert found != heatmap_faithfulness.measured(load().model_id)
    assert not heatmap_faithfulness.trusted(older, "malignancy")
    assert "no more than a ball" in heatmap_faithfulness.told(older, "malignancy")


def test_what_was_measured_travels_with_the_package(
    tiny: ModelConfig, trained: Callable[..., NoduleViT], measured: dict[str, dict[str, Array]], tmp_path: Path
) -> None:
    """Into another folder, with a new model card and into the words beside a heatmap."""
    found = heatmap_tables.faithfulness(measured, WITHOUT_EVIDENCE, "a test")
    beats = replace(found.grades["margin"], beats_gaussian=True, deletion=1.4, pointing=0.9)
    found = replace(found, grades=found.grades | {"margin": beats})
    networks = Networks([trained(tiny)], [SegmentationUNet().eval()], [])
    calibration = Calibration(
        {name: ((-1.0, 1.0),) for name in GRADE_NAMES}, {name: (1.0, 5.0) for name in GRADE_NAMES}, (0.0, 1.0)
    )
    unmeasured = save(tmp_path / "toy", "toy", "1", networks, calibration, "nothing", "# Toy\n")
    assert heatmap_faithfulness.told(unmeasured.model_id, "margin").startswith("Not measured")
    package = with_card(unmeasured, "# Measured\n", found)
    package = with_card(load(package.path.rename(tmp_path / "elsewhere")), "# Measured again\n")
    assert package.manifest.heatmap_faithfulness == found
    assert heatmap_faithfulness.measured(package.model_id) == found
    assert heatmap_faithfulness.trusted(package.model_id, "margin")
    assert not heatmap_faithfulness.trusted(package.model_id, "texture")
    words = heatmap_faithfulness.told(package.model_id, "margin")
    assert "changes margin 1.4 times as much" in words and "2 nodules" in words and "90 of 100" in words
    # It was never measured under its first identity.
    assert heatmap_faithfulness.measured(unmeasured.model_id) is None


@pytest.mark.parametrize("other", ["other@{digest}", "{name}@0123456789ab", "{name}"])
def test_another_package_has_no_verdict_whatever_it_is_called(other: str) -> None:
    name, digest = load().model_id.split("@")
    other = other.format(name=name, digest=digest)
    assert heatmap_faithfulness.measured(other) is None
    assert heatmap_faithfulness.told(other, "margin").startswith("Not measured")
    assert heatmap_faithfulness.trusted(other, "margin")


def test_the_model_card_says_it_once_and_before_the_scores(measured: dict[str, dict[str, Array]]) -> None:
    found = heatmap_tables.faithfulness(measured, WITHOUT_EVIDENCE, "a test")
    line = heatmap_faithfulness.summary(found)
    assert "2 nodules out of fold (`a test`)" in line and "in 0 of 9 grades" in line
    assert f"retest at 1 mm {found.overall.retest:.2f}" in line
    assert f"hit the nodule {100 * found.overall.pointing:.0f} of 100 times" in line
    card = "# tiny\n\n**How.** So.\n\n**Scores.** These.\n\n| a |\n"
    once = heatmap_tables.on_card(card, line)
    assert once == f"# tiny\n\n**How.** So.\n\n{line}\n\n**Scores.** These.\n\n| a |\n"
    other = heatmap_faithfulness.summary(replace(found, overall=replace(found.overall, retest=0.111)))
    again = heatmap_tables.on_card(once, other)
    assert again == once.replace(line, other) != once
    assert heatmap_tables.on_card("# bare\n", line) == f"# bare\n\n{line}\n"
