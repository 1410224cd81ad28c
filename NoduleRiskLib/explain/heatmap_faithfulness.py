"""How far a grade's heatmap may be trusted, in words: from what was measured of the package that made it.

What was measured is part of the package's manifest. Needs no torch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..networks.json_values import JsonValue, parse
from ..networks.manifest import HeatmapFaithfulness
from ..networks.manifest_file import read_faithfulness
from ..networks.model_package import manifest_of

#: What was measured of ``lidc-native`` 0.3.0 before packages (format 5) had a place for it: results of NoduleRisk 0.1.0
#: in saved scenes name it.
FORMAT_4 = Path(__file__).with_name("heatmaps.json")
#: What a bright place of a grade's map says.
SIGNS = {
    "subtlety": "little contrast",
    "lobulation": "lobes",
    "spiculation": "spicules",
    "sphericity": "a stretched shape",
    "margin": "a blurred margin",
    "texture": "ground glass",
    "calcification": "calcium",
    "diameter": "size",
    "malignancy": "signs that raise the suspicion",
}
#: The share of its opacity with which a heatmap is shown that is not trusted.
FAINT = 0.4


def measured(model_id: str) -> HeatmapFaithfulness | None:
    """What was measured of the heatmaps of the package ``model_id`` (name@hash).

    ``None`` if nothing was, or if the package neither ships nor was loaded by this process.
    """
    manifest = manifest_of(model_id)
    if manifest is not None and manifest.heatmap_faithfulness is not None:
        return manifest.heatmap_faithfulness
    package, faithfulness = _format_4()
    return faithfulness if model_id == package else None


def trusted(model_id: str, name: str) -> bool:
    """Whether a grade's heatmap may be shown at full opacity: if it finds the grade's sign, where signs were planted.

    Otherwise, if it was measured to show more than a ball would, or if nothing was measured.
    """
    found = measured(model_id)
    if found is None:
        return True
    if found.signs:
        return name in found.signs and found.signs[name].passed
    return found.grades[name].beats_gaussian


def told(model_id: str, name: str) -> str:
    """The same for people, in one sentence or two."""
    found = measured(model_id)
    if found is None:
        return "Not measured: how faithful the heatmaps of this package are."
    if found.signs:
        return _of_signs(found, name)
    grade = found.grades[name]
    on = f"measured on {found.nodules} nodules that the grader was not trained on"
    where = (
        "With the point beside the nodule, the heatmap's strongest pixel is on the nodule in "
        f"{100 * grade.pointing:.0f} of 100 cases, the ball's seldom."
    )
    if not grade.beats_gaussian:
        return (
            f"Shown faintly: for {name} this heatmap shows no more than a ball around the point would ({on}). {where}"
        )
    return (
        f"Filling with lung what this heatmap shows changes {name} {grade.deletion:.2g} times as much as filling a "
        f"ball around the point ({on}). {where}"
    )


def _of_signs(found: HeatmapFaithfulness, name: str) -> str:
    test = found.signs.get(name)
    if test is None:
        return f"Shown faintly: {name} has no sign at one place, so where this map is strong was not tested."
    measured_on = (
        f"put into {test.nodules} nodules of patients new to the grader, {test.sign} had the map's strongest pixel in "
        f"{100 * test.strongest:.0f} of 100 (AUC of the map {test.auc:.2f}, of a ball {test.ball:.2f})"
    )
    if test.passed:
        return f"The brighter, the more evidence of {SIGNS[name]}: {measured_on}."
    return f"Shown faintly, since it does not find its sign well enough: {measured_on}."


def summary(found: HeatmapFaithfulness) -> str:
    """One line for the model card."""
    grades, overall = found.grades.values(), found.overall
    return (
        f"Heatmaps ({found.pixels}), measured on {found.nodules} nodules out of fold (`{found.command}`): better than "
        f"a ball around the point, by deletion and by insertion, in {sum(one.beats_gaussian for one in grades)} of "
        f"{len(grades)} grades; with the point beside the nodule they hit the nodule {100 * overall.pointing:.0f} of "
        f"100 times; structural similarity (SSIM) to heatmaps of shuffled weights {overall.shuffled:.2f}, between "
        f"random pairs of nodules {overall.pairs:.2f}; retest at 1 mm {overall.retest:.2f} (rank correlation)."
    )


@cache
def _format_4() -> tuple[str, HeatmapFaithfulness]:
    values = parse(FORMAT_4.read_bytes(), FORMAT_4, f"{FORMAT_4} was altered: install NoduleRisk again.").value
    return values.pop("package"), read_faithfulness(JsonValue(values, FORMAT_4), form=4)
