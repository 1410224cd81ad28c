"""What a reader who compares us with published figures would lose: an answer to another question than was asked."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_tables import out_of_fold
from toys import QUIET
from typer.testing import CliRunner

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES
from NoduleRiskLib.networks.model_config import ModelConfig
from NoduleRiskLib.networks.model_package import SHIPPED
from NoduleRiskLib.networks.nodule_vit import NoduleViT
from NoduleRiskLib.networks.segmentation import SegmentationUNet
from training.__main__ import app
from training.data.crops import nodule_table
from training.data.diagnoses import diagnoses
from training.evaluation import metrics, published
from training.evaluation.metrics import auc
from training.models import classical_segmentation
from training.studies import cross_validation, published_study
from training.studies.cross_validation import Study


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 40)


def said(readers: int, *nodules: tuple[float, float, float]) -> pd.DataFrame:
    """Nodules of so many readers, each of its own patient: mean malignancy, our estimate, diameter."""
    table = pd.DataFrame(nodules, columns=["malignancy", "pipeline_malignancy", "diameter"])
    table["patient_id"] = [f"{readers} {n}" for n in range(len(table))]
    return table.assign(n_readers=readers, oracle_malignancy=table.malignancy, fold=np.arange(len(table)) % 2)


def test_means_are_rounded_as_the_slice_transformer_does() -> None:
    means = [1.0, 2.5, 2.51, 3.0, 3.49, 3.5, 5.0]
    kept, suspicious = published.rounded(pd.DataFrame({"malignancy": means}))
    assert kept.malignancy.tolist() == [1.0, 2.5, 3.5, 5.0]
    assert suspicious.tolist() == [False, False, True, True]


def test_each_question_is_asked_of_its_own_nodules() -> None:
    reference = said(4, (1, 1, 4), (2.6, 4.5, 6), (3.0, 3, 9), (3.4, 2, 8), (5, 4, 7))
    pair = said(2, (2.5, 3.2, 5), (3.5, 3.1, 20))
    alone = said(1, (2, 2.5, 3), (3, 3, 9), (4, 2.0, 30))
    asked = published.question_table(reference, pd.concat([pair, alone]))
    assert asked.nodules.tolist() == [4, 6, 2, 2, 2]
    assert asked.suspicious.tolist() == [2, 3, 1, 1, 1]
    # The paper's: of 1 and 4.5 against 2 and 4, two of the four pairs stand in the right order.
    assert asked.AUC.iloc[0] == 2 / 4
    # MST's: 1, 3.2, 2.5 against 4, 3.1, 2.0; the first beats three, the second two, the third one.
    assert asked.AUC.iloc[1] == 6 / 9
    assert asked.AUC.iloc[2:].tolist() == [1, 0, 0]
    assert asked["diameter alone"].tolist() == [1, 1, 1, 1, 1]
    assert asked["minus diameter"].iloc[1].startswith("-0.333 (")
    assert asked["constant guess"].tolist() == [0.5] * 5
    assert asked.reported.dropna().tolist() == [0.95]


def test_within_one_step_is_counted_on_both_sides_rounded_and_the_constant_never_sees_its_fold() -> None:
    medians = pd.DataFrame({name: [1.0, 1.0, 2.5, 4.0, 1.0] for name in GRADE_NAMES})
    medians["malignancy"] = [1.0, 2.0, 4.0, 5.0, 3.0]
    table = pd.DataFrame({f"pipeline_{name}": [1.4, 2.5, 3.6, 2.4, 5.0] for name in GRADE_NAMES})
    table = table.assign(patient_id=list("abcde"), fold=[0, 0, 1, 1, 0])
    table.loc[1, "pipeline_margin"] = np.nan
    steps = published.step_table(table, medians)
    # The last nodule's median malignancy is 3. Truths 1 1 2 4, estimates 1 2 4 2: off by 0 1 2 2.
    assert (steps.drop(index="margin").nodules == 4).all() and steps.nodules["margin"] == 3
    texture = steps.loc["texture"]
    assert (texture["within one"], texture["same step"]) == (2 / 4, 1 / 4)
    # Fold 1 (2, 4) is best met by 3, which misses fold 0 (1, 1); fold 0 by 1, which is near 2 alone.
    assert texture["constant, within one"] == 1 / 4
    # On it: fold 1 has 2 and 4 once each, fold 0 has 1 twice; neither is ever right in the other.
    assert texture["constant, same step"] == 0
    assert texture["gain, within one"].startswith("+0.250 (")
    assert texture["cRedAnno+"] == 0.9701 and np.isnan(steps["cRedAnno+"]["malignancy"])


def diagnosed() -> pd.DataFrame:
    table = said(3, (1, 2, 5), (4, 1, 9), (5, 3, 12), (2, 4, 6))
    few = said(1, (3, 5, 4))
    return pd.concat([table, few]).assign(
        malignant=[False, False, True, True, False], stable=[True, False, False, False, False]
    )


def test_diagnoses_are_asked_of_reference_nodules_first_and_told_with_their_confounding() -> None:
    known = published.diagnosis_table(diagnosed())
    assert known.malignant.tolist() == [2, 2, 2, 2] and known.benign.tolist() == [2, 1, 3, 2]
    # 3 and 4 against 2 and 1; without the stable one against 1; with the single reader's 5 that neither reaches.
    assert [cell.split()[0] for cell in known.NoduleRisk] == ["1.000", "1.000", "0.667", "0.500"]
    # Readers: 5 and 2 against 1 and 4.
    assert known["readers' malignancy"].iloc[0].startswith("0.750 (")
    told = published._of_diagnoses(diagnosed())
    assert told.text.startswith("**Confounded.** 1 of the 2 benign reference nodules")


@pytest.mark.skipif("NODULERISK_DATA" not in os.environ, reason="needs NODULERISK_DATA")
def test_the_sheet_is_read_as_the_data_set_describes_it() -> None:
    data = Path(os.environ["NODULERISK_DATA"])
    sheet = diagnoses(data)
    assert sheet is not None and len(sheet) == 83
    known = nodule_table(data).merge(sheet, on="nodule_id")
    assert known.in_luna16_reference.sum() == 68
    assert (known.stable.sum(), (known.stable & known.malignant).sum(), (~known.malignant).sum()) == (23, 0, 31)
    areas = [auc(part.malignant.to_numpy(), part.mean_malignancy.to_numpy()) for part in (known, known[~known.stable])]
    assert areas == pytest.approx([0.714, 0.505], abs=0.0006)


def test_the_command_scores_what_is_there_and_asks_for_what_is_not(tmp_path: Path) -> None:
    table = out_of_fold().assign(n_readers=3)
    table.to_csv(tmp_path / "out-of-fold-crops.csv", index=False)
    call = ["published", "--data", str(tmp_path), "--out", str(tmp_path)]
    with pytest.raises(NoduleRiskError, match=r"no .*out-of-fold-few-readers.csv: run .* all' .*--package"):
        CliRunner().invoke(app, call, catch_exceptions=False)
    few = table.head(40).assign(n_readers=1, nodule_id=[f"alone{n}" for n in range(40)])
    few.to_csv(tmp_path / "out-of-fold-few-readers.csv", index=False)
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    assert {file.name for file in (tmp_path / "published").iterdir()} == {
        "published-malignancy.csv",
        "published-within-one.csv",
    }
    few.head(0).to_csv(tmp_path / "out-of-fold-few-readers.csv", index=False)
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    assert "n = 120 nodules" in (tmp_path / "published.md").read_text()
    few.to_csv(tmp_path / "out-of-fold-few-readers.csv", index=False)
    (tmp_path / "lidc").mkdir()
    sheet = {"nodule_id": ["n0", "n1", "n118", "n119", "n3"], "diagnosis": [2, 3, 1, 1, 0], "method": [2, 3, 1, 2, 0]}
    pd.DataFrame(sheet).to_csv(tmp_path / "lidc" / "pathology.csv", index=False)
    assert CliRunner().invoke(app, call, catch_exceptions=False).exit_code == 0
    report = (tmp_path / "published.md").read_text()
    assert "*n = 160 nodules; `python -m training published`" in report and "**Confounded.** 1 of the 2" in report


@pytest.fixture
def study(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A data set in which one reader alone marked the nodules of patients 0 and 6, of folds 0 and 1."""
    own = Path(shutil.copytree(data, tmp_path / "data"))
    table = pd.read_csv(own / "lidc" / "nodules.csv")
    few = table.patient_id.isin(["PATIENT-00", "PATIENT-06"])
    table.assign(in_luna16_reference=~few, n_readers=np.where(few, 1, 3)).to_csv(
        own / "lidc" / "nodules.csv", index=False
    )
    monkeypatch.setattr(
        cross_validation, "segment", lambda volume, points, networks: classical_segmentation.segment(volume, points)
    )
    return Study(data=own, out=tmp_path / "out", console=QUIET)


def test_nodules_of_few_readers_are_graded_by_the_fold_that_never_saw_them(
    study: Study, tiny: ModelConfig, trained: partial[NoduleViT], monkeypatch: pytest.MonkeyPatch
) -> None:
    graders = {fold: trained(tiny, fold) for fold in range(5)}
    asked: list[tuple[int, int]] = []
    really = cross_validation.grade_stacks

    def spy(grader: NoduleViT, stacks: list[object], batch: int = 32) -> np.ndarray:
        asked.append((next(fold for fold, one in graders.items() if one is grader), len(stacks)))
        return really(grader, stacks, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(cross_validation, "grade_stacks", spy)
    published_study.grade_few_readers(study, dict.fromkeys(range(5), SegmentationUNet()), graders)
    # Once at the found and once at the readers' outline.
    assert asked == [(0, 1), (0, 1), (1, 1), (1, 1)]
    table = pd.read_csv(study.out / "out-of-fold-few-readers.csv")
    assert table.patient_id.tolist() == ["PATIENT-00", "PATIENT-06"] and table.fold.tolist() == [0, 1]
    assert table[[f"{prefix}malignancy" for prefix in ("pipeline_", "oracle_")]].notna().all(axis=None)


def test_a_package_of_other_folds_is_refused(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_study, "FOLDS", 4)
    with pytest.raises(NoduleRiskError, match=r"has 5 graders: give a package with one for each of 4 folds"):
        published_study.grade_with_package(study, SHIPPED)
