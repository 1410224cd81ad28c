"""What a comparison of runs would lose: every mode and every balance on a few made-up nodules, and their scores."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.networks.model_config import paper_config
from NoduleRiskLib.networks.nodule_vit import Batch, NoduleViT
from training.data.augmentation import compose
from training.data.crops import WIDE, Stacks
from training.data.lidc import reader_grades
from training.evaluation import metrics
from training.models import graders
from training.models.baselines import Cnn3d, between
from training.models.experiments import MULTITASK, RUNS, at_schedule, named
from training.models.graders import GraderRun, build, grade, train_grader
from training.models.loss_weighting import BALANCES, GradNorm, recall
from training.models.pretraining import FillIn, half_of
from training.models.targets_and_losses import read_labels
from training.studies import compare, speed
from training.studies.cross_validation import Study

PEOPLE = 20
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def stacks() -> Stacks:
    """Balls in lung, the larger half called suspicious; 20 reference nodules, then ten that one reader marked."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    given = reader_grades()
    ids = {value: given.index[given.malignancy == value].tolist() for value in (1, 5)}
    j, i = np.indices((WIDE.pixels, WIDE.pixels)) - (WIDE.pixels - 1) / 2
    rows, pixels, readers, offsets, first = [], [], [], [], [0]
    for n in range(PEOPLE + 10):
        suspect, alone = n % 2 == 1, n >= PEOPLE
        radius = 3.0 + 0.1 * (n % PEOPLE) + 4.0 * suspect
        z = np.arange(-int(radius / 2), int(radius / 2) + 1) * 2.0
        distance = np.sqrt((i * WIDE.pixel_mm) ** 2 + (j * WIDE.pixel_mm) ** 2 + z[:, None, None] ** 2)
        pixels.append(np.where(distance < radius, 40, -850) + rng.normal(0, 15, distance.shape))
        marks = 1 if alone else 3
        outline = np.stack([(distance < radius + 0.3 * r) * 255.0 * (r < marks) for r in range(4)], 1)
        readers.append(outline)
        offsets.append(z)
        first.append(first[-1] + len(z))
        own = ids[5 if suspect else 1][3 * n : 3 * n + marks]
        grades = given.loc[own].mean().to_dict()
        present = given.calcification[own][given.calcification[own] < 6]
        rows.append(
            {
                "nodule_id": f"PATIENT-{n % PEOPLE:02d}_{n // PEOPLE}",
                "patient_id": f"PATIENT-{n % PEOPLE:02d}",
                "annotation_ids": ";".join(map(str, own)),
                "in_luna16_reference": not alone,
                "fold": n % PEOPLE // 4,
                "outlines": marks,
                **grades,
                "diameter": 2 * radius,
                "calcified": len(present) / len(own),
                **{f"pattern_{code}": float((present == code).mean()) if len(present) else 0.0 for code in range(1, 6)},
                "mean_internal_structure": 1.0 + (n == 3),
            }
        )
    return Stacks(
        pd.DataFrame(rows),
        np.concatenate(pixels).round().astype(np.int16),
        np.concatenate(readers).astype(np.uint8),
        np.concatenate(offsets).astype(np.float32),
        np.array(first),
    )


@pytest.fixture
def study(stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(compare, "load", lambda data, cache: stacks)
    return Study(data=tmp_path, out=tmp_path, folds=(0, 1), console=QUIET)


def small(run: GraderRun) -> GraderRun:
    """Two epochs on coarse slices of a narrow network, whatever the run's own."""
    config = replace(run.config, transformer="vit_tiny_patch16_224", dim=32, depth=1, heads=2)
    return at_schedule(replace(run, config=config), 2, 16, 4)


@pytest.mark.parametrize("name", [n for n in RUNS if "-alone" not in n and "without-" not in n] + ["malignancy-alone"])
def test_every_run_learns_and_answers(name: str, stacks: Stacks, tmp_path: Path) -> None:
    run = small(RUNS[name])
    fold = stacks.table.fold
    reference = stacks.table.in_luna16_reference
    training = [compare.at_readers_outlines(stacks, np.flatnonzero(reference & (fold > 0)))]
    weak = [compare.at_readers_outlines(stacks, np.flatnonzero(~reference & (fold > 0)))]
    scored = compare.at_readers_outlines(stacks, np.flatnonzero(reference & (fold == 0)))
    model = train_grader(0, training, run, tmp_path, "cpu", QUIET, weak)
    values = grade(model, scored, run, "cpu")
    assert values.shape == (4, len(GRADES))
    asked = [index for index, one in enumerate(GRADE_NAMES) if one in run.tasks]
    assert np.isfinite(values[:, asked]).all()
    assert np.isnan(np.delete(values, asked, 1)).all()
    state = torch.load(tmp_path / "grader-0.pt", weights_only=True)
    assert np.shape(state["losses"]) == (2, len(run.tasks))
    # The heads that the run asks have learnt, the others have not.
    torch.manual_seed(run.seed * 100)
    for key, fresh in build(run).named_parameters():
        if key.startswith("heads.") and key.endswith("3.bias"):
            moved = not torch.equal(fresh, state["model"][key])
            assert moved == (key.split(".")[1] in run.tasks), key


def test_the_paper_s_own_transformer_is_among_the_runs() -> None:
    assert RUNS["paper"].config == paper_config()
    assert at_schedule(RUNS["paper"], 3, 32, 8).config.layout.pixel_mm == pytest.approx(1.4)


def test_a_comparison_scores_each_run_beside_the_first_and_is_not_trained_twice(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 20)
    runs = {name: small(RUNS[name]) for name in (MULTITASK, "sides", "malignancy-alone", "without-malignancy")}
    text = compare.compare(study, runs, "readers", "the command")
    assert text.startswith("`the command`")
    for heading in ("Malignancy as a question", "minus multitask", "Pearson r", "Mean absolute", "Two stages", "Sched"):
        assert heading in text
    # Sides are no grades: they have an order, and no error.
    sides = [line for line in text.splitlines() if line.startswith("| sides |")]
    assert sides[-2].count("–") == 8

    def never(*args: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(compare, "train_grader", never)
    assert compare.compare(study, runs, "readers", "the command") == text


def test_one_fold_has_no_threshold_from_others_and_so_no_accuracy(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 20)
    runs = {name: small(RUNS[name]) for name in ("malignancy-alone", "texture-alone")}
    assert "sensitivity" not in compare.compare(replace(study, folds=(0,)), runs, "readers", "the command")
    assert "sensitivity" in compare.compare(study, runs, "readers", "the command")


def test_no_patient_of_the_scored_fold_trains_its_grader(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []

    def spy(fold: int, training: list[compare.FoundOutlines], *rest: object) -> None:
        weak = rest[-1]
        assert isinstance(weak, list) and len(weak) == 4
        seen.append({name for part in (*training, *weak) for name in part.table.patient_id})
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "train_grader", spy)
    nodules = compare.from_readers(study)
    for fold in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            compare.out_of_fold(study, nodules, small(RUNS["weak"]), fold, study.out / "weak")
        own = set(nodules.reference[fold].table.patient_id)
        assert not own & seen[-1] and len(own | seen[-1]) == PEOPLE


@pytest.mark.parametrize("name", ["gradnorm", "dtp", "uncertainty", "weak", "pretrained"])
def test_a_killed_run_goes_on_to_the_same_weights(name: str, stacks: Stacks, tmp_path: Path) -> None:
    run = replace(small(RUNS[name]), cycles=(3,))
    reference = stacks.table.in_luna16_reference
    parts = [compare.at_readers_outlines(stacks, np.flatnonzero(reference & (stacks.table.fold > 0)))]
    weak = [compare.at_readers_outlines(stacks, np.flatnonzero(~reference & (stacks.table.fold > 0)))]

    class KilledAfterOneEpoch(Console):
        def print(self, *args: object, **more: object) -> None:
            if "epoch 2" in str(args[0]):
                raise KeyboardInterrupt

    whole = train_grader(0, parts, run, tmp_path / "whole", "cpu", QUIET, weak)
    with pytest.raises(KeyboardInterrupt):
        train_grader(0, parts, run, tmp_path / "half", "cpu", KilledAfterOneEpoch(), weak)
    again = train_grader(0, parts, run, tmp_path / "half", "cpu", QUIET, weak)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


def test_hidden_slices_are_filled_in_better_and_better_and_the_grader_goes_on_from_there(
    stacks: Stacks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = replace(small(RUNS["pretrained"]), cycles=(12,))
    begins: list[dict[str, torch.Tensor]] = []

    def first_step(model: NoduleViT, *rest: object) -> None:
        begins.append(model.state_dict())
        raise KeyboardInterrupt

    monkeypatch.setattr(graders, "losses_of", first_step)
    with pytest.raises(KeyboardInterrupt):
        train_grader(0, [compare.at_readers_outlines(stacks, np.arange(4, 20))], run, tmp_path, "cpu", QUIET)
    state = torch.load(tmp_path / "masked-0.pt", weights_only=True)
    assert np.mean(state["losses"][-3:]) < 0.5 * state["losses"][0]
    torch.manual_seed(0)
    for name, value in build(run).state_dict().items():
        if name.startswith("vit.blocks") and name.endswith("weight"):
            assert torch.equal(begins[0][name], state["task"][f"model.{name}"])
            assert not torch.equal(begins[0][name], value)


def test_what_is_hidden_is_told_from_the_other_slices_alone(stacks: Stacks) -> None:
    part = compare.at_readers_outlines(stacks, np.array([0, 1, 3]))
    run = small(RUNS["pretrained"])
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


#: What each process of ``fabric run`` does: train as the pickled arguments say, and keep what it ends with.
ON_EACH_DEVICE = """
import pickle, sys
from pathlib import Path
import torch
from rich.console import Console
from training.models.devices import on
from training.models.graders import NoduleRiskError, train_grader

torch.set_num_threads(1)
here = Path(sys.argv[0]).parent
refused, fold, parts, run = pickle.loads((here / "arguments").read_bytes())
rank = on("cpu").global_rank
try:
    train_grader(fold, parts, refused, here / "refused", "cpu", Console(quiet=True))
except NoduleRiskError as error:
    (here / f"error-{rank}").write_text(str(error))
model = train_grader(fold, parts, run, here, "cpu", Console(quiet=True))
torch.save(model.state_dict(), here / f"rank-{rank}.pt")
"""


def test_two_devices_end_with_the_same_network_and_nearly_the_loss_of_one(stacks: Stacks, tmp_path: Path) -> None:
    run = replace(small(RUNS["uncertainty"]), cycles=(4,))
    parts = [compare.at_readers_outlines(stacks, np.flatnonzero(stacks.table.fold > 0))]
    (tmp_path / "arguments").write_bytes(pickle.dumps((small(RUNS["gradnorm"]), 0, parts, run)))
    script = tmp_path / "on_each_device.py"
    script.write_text(ON_EACH_DEVICE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fabric = [str(Path(sys.executable).with_name("fabric")), "run", "--accelerator", "cpu", "--devices", "2"]
    paths = {"PYTHONPATH": str(Path(compare.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [*fabric, "--main-port", str(port), str(script)], env={**os.environ, **paths}, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert "GradNorm needs" in (tmp_path / "error-1").read_text()
    one, other = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    alone = train_grader(0, parts, run, tmp_path / "alone", "cpu", QUIET)
    assert not torch.equal(alone.state_dict()["vit.cls_token"], one["vit.cls_token"])
    losses = [
        np.mean(torch.load(where / "grader-0.pt", weights_only=True)["losses"])
        for where in (tmp_path, tmp_path / "alone")
    ]
    # Other nodules are drawn and turned otherwise, so that single epochs differ by more.
    assert losses[0] == pytest.approx(losses[1], rel=0.25)


def test_speed_is_told_beside_the_published_one(study: Study) -> None:
    lines = speed.speed(study, {"toy": small(RUNS[MULTITASK])}, images=1).splitlines()[-3:]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[0].split(",")[0] for row in cells] == ["toy", *[f"timm's {speed.PEER}"] * 2]
    # What timm itself says of it: 5.7 million parameters, 1.1 thousand million multiply-adds.
    assert cells[2][1:3] == ["5.7", "1074.9"] and cells[2][4] == "2299.6"
    for row in cells:
        assert float(row[5]) == pytest.approx(float(row[2]) * float(row[4]) / 1000, rel=0.05, abs=0.06)


def test_what_cannot_run_is_named(stacks: Stacks, tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError, match="no run named multitusk: choose from multitask"):
        named("multitask,multitusk", 2, 16, 4)
    assert list(named("all", 2, 16, 4)) == list(RUNS)
    run = small(RUNS[MULTITASK])
    with pytest.raises(NoduleRiskError, match="leaves 0 nodules to train on"):
        train_grader(0, [], run, tmp_path, "cpu", QUIET)
    some = [compare.at_readers_outlines(stacks, np.arange(12))]
    with pytest.raises(NoduleRiskError, match="one or two readers"):
        train_grader(0, some, small(RUNS["weak"]), tmp_path, "cpu", QUIET)
    train_grader(0, some, run, tmp_path, "cpu", QUIET)
    with pytest.raises(NoduleRiskError, match="a run with other settings"):
        train_grader(0, some, small(RUNS["equal"]), tmp_path, "cpu", QUIET)


def test_the_loss_of_every_grade_is_logged(stacks: Stacks, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = small(RUNS[MULTITASK])
    train_grader(0, [compare.at_readers_outlines(stacks, np.arange(8))], run, tmp_path, "cpu", QUIET)
    log = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "0")).Reload()
    losses = torch.load(tmp_path / "grader-0.pt", weights_only=True)["losses"]
    for name, column in zip(run.tasks, np.transpose(losses), strict=True):
        assert [one.value for one in log.Scalars(f"loss/{name}")] == pytest.approx(column)


def test_a_nodule_deeper_than_the_layout_keeps_its_middle(stacks: Stacks) -> None:
    part = compare.at_readers_outlines(stacks, np.array([19]))
    layout = replace(WIDE, slices=3)
    whole, _ = compose([part], [(0, 0)], np.random.default_rng(0), False, WIDE)
    middle, _ = compose([part], [(0, 0)], np.random.default_rng(0), False, layout)
    assert whole.valid.sum() > 3 and middle.valid.sum() == 3
    assert middle.offset_mm.abs().max() < whole.offset_mm.abs().max()


def test_gradients_are_balanced_where_tasks_learn_equally_fast() -> None:
    """Two tasks that pull at the shared layer in different directions, one of them 99 times as hard."""
    shared = nn.Parameter(torch.ones(2))
    balance = GradNorm(2, shared, rate=0.01)
    for _ in range(400):
        # Losses stay what they were, so both learn at the same pace and only the pulls differ.
        balance(torch.stack([shared[0] + 1, 99 * shared[1] + 1]))
    # Pulls 1 and 99 are even where the weights are 99 to 1, and their sum is 2.
    assert balance.weights.tolist() == pytest.approx([1.98, 0.02], abs=0.01)


def test_gradient_balance_favours_the_slower_task() -> None:
    shared = nn.Parameter(torch.ones(2))
    balance = GradNorm(2, shared, alpha=1.0, rate=0.01)
    balance(shared + 1)
    for _ in range(400):
        # The pulls stay 1 and 1; the first task's loss fell to a quarter of the other's.
        balance(shared + torch.tensor([-0.5, 1.0]))
    # Speeds are .25 and 1, so the weights are as 1 to 4, and their sum is 2.
    assert balance.weights.tolist() == pytest.approx([0.4, 1.6], abs=0.02)


def test_the_task_that_goes_worst_has_priority() -> None:
    balance = BALANCES["dtp"](2, nn.Parameter(torch.ones(1)))
    losses = torch.tensor([0.1, 0.7])
    assert balance(losses).item() == pytest.approx(0.8)
    recall(balance, [np.array([9.0, 9.0]), np.array([np.log(10 / 9), np.log(2)])])
    # Performances .9 and .5: -(1 - .9) log .9 = .01054 and -(1 - .5) log .5 = .34657, scaled to a sum of two.
    assert balance(losses).item() == pytest.approx(0.1 * 0.05901 + 0.7 * 1.94099, abs=1e-4)


def test_tasks_that_learn_slower_count_more() -> None:
    balance = BALANCES["dwa"](2, nn.Parameter(torch.ones(1)))
    recall(balance, [np.ones(2), np.array([1.0, 0.5])])
    # exp(1/2) and exp(1/4) over their sum, times two.
    assert balance(torch.tensor([1.0, 0.0])).item() == pytest.approx(1.1244, abs=1e-4)
    assert balance(torch.tensor([0.0, 1.0])).item() == pytest.approx(0.8756, abs=1e-4)


def test_uncertainty_finds_the_variance_of_each_task() -> None:
    balance = BALANCES["uncertainty"](2, nn.Parameter(torch.ones(1)))
    optimizer = torch.optim.Adam(balance.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        balance(torch.tensor([0.25, 4.0])).backward()
        optimizer.step()
    (found,) = balance.parameters()
    # exp(-s) L / 2 + s / 2 is least where s = log L.
    assert found.tolist() == pytest.approx(np.log([0.25, 4.0]).tolist(), abs=0.02)


def test_equal_weights_are_equal() -> None:
    assert BALANCES["equal"](3, nn.Parameter(torch.ones(1)))(torch.tensor([1.0, 2.0, 4.0])).item() == 7


def test_a_cube_holds_the_slices_where_they_lie() -> None:
    """A nodule whose HU rise by 100 a mm: between its slices the cube rises alike, beyond them is air."""
    z = torch.tensor([[-4.0, -2.0, 0.0, 2.0, 4.0, 0.0]])
    valid = torch.tensor([[True] * 5 + [False]])
    pixels = (z * 100 + 9000 * ~valid)[..., None, None].expand(-1, -1, 16, 16)
    batch = Batch(pixels, torch.ones_like(pixels), z, torch.zeros(1, 6, dtype=torch.int64), valid, torch.zeros(1, 6))
    share = between(batch, torch.tensor([-9.0, -3.0, 0.5, 4.0]))
    assert share.sum(-1).tolist() == [[0, 1, 1, 1]]
    assert (share @ (z * 100)[..., None]).flatten().tolist() == pytest.approx([0, -300, 50, 400])
    config = replace(small(RUNS["cnn-3d"]).config, windows=((-500.0, 500.0),))
    cube = Cnn3d(config).eval().tokens(batch)
    layout = config.layout
    at = (np.arange(layout.pixels) - (layout.pixels - 1) / 2) * layout.pixel_mm
    inside = np.abs(at) < 4
    assert cube[0, 0, inside, 3, 3].tolist() == pytest.approx((at[inside] * 100 / 500).tolist(), abs=1e-5)
    assert cube[0, 0, np.abs(at) > 5].eq(-1).all() and cube[0, 1, np.abs(at) > 5].eq(0).all()


def test_labels_know_both_sides_and_every_vote(stacks: Stacks) -> None:
    labels = read_labels(stacks.table)
    malignancy = GRADE_NAMES.index("malignancy")
    assert labels.above[:4, malignancy].tolist() == [0, 1, 0, 1]
    assert labels.votes[0, malignancy].tolist() == [1, 0, 0, 0, 0, 0]
    means = labels.votes[:, malignancy] @ torch.arange(1.0, 7)
    assert means.numpy() == pytest.approx(stacks.table.malignancy.to_numpy())


def test_every_slice_is_blurred_with_its_own_nodule_only(stacks: Stacks) -> None:
    """A bright and a dark nodule in one batch: augmentation mixes neighbouring slices, never neighbouring nodules."""
    part = compare.at_readers_outlines(stacks, np.array([1, 3]))
    part.pixels[part.first[0] : part.first[1]] = 1000
    part.pixels[part.first[1] : part.first[2]] = -1000
    for seed in range(20):
        batch, _ = compose([part], [(0, 0), (0, 1)], np.random.default_rng(seed), True, WIDE)
        assert batch.pixels[0][batch.valid[0]].min() > 500 and batch.pixels[1][batch.valid[1]].max() < -500


def test_intervals_of_means_resample_patients() -> None:
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(100), 4)
    values = np.repeat(rng.normal(size=100), 4)
    mean, low, high = compare.mean_interval(patients, values)
    assert low < mean < high
    # Four copies of a hundred values are a hundred values: 2 x 1.96 / sqrt(100).
    assert high - low == pytest.approx(0.392, abs=0.06)
