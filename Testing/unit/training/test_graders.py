"""What a grader would lose: every experiment on a few made-up nodules, runs that are stopped, several devices."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from toys import QUIET, small

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES, GRADES
from NoduleRiskLib.networks.model_config import paper_config
from NoduleRiskLib.networks.nodule_vit import Batch
from training.data.augmentation import compose
from training.data.crops import WIDE, Stacks
from training.models.baselines import Cnn3d, between
from training.models.experiments import EXPERIMENTS, MULTITASK, at_schedule, named
from training.models.grader_settings import build
from training.models.graders import grade, train_grader
from training.models.targets_and_losses import read_labels
from training.studies import compare


@pytest.mark.parametrize(
    "name", [n for n in EXPERIMENTS if "-alone" not in n and "without-" not in n] + ["malignancy-alone"]
)
def test_every_run_learns_and_answers(name: str, stacks: Stacks, tmp_path: Path) -> None:
    run = small(EXPERIMENTS[name])
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
    assert EXPERIMENTS["paper"].config == paper_config()
    assert at_schedule(EXPERIMENTS["paper"], 3, 32, 8).config.layout.pixel_mm == pytest.approx(1.4)


@pytest.mark.parametrize("name", ["gradnorm", "dtp", "uncertainty", "weak", "pretrained"])
def test_a_killed_run_goes_on_to_the_same_weights(name: str, stacks: Stacks, tmp_path: Path) -> None:
    run = replace(small(EXPERIMENTS[name]), cycles=(3,))
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
    run = replace(small(EXPERIMENTS["uncertainty"]), cycles=(4,))
    parts = [compare.at_readers_outlines(stacks, np.flatnonzero(stacks.table.fold > 0))]
    (tmp_path / "arguments").write_bytes(pickle.dumps((small(EXPERIMENTS["gradnorm"]), 0, parts, run)))
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


def test_what_cannot_run_is_named(stacks: Stacks, tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError, match="no experiment multitusk: choose from multitask"):
        named("multitask,multitusk", 2, 16, 4)
    assert list(named("all", 2, 16, 4)) == list(EXPERIMENTS)
    run = small(EXPERIMENTS[MULTITASK])
    with pytest.raises(NoduleRiskError, match="leaves 0 nodules to train on"):
        train_grader(0, [], run, tmp_path, "cpu", QUIET)
    some = [compare.at_readers_outlines(stacks, np.arange(12))]
    with pytest.raises(NoduleRiskError, match="one or two readers"):
        train_grader(0, some, small(EXPERIMENTS["weak"]), tmp_path, "cpu", QUIET)
    train_grader(0, some, run, tmp_path, "cpu", QUIET)
    with pytest.raises(NoduleRiskError, match=r"grader-0.pt was made with other settings: weighting dwa \(now equal\)"):
        train_grader(0, some, small(EXPERIMENTS["equal"]), tmp_path, "cpu", QUIET)


def test_the_loss_of_every_grade_is_logged(stacks: Stacks, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = small(EXPERIMENTS[MULTITASK])
    train_grader(0, [compare.at_readers_outlines(stacks, np.arange(8))], run, tmp_path, "cpu", QUIET)
    log = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / "grader-0")).Reload()
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


def test_a_cube_holds_the_slices_where_they_lie() -> None:
    """A nodule whose HU rise by 100 a mm: between its slices the cube rises alike, beyond them is air."""
    z = torch.tensor([[-4.0, -2.0, 0.0, 2.0, 4.0, 0.0]])
    valid = torch.tensor([[True] * 5 + [False]])
    pixels = (z * 100 + 9000 * ~valid)[..., None, None].expand(-1, -1, 16, 16)
    plane, features = torch.zeros(1, 6, dtype=torch.int64), torch.zeros(1, 0)
    batch = Batch(pixels, torch.ones_like(pixels), z, plane, valid, features, features, features)
    share = between(batch, torch.tensor([-9.0, -3.0, 0.5, 4.0]))
    assert share.sum(-1).tolist() == [[0, 1, 1, 1]]
    assert (share @ (z * 100)[..., None]).flatten().tolist() == pytest.approx([0, -300, 50, 400])
    config = replace(small(EXPERIMENTS["cnn-3d"]).config, windows=((-500.0, 500.0),))
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


def test_a_nodule_is_augmented_alike_whatever_the_others_are(stacks: Stacks) -> None:
    """A twin with more slices, as lobes may have, must not change how the next nodule of its batch is turned."""
    part = compare.at_readers_outlines(stacks, np.array([1, 3]))
    other = part.chosen(np.array([1]))
    for seed in range(8):
        (both, zoom), (same, zooms) = (
            compose([part, other], [first, (0, 1)], np.random.default_rng(seed), True, WIDE)
            for first in ((0, 0), (1, 0))
        )
        assert zoom[1] == zooms[1]
        assert torch.equal(both.pixels[1][both.valid[1]], same.pixels[1][same.valid[1]])


def test_every_slice_is_mixed_with_its_own_nodule_only(stacks: Stacks) -> None:
    """A bright and a dark nodule in one batch: augmentation mixes neighbouring slices, never neighbouring nodules."""
    part = compare.at_readers_outlines(stacks, np.array([1, 3]))
    part.pixels[part.first[0] : part.first[1]] = 1000
    part.pixels[part.first[1] : part.first[2]] = -1000
    for seed in range(20):
        batch, _ = compose([part], [(0, 0), (0, 1)], np.random.default_rng(seed), True, WIDE)
        assert batch.pixels[0][batch.valid[0]].min() > 500 and batch.pixels[1][batch.valid[1]].max() < -500
