"""Whether grades answer to their signs and maps find them: planted signs, on patients that the grader never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from NoduleRiskLib.errors import NoduleRiskError
from NoduleRiskLib.networks.manifest import SignTest
from NoduleRiskLib.networks.model_package import ModelPackage, with_card

from ..data.found_outlines import FoundOutlines
from ..evaluation.report_sections import markdown
from ..evaluation.sign_scores import MAP_TARGETS, changes, maps, score

#: Of what the model card says last.
CARD_TITLE = "## Planted signs (`python -m training signs`)"
#: Fewer nodules say nothing about a map.
FEWEST = 20


def signs(
    package: ModelPackage, nodules: Mapping[int, FoundOutlines], count: int, out: Path
) -> tuple[str, dict[str, SignTest]]:
    """Both tables (Markdown) and what they say of each grade's map; one row for each nodule and sign into ``out``.

    Parameters
    ----------
    package : ModelPackage
        One grader for each of the five folds.
    nodules : dict of int to FoundOutlines
        By fold, at the outlines that its segmentation network found.
    count : int
        Nodules of each fold for each sign.
    out : Path
    """
    graders = package.networks().graders
    scores = pd.concat(
        [
            score(graders[fold], own.without_sample(), count, fold, account=package.calibration.account)
            for fold, own in nodules.items()
        ],
        ignore_index=True,
    )
    scores.to_csv(out / "signs.csv", index=False)
    found = maps(scores)
    text = (
        f"Planted signs, {package.model_id}: nodules of 8 mm or more, each by the grader whose training never saw its "
        "patient, with settings of the generator that training never drew.\n\n### Grades\n\n"
        f"{markdown(changes(scores), 2)}\n\n### Maps of the named grade, within 6 mm of the outline\n\n"
        f"{markdown(found, 2)}\n"
    )
    return text, tests(found)


def tests(found: pd.DataFrame) -> dict[str, SignTest]:
    """For the package's manifest: by grade, whether its map finds the sign that was planted."""
    passed = {}
    for name, (sign, auc, strongest) in MAP_TARGETS.items():
        if name not in found.index or found.loc[name, "nodules"] < FEWEST:
            continue
        row = found.loc[name]
        passed[name] = SignTest(
            sign=sign,
            nodules=int(row["nodules"]),
            auc=round(float(row["AUC, map"]), 2),
            strongest=round(float(row["strongest, map"]), 2),
            ball=round(float(row["AUC, ball"]), 2),
            passed=bool(row["AUC, map"] >= auc and row["strongest, map"] >= strongest),
        )
    return passed


def keep_sign_tests(package: ModelPackage, passed: dict[str, SignTest], text: str) -> None:
    """Write what was measured into the package, which must hold what ``faithfulness`` measured, and its card."""
    found = package.manifest.heatmap_faithfulness
    if found is None:
        raise NoduleRiskError(f"{package.path} lacks the faithfulness of its heatmaps: measure that first (--keep).")
    scores = package.card.partition(f"\n{CARD_TITLE}")[0].rstrip()
    with_card(package, f"{scores}\n\n{CARD_TITLE}\n\n{text}", replace(found, signs=passed))
