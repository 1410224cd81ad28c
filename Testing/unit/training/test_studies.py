"""What a reader of the study's label tables would lose: figures that are not what their headings say."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from typer.testing import CliRunner

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADE_NAMES, OTHER_GRADES
from training.__main__ import app
from training.data import lidc
from training.evaluation import reader_agreement
from training.evaluation.classes import two_classes
from training.models.grader_settings import GraderSettings
from training.studies import compare, label_study, two_stages


def made_up(nodules: int = 200) -> pd.DataFrame:
    """Nodules whose grades are chance, but for malignancy, which follows from lobulation alone."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.uniform(1, 5, nodules) for name in GRADE_NAMES})
    table["diameter"] = rng.uniform(3, 30, nodules)
    table["malignancy"] = table.lobulation
    table["internal_structure"] = 1.0
    table["patient_id"] = [f"p{n // 2}" for n in range(nodules)]
    table["fold"] = label_study.folds(table)
    return table


def said(**grades: list[list[float]]) -> pd.DataFrame:
    """Readings from one list a nodule for each grade."""
    rows = [
        (n, *values) for n, own in enumerate(zip(*grades.values(), strict=True)) for values in zip(*own, strict=True)
    ]
    return pd.DataFrame(rows, columns=["nodule", *grades])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole command as a user gives it, without any image; its intervals from fewer samples, to save time."""
    out = tmp_path_factory.mktemp("out")
    environment = {"NODULERISK_DATA": os.environ.get("NODULERISK_DATA")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.evaluation.metrics.BOOTSTRAPS", 50)
        result = CliRunner().invoke(app, ["study", "--out", str(out)], env=environment, catch_exceptions=False)
    assert result.exit_code == 0
    return out


def test_the_study_is_about_the_nodules_that_it_says(written: Path) -> None:
    text = (written / "study.md").read_text()
    assert "1,186 nodules with at least three readers in 602 scans of 601 patients; 2,651 nodules" in text
    assert text.count("*n = 1,186 nodules; `python -m training study`") == 7
    for part in (
        "luna16",
        "cosines",
        "from_grades",
        "noise",
        "thresholds",
        "calcification",
        "readers",
        "baselines",
        "sizes",
    ):
        assert (written / "study" / f"{part}.csv").is_file(), part
    assert all((written / "study" / f"{plot}.png").stat().st_size > 10_000 for plot in ("cosines", "noise"))


def test_the_figures_are_those_that_were_seen_before(written: Path) -> None:
    def table(name: str) -> pd.DataFrame:
        return pd.read_csv(written / "study" / f"{name}.csv", index_col=0)

    cosines = table("cosines")
    assert cosines.cosine.between(0.91, 0.975).all()
    assert cosines.cosine["internal structure"] == pytest.approx(0.95, abs=0.005)
    grades = table("from_grades")
    machine = grades.loc["support vector machine, eight grades"]
    assert machine[["accuracy", "AUC"]].tolist() == pytest.approx([0.92, 0.97], abs=0.015)
    noise = table("noise")["spread, logistic regression, taught clean"]
    assert noise[[0.0, 0.2, 0.3]].tolist() == pytest.approx([0.927, 0.861, 0.811], abs=0.008)
    middle = table("thresholds").loc["malignancy"]
    assert (middle["= 3"], middle["all said 3"]) == (176, 52)
    if "NODULERISK_DATA" in os.environ:
        middle = table("thresholds").loc["malignancy, 1,143 nodules with images"]
        assert (middle["= 3"], middle["all said 3"]) == (168, 51)
    assert table("luna16")["nodules here"].to_dict() == {
        "LIDC-IDRI-0060": 2, "LIDC-IDRI-0340": 1, "LIDC-IDRI-0404": 4, "LIDC-IDRI-0753": 1,
    }  # fmt: skip
    assert table("luna16").sum().nunique() == 1
    assert table("thresholds").loc["calcification", "< 2.75"] == 2
    readers = table("readers").AUC
    seen = {"lobulation": 0.77, "spiculation": 0.86, "sphericity": 0.71, "margin": 0.79, "texture": 0.91}
    for name, value in {**seen, "subtlety": 0.77, "calcification": 0.80}.items():
        assert readers[name] == pytest.approx(value, abs=0.006), name
    sizes = table("sizes")
    if "r with LUNA16" in sizes:
        assert sizes.loc["equivalent_mm", "r with LUNA16"] > 0.99


def test_other_nodules_are_refused(written: Path, tmp_path: Path) -> None:
    readings = lidc.readings(written)
    with pytest.raises(NoduleRiskError, match="not \\(1186, 602, 601, 2651\\)"):
        label_study.study(readings[readings.nodule > 0], tmp_path)


def test_no_patient_is_in_two_folds() -> None:
    table = made_up()
    assert (table.groupby("patient_id").fold.nunique() == 1).all()
    assert sorted(table.fold.unique()) == [0, 1, 2, 3, 4]


def test_the_centred_similarity_sees_what_the_raw_one_hides() -> None:
    similar = label_study.cosines(made_up())
    assert similar.loc["lobulation"].drop("cosine, shuffled").tolist() == pytest.approx([1, 1, 1])
    assert similar.cosine["margin"] > 0.8 > 0.2 > abs(similar["Pearson r"]["margin"])
    assert similar.cosine["margin"] == pytest.approx(similar["cosine, shuffled"]["margin"], abs=0.03)


def test_malignancy_is_never_told_from_itself_and_noise_takes_the_rest_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluation.metrics.BOOTSTRAPS", 20)
    table = made_up()
    asked = table[two_classes("malignancy", table.malignancy).notna()]
    assert two_stages.features(asked).shape[1] == 8 and two_stages.features(asked, diameter=False).shape[1] == 7
    assert two_stages.from_grades(asked).AUC["logistic regression, eight grades"] > 0.99
    assert two_stages.from_grades(asked.assign(lobulation=1.0)).AUC["logistic regression, eight grades"] < 0.65
    noisy = two_stages.noise(asked)["replaced, logistic regression, taught clean"]
    assert noisy[0.0] > 0.95 and noisy[0.5] == pytest.approx((noisy[0.0] + 0.5) / 2, abs=0.1)


def test_what_was_taught_on_clean_grades_never_learns_from_noisy_ones() -> None:
    """Lobulation tells malignancy by a hair's breadth, margin nine times in ten: noise drowns the first alone."""
    table, rng = made_up(1000), np.random.default_rng(0)
    suspect = rng.random(len(table)) < 0.5
    table["malignancy"] = np.where(suspect, 5.0, 1.0)
    table["lobulation"] = np.where(suspect, 3.05, 2.95)
    table["margin"] = np.where(suspect == (rng.random(len(table)) < 0.9), 5.0, 1.0)
    accuracy = two_stages.noise(table).loc[0.3]
    for name in two_stages.CLASSIFIERS:
        assert accuracy[f"spread, {name}, taught clean"] < 0.6, name
        assert accuracy[f"spread, {name}, taught noisy"] > 0.7, name


def test_a_classifier_that_is_used_again_starts_untaught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluation.metrics.BOOTSTRAPS", 20)
    table = made_up()
    two_stages.from_grades(table)
    two_stages.noise(table)
    estimates = table.assign(**{f"run {grade.name}": table[grade.name] for grade in OTHER_GRADES})
    assert len(compare.second_stage(estimates, {"run": GraderSettings()})) == len(two_stages.CLASSIFIERS)
    for classifier in two_stages.CLASSIFIERS.values():
        with pytest.raises(NotFittedError):
            check_is_fitted(classifier)


def test_noise_is_as_large_as_it_is_called() -> None:
    table = made_up(4000).assign(texture=3.0)
    rng = np.random.default_rng(1)
    assert (two_stages.noisy(table, 0.1, "spread", rng).texture - 3).std() == pytest.approx(0.4, rel=0.05)
    swapped = two_stages.noisy(table, 0.3, "replaced", rng)
    assert (swapped.margin != table.margin).mean() == pytest.approx(0.3, abs=0.03)
    assert swapped.malignancy.equals(table.malignancy)


def test_a_reader_is_compared_with_the_others_and_not_with_himself() -> None:
    readings = said(margin=[[1, 2, 3], [5, 5, 5], [4]])
    rest = reader_agreement.others(readings, "margin")
    assert rest[:6].tolist() == [2.5, 2.0, 1.5, 5.0, 5.0, 5.0]
    assert np.isnan(rest[6])


def test_readers_who_agree_have_full_marks() -> None:
    steps = [[value] * 3 for value in (1.0, 2.0, 4.0, 6.0)]
    table = reader_agreement.reader_agreement(
        said(**dict.fromkeys(GRADE_NAMES, steps), calcified=[[1.0] * 3] * 2 + [[0.0] * 3] * 2)
    )
    assert (table.AUC.dropna() == 1).all() and len(table.AUC.dropna()) == 9
    assert table["weighted kappa"].dropna().tolist() == pytest.approx([1] * 9)
    assert (table.MAE == 0).all()


def test_the_uncertain_middle_is_counted_by_what_each_reader_said() -> None:
    values = [[3, 3, 3, 3], [3, 3, 3], [1, 3, 5], [2, 4, 3, 3], [1, 1, 1], [4, 4, 5]]
    readings = said(**dict.fromkeys(GRADE_NAMES, values))
    row = label_study.thresholds(readings.groupby("nodule").mean(), readings).loc["malignancy"]
    assert row.to_dict() == {
        "< 2.75": 1, "between": 4, "> 3.25": 1, "< 3": 1, "= 3": 4, "> 3": 1, "all said 3": 2, "all four said 3": 1,
    }  # fmt: skip


def test_calcification_becomes_a_classification() -> None:
    readings = said(calcification=[[6, 6, 6], [6, 6, 3], [3, 3, 3], [1, 6, 6], [1, 1, 1]])
    readings["calcified"] = (readings.calcification < 6).astype(float)
    table = readings.groupby("nodule").mean().assign(n_readers=3)
    assert two_classes("calcification", table.calcification).tolist() == [0, 1, 1, 1, 1]
    counts = label_study.calcification(table, readings).nodules.tolist()
    assert counts == [1, 3, 4, 2, 4, 2, 2]


def test_diameter_alone_is_read_in_the_direction_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluation.metrics.BOOTSTRAPS", 20)
    table = made_up()
    table["calcification"] += 1
    table["sphericity"] = 6 - table.diameter / 6
    table["patient_id"] = [f"p{n}" for n in range(len(table))]
    scored = label_study.baselines(table)
    assert scored.AUC["sphericity"] == 1 and 0.5 <= scored.AUC["margin"] < 0.65
    assert scored["diameter MAE"]["sphericity"] < 0.5 * scored["constant MAE"]["sphericity"]


def test_no_epochs_need_the_package_whose_graders_are_taken(tmp_path: Path) -> None:
    with pytest.raises(NoduleRiskError, match="No epochs leave graders untrained: name with --start the package"):
        CliRunner().invoke(
            app, ["grades", "--data", str(tmp_path), "--out", str(tmp_path), "--epochs", "0"], catch_exceptions=False
        )
