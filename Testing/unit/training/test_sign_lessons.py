"""What would be taught wrongly if pairs differed in more than the sign, or if a look-alike went unpunished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_planted_signs import nodule
from toys import QUIET

from NoduleRiskLib.grades import CALCIFICATION_PATTERNS
from NoduleRiskLib.imaging.slice_stack import Layout
from NoduleRiskLib.networks.evidence import FULL
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import SHIPPED, load
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from training.data import planted_signs
from training.data.found_outlines import FoundOutlines
from training.data.look_alikes import INNOCENT
from training.data.planted_pairs import Pairs, as_pairs, augmented, eligible, joined, plant, subject_of
from training.data.planted_signs import SIGNS
from training.data.planting import MOVES, TESTING
from training.evaluation import sign_scores
from training.models.devices import OneProcess
from training.models.grader_settings import GraderSettings
from training.models.sign_lessons import SignLessons
from training.models.sign_losses import answers, clean_loss, difference_loss, place_loss, placed
from training.models.targets_and_losses import TASKS, Labels
from training.models.training_nodules import TrainingNodules
from training.studies import sign_study

LAYOUT = Layout("toy", slices=20, pixels=64, pixel_mm=0.7)
CONFIG = ModelConfig(LAYOUT, dim=16, depth=1, heads=2, evidence=True)
STD = torch.ones(9)


def pairs(*names: str, augmented: bool = False) -> Pairs:
    chosen = []
    for seed, name in enumerate(names):
        subject = nodule(seed=seed)
        chosen.append((subject, (SIGNS | INNOCENT)[name](subject, np.random.default_rng(seed))))
    return as_pairs(chosen, LAYOUT, 5 if augmented else None)


def source(count: int = 3) -> FoundOutlines:
    subjects = [nodule(seed=n) for n in range(count)]
    sizes = [len(one.pixels) for one in subjects]
    grades = pd.DataFrame([one.grades for one in subjects], columns=MOVES[:-1])
    outlines = [one.outlines for one in subjects]
    return FoundOutlines(
        grades.assign(nodule_id=[f"n{n}" for n in range(count)], patient_id=[f"p{n}" for n in range(count)]),
        np.concatenate([one.pixels.astype(np.int16) for one in subjects]),
        np.concatenate([one[:, 1:5] for one in outlines]),
        np.concatenate([one[:, 5:8] for one in outlines]),
        np.concatenate([one.offset_mm for one in subjects]).astype(np.float32),
        np.cumsum([0, *sizes]),
    )


@pytest.mark.parametrize("augmented", [False, True])
def test_a_pair_differs_in_its_sign_alone(augmented: bool) -> None:
    made = pairs("spicules", "calcium", augmented=augmented)
    assert torch.equal(made.before.valid, made.after.valid)
    assert torch.equal(made.before.outline, made.after.outline)
    differ = (made.before.pixels - made.after.pixels).abs() > 60
    assert 0 < differ.float().mean() < 0.05
    assert made.named.sum(1).tolist() == [1, 2]
    assert made.pattern.tolist()[0] == -1 and made.pattern.tolist()[1] >= 0
    free = torch.isnan(made.moves)
    assert free[0].nonzero().flatten().tolist() == [MOVES.index("subtlety"), MOVES.index("malignancy")]


def test_pairs_move_to_a_device_as_a_whole() -> None:
    moved = pairs("spicules").to("meta")
    tensors = [*moved.before, *moved.after, moved.moves, moved.named, moved.clean, moved.pattern]
    assert {one.device.type for one in tensors} == {"meta"}


def test_the_wanted_change_costs_nothing_and_any_other_does() -> None:
    made = pairs("spicules", "vessel in")
    before = torch.zeros(2, 15)
    wanted = torch.cat([torch.nan_to_num(made.moves), torch.zeros(2, 5)], 1)
    assert difference_loss(before, wanted, made, STD) == pytest.approx(0, abs=1e-6)
    assert difference_loss(before, before, made, STD) > 0.1
    follows = wanted.clone()
    follows[0, MOVES.index("malignancy")] = 3.0
    assert difference_loss(before, follows, made, STD) == pytest.approx(0, abs=1e-6)
    for row, name in ((0, "texture"), (1, "spiculation"), (1, "malignancy")):
        wrong = wanted.clone()
        wrong[row, MOVES.index(name)] = 1.0
        assert difference_loss(before, wrong, made, STD) > 0.05, name


def test_a_map_must_rise_on_the_sign_and_nowhere_else() -> None:
    subject = nodule()
    fleck = planted_signs.calcium(
        subject, np.random.default_rng(0), pattern=CALCIFICATION_PATTERNS.index("non-central")
    )
    made = as_pairs([(subject, fleck)], LAYOUT)
    slices = placed(made)
    flat = torch.zeros(len(slices.owner), 15, 32, 32)
    at = [MOVES.index(name) for name in ("presence", "calcification")]
    on = flat.clone()
    on[:, at] = torch.where(slices.touched[:, None], FULL, 0.0)
    everywhere = flat.clone()
    everywhere[:, at] = FULL
    beside = flat.clone()
    beside[:, at] = torch.where(slices.touched[:, None], 0.0, FULL)
    other = on.clone()
    other[:, MOVES.index("texture")] = torch.where(slices.touched, FULL, 0.0)
    losses = {
        name: float(place_loss(flat, after, made, slices))
        for name, after in {"on": on, "flat": flat, "all": everywhere, "beside": beside, "other": other}.items()
    }
    assert losses["on"] < losses["flat"] < losses["beside"]
    assert losses["on"] < losses["all"] and losses["on"] < losses["other"]
    # Where the readers saw no calcium, there is none before it was planted.
    assert place_loss(everywhere, everywhere + on, made, slices) > losses["on"]


def test_evidence_where_readers_saw_no_sign_is_a_fault() -> None:
    made = pairs("spicules", "vessel in")
    none = torch.zeros(2, 15)
    assert clean_loss(none, made) == 0
    for move in ("spiculation", "presence"):
        assert made.clean[:, MOVES.index(move)].all()
        some = none.clone()
        some[0, MOVES.index(move)] = 1.0
        assert clean_loss(some, made) > 0
    # Nobody says that a nodule is free of malignancy, or what pattern no calcium has.
    free = none.clone()
    free[:, [MOVES.index("malignancy"), MOVES.index("diameter"), -1]] = 1.0
    assert clean_loss(free, made) == 0


def test_what_moves_as_a_whole_is_not_compared_pixel_by_pixel() -> None:
    assert len(placed(pairs("spicules")).owner) > 0
    for name in ("stretched", "scaled"):
        assert len(placed(pairs(name)).owner) == 0


def test_nodules_are_chosen_by_what_they_can_carry() -> None:
    own = source()
    own.table["spiculation"] = [1.0, 4.0, 1.0]
    able = eligible([own], [(0, 0), (0, 1)])
    assert able["spicules"] == [(0, 0)] and able["vessel in"] == [(0, 0), (0, 1)]
    rng = np.random.default_rng(0)
    drawn = augmented([plant([own], able, rng) for _ in range(6)], rng, LAYOUT)
    assert len(drawn.moves) == 6 and torch.isfinite(joined(drawn).pixels).all()
    assert subject_of(own, 0) is not None
    empty = replace(own, share=np.zeros_like(own.share))
    assert subject_of(empty, 0) is None


def toy_lessons(*signs: str, steps: int = 40) -> SignLessons:
    own, count = source(), 3
    labels = Labels(
        torch.zeros(count, len(TASKS)),
        torch.zeros(count, len(TASKS)),
        torch.zeros(count, len(TASKS), 6),
        torch.zeros(count),
        torch.zeros(count, len(CALCIFICATION_PATTERNS)),
    )
    everyone, at = np.arange(count), [(0, n) for n in range(count)]
    mean, std = torch.zeros(len(TASKS)), torch.ones(len(TASKS))
    nodules = TrainingNodules([own], at, labels, mean, std, everyone, everyone, everyone[:0])
    lessons = SignLessons(nodules, GraderSettings(CONFIG, lessons=steps, planted=3, twins=60), 0, OneProcess())
    lessons.able = {name: at if name in signs else [] for name in (*SIGNS, *INNOCENT)}
    return lessons


def test_lessons_teach_evidence_and_heads_and_leave_the_rest(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NoduleViT(CONFIG)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    lesson = pairs("calcium", "calcium", "vessel by")

    toy_lessons("calcium", *INNOCENT, steps=200).teach(model, {"toy": "yes"}, tmp_path, QUIET)
    with torch.no_grad():
        clean, planted = answers(model.eval(), lesson).terms[:, MOVES.index("presence")].chunk(2)
    change = planted - clean
    # Little after so few lessons, but of calcium, not of a vessel.
    assert change[:2].mean() > 1e-3 and change[:2].mean() > 3 * change[2].abs()
    for name, value in model.state_dict().items():
        if not name.startswith(("evidence.", "heads.")):
            assert torch.equal(value, before[name]), name
    assert all(one.requires_grad for one in model.parameters())


def test_lessons_answer_to_the_readers_of_the_nodules_themselves() -> None:
    torch.manual_seed(0)
    lessons, model = toy_lessons("calcium", *INNOCENT), NoduleViT(CONFIG).eval()
    lessons.plant()
    drawn = lessons.pairs(4, np.random.default_rng(0))
    given = answers(model, drawn)
    near = lessons._readers_loss(given, drawn)
    far = lessons._readers_loss(given._replace(raw=given.raw + 3), drawn)
    # What is said of the twins is none of the readers' business.
    twins = torch.cat([given.raw[:4], given.raw[4:] + 3])
    assert near < far and lessons._readers_loss(given._replace(raw=twins), drawn) == near


def test_scores_tell_a_grader_that_answers_from_one_that_does_not() -> None:
    model = NoduleViT(CONFIG).eval()
    scores = sign_scores.score(model, source(), 2, 0)
    assert set(scores.sign) == set(sign_scores.TESTS)
    table = sign_scores.changes(scores)
    # Without evidence taught, calcium is not found by the map: all pixels are alike.
    found = sign_scores.maps(scores)
    assert found.loc["calcification", "AUC, map"] == pytest.approx(0.5)
    assert found.loc["calcification", "AUC, hu"] > 0.9
    assert (table["nodules"] <= 2).all()
    passed = sign_study.tests(found.assign(nodules=100))
    assert not passed["calcification"].passed
    perfect = found.assign(nodules=100, **{"AUC, map": 0.99, "strongest, map": 0.95})
    assert all(one.passed for one in sign_study.tests(perfect).values())
    assert sign_study.tests(found) == {}


def test_planting_is_the_same_for_the_same_seed() -> None:
    subject = nodule()
    for name, planted in SIGNS.items():
        one, two = (planted(subject, np.random.default_rng(4), TESTING) for _ in range(2))
        assert np.array_equal(one.pixels, two.pixels) and one.moves == two.moves, name


def test_the_card_tells_of_planted_signs_once_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    package, kept = load(SHIPPED), []
    monkeypatch.setattr(sign_study, "with_card", lambda package, card, found: kept.append((card, found.signs)))
    for text in ("one table", "another table"):
        card = kept[-1][0] if kept else "scores\n"
        sign_study.keep_sign_tests(replace(package, card=card), {}, text)
    assert kept[-1] == (f"scores\n\n{sign_study.CARD_TITLE}\n\nanother table", {})
