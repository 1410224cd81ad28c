"""How far a grade's heatmap may be believed: what was measured of the shipped packages, by grade. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

#: Written by ``python -m training faithfulness``.
MEASURED = Path(__file__).with_name("heatmaps.json")
#: How much of its opacity a heatmap keeps that is not trusted: enough to look at, not enough to believe.
FAINT = 0.4


@dataclass(frozen=True)
class Faithfulness:
    """What was measured of one grade's heatmaps, on nodules that the grader had never seen.

    Attributes
    ----------
    beats_gaussian : bool
        Whether the map tells more than a ball around the point: better by deletion and by insertion, p < .01.
    deletion : float
        How far the grade moves when what the map shows is filled with local lung, over the same for the ball.
    insertion : float
        How far the grade still is from its value when only that is kept, over the same for the ball.
    pointing : float
        Share (0 to 1) of nodules that the map's strongest pixel hits when the nodule is not in the middle.
    nodules : int
        How many were measured.
    """

    beats_gaussian: bool
    deletion: float
    insertion: float
    pointing: float
    nodules: int


def faithfulness(model_id: str, name: str) -> Faithfulness | None:
    """What was measured of a grade's heatmaps by the package ``model_id`` (name@hash); ``None`` if nothing was."""
    measured = _measured()
    # Another training under the same name is another package.
    if model_id != measured["package"]:
        return None
    return Faithfulness(nodules=measured["nodules"], **measured["grades"][name])


def trusted(model_id: str, name: str) -> bool:
    """Whether the heatmap may be shown as it is; ``False`` if it was measured to tell no more than the ball does."""
    found = faithfulness(model_id, name)
    return found is None or found.beats_gaussian


def told(model_id: str, name: str) -> str:
    """The same for people, one sentence or two."""
    found = faithfulness(model_id, name)
    if found is None:
        return "Not measured: how faithful the heatmaps of this package are."
    on = f"{found.nodules} nodules that the grader had not seen"
    where = f"a nodule beside the point it hits {100 * found.pointing:.0f} times of 100, the ball seldom"
    if not found.beats_gaussian:
        return (
            f"Shown faintly: what this heatmap says of {name} is no more than a ball around the point would say "
            f"({on}); only {where}."
        )
    return (
        f"Filling what this heatmap shows moves {name} {found.deletion:.2g} times as far as filling a ball around the "
        f"point does; {where} ({on})."
    )


def summary(measured: dict[str, Any]) -> str:
    """One line for the model card from what ``heatmaps.json`` holds."""
    grades, overall = measured["grades"].values(), measured["overall"]
    return (
        f"Heatmaps ({measured['pixels']}), {measured['nodules']} nodules out of fold (`{measured['command']}`): better "
        f"than a centred ball by deletion and insertion in {sum(one['beats_gaussian'] for one in grades)} of "
        f"{len(grades)} grades; off centre they hit the nodule {100 * overall['pointing']:.0f} of 100 times; shuffled "
        f"weights SSIM {overall['shuffled']:.2f} against {overall['pairs']:.2f} of random pairs; retest at 1 mm "
        f"{overall['retest']:.2f}."
    )


@cache
def _measured() -> dict[str, Any]:
    return dict(json.loads(MEASURED.read_text(encoding="utf-8")))
