"""What a reader of the results would lose if a table left out a nodule, a baseline or said what was not computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.grades import GRADES
from training.__main__ import app
from training.data.lidc import reader_grades
from training.evaluation import classes, classification_tables, metrics, tables


def out_of_fold(nodules: int = 120) -> pd.DataFrame:
    """Nodules with their readers' means, close estimates and all other columns of ``cross_validation.estimates``."""
    rng = np.random.default_rng(0)
    given = reader_grades()
    # Three readings a nodule, the suspicious ones first.
    ids = given.sort_values("malignancy", kind="stable", ascending=False).index.to_numpy()
    ids = np.concatenate([ids[: 3 * nodules // 2], ids[-3 * nodules // 2 :]]).reshape(-1, 3)
    frame = pd.DataFrame(
        {
            "nodule_id": [f"n{n}" for n in range(nodules)],
            "patient_id": [f"p{n // 2}" for n in range(nodules)],
            "fold": np.arange(nodules) // 2 % 5,
            "annotation_ids": [";".join(map(str, own)) for own in ids],
        }
    )
    means = [given.loc[own].mean() for own in ids]
    for grade in GRADES:
        if grade.words:
            frame[grade.name] = [mean[grade.name] for mean in means]
    frame["diameter"] = rng.uniform(3, 30, nodules)
    frame["calcified"] = [float((given.loc[own].calcification < 6).mean()) for own in ids]
    frame["suspicious"] = (frame.malignancy > 3.5).astype(float)
    for prefix, off in (("pipeline_", 0.4), ("oracle_", 0.3)):
        for grade in GRADES:
            frame[f"{prefix}{grade.name}"] = (frame[grade.name] + rng.normal(0, off, nodules)).clip(
                grade.low, grade.high
            )
        frame[f"{prefix}calcified"] = frame.calcified + rng.normal(0, off, nodules)
    frame["found_diameter"], frame["true_diameter"] = frame.pipeline_diameter, frame.diameter
    frame["count_mm"] = rng.uniform(3, 30, nodules)
    return frame.assign(dice=0.8, dice_between=0.9, low_error_mm=0.5, high_error_mm=0.5)


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``python -m training all`` leaves: no nodule was found in three."""
    monkeypatch.setattr(metrics, "BOOTSTRAPS", 50)
    table = out_of_fold()
    lost = [*(f"pipeline_{grade.name}" for grade in GRADES), "pipeline_calcified", "found_diameter"]
    table.loc[:2, lost] = np.nan
    table.to_csv(tmp_path / "out-of-fold-crops.csv", index=False)
    table.head(60).to_csv(tmp_path / "out-of-fold-cubes.csv", index=False)
    rng = np.random.default_rng(1)
    on = np.arange(200) < 80
    places = {"source": "crops", "kind": np.where(on, "nodule", "vessel"), "target": on * 1.0}
    pd.DataFrame({**places, "probability": rng.normal(0.3 + 0.4 * on, 0.1)}).to_csv(
        tmp_path / "out-of-fold-places.csv", index=False
    )
    ratio = np.exp(rng.normal(0, 0.05, 200))
    pd.DataFrame({"change": "noise", "size": rng.uniform(3, 30, 200), "diameter": ratio, "volume": ratio**3}).to_csv(
        tmp_path / "out-of-fold-repeated.csv", index=False
    )
    return tmp_path


def test_one_command_writes_every_table_with_its_command(out: Path) -> None:
    result = CliRunner().invoke(app, ["tables", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    text = (out / "tables.md").read_text()
    names = {file.stem for file in (out / "tables").glob("*.csv")}
    assert len(names) == 19 and text.count("`python -m training tables`") == 19
    assert (out / "tables" / "suspicion.png").stat().st_size > 5000
    assert "radiomics" not in text
    grades = pd.read_csv(out / "tables" / "grades.csv", index_col=0)
    assert grades.nodules.tolist() == [117] * len(GRADES)
    assert grades.loc["malignancy", "MAE"] < 0.5 < grades.loc["malignancy", "constant"]
    scores = pd.read_csv(out / "tables" / "malignancy.csv", index_col=0)
    assert list(scores.index) == [name for name in tables.SCORES if "radiomics" not in name]
    coverage = pd.read_csv(out / "tables" / "coverage.csv", index_col=0)
    assert coverage["all"].between(0.65, 0.95).all()
    told = pd.read_csv(out / "tables" / "places-crops.csv", index_col=0)
    assert told.loc["nodule", "warned about"] <= 0.05 + 1 / 80 < 0.9 < told.loc["vessel", "warned about"]
    again = pd.read_csv(out / "tables" / "repeatability.csv")
    assert again["volume to, %"].between(20, 60).all() and again["diameter from, %"].between(-15, -5).all()


def test_radiomics_stand_beside_where_they_were_made(out: Path) -> None:
    table = pd.read_csv(out / "out-of-fold-crops.csv")
    worse = {f"radiomics_{name}": table[name] + 5 * np.random.default_rng(1).normal(size=120) for name in
             (*(grade.name for grade in GRADES), "calcified")}  # fmt: skip
    pd.DataFrame({"nodule_id": table.nodule_id[::-1], **worse}).to_csv(out / "radiomics.csv", index=False)
    tables.tables(out)
    gaps = pd.read_csv(out / "tables" / "differences.csv", index_col=0)
    assert gaps["from"]["radiomics, the crop as it is"] > 0
    asked = pd.read_csv(out / "tables" / "classification.csv", index_col=0)
    assert (asked["NoduleRisk"] > asked["radiomics"]).all() and asked["one reader"].notna().all()


def test_results_that_are_not_there_are_asked_for(tmp_path: Path, out: Path) -> None:
    with pytest.raises(NoduleRiskError, match=r"no .*out-of-fold-crops.csv: run 'python -m training all'"):
        tables.tables(tmp_path / "elsewhere")
    pd.read_csv(out / "out-of-fold-cubes.csv").drop(columns="pipeline_margin").to_csv(
        out / "out-of-fold-cubes.csv", index=False
    )
    with pytest.raises(NoduleRiskError, match="lacks pipeline_margin"):
        tables.tables(out)


def test_accuracy_is_that_of_each_fold_and_its_spread_between_them() -> None:
    table = out_of_fold()
    asked = table[classes.two_classes("malignancy", table.malignancy).notna()]
    right = (asked.pipeline_malignancy > 3) == (asked.malignancy > 3)
    row = classification_tables.binary(table, "pipeline_").loc["malignancy"]
    assert row["accuracy"] == pytest.approx(right.groupby(asked.fold).mean().mean())
    assert row["accuracy sd"] == pytest.approx(right.groupby(asked.fold).mean().std())
    perfect = table.assign(**{f"pipeline_{grade.name}": table[grade.name] for grade in GRADES})
    assert (classification_tables.binary(perfect, "pipeline_").accuracy == 1).all()
    three = classification_tables.ternary(perfect, "pipeline_")
    assert (three.accuracy[["diameter", "malignancy"]] > 0.93).all()
    assert three.loc["malignancy", ["below", "middle", "above"]].sum() == len(table)


def test_malignancy_at_one_threshold_stands_beside_what_others_report() -> None:
    points = classification_tables.operating_points(out_of_fold())
    even = points.loc["sensitivity = specificity on the other folds"]
    assert even.sensitivity == pytest.approx(even.specificity, abs=0.08)
    assert points.loc["the paper (other nodules)"].tolist()[:3] == [0.873, 0.872, 0.875]
